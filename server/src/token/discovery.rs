//! What clients and verifiers find out about this issuer: OpenID Connect Discovery, and RFC 8414, in one document.

use bytes::Bytes;
use serde_json::json;

use super::{door::Settings, request::TOKEN_EXCHANGE};

/// The document. Its addresses are of the issuer: what serves it elsewhere has to serve them too.
pub(crate) fn document(settings: &Settings) -> Bytes {
    let issuer = &settings.issuer;
    let document = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks"),
        "token_endpoint": format!("{issuer}/token"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "revocation_endpoint": format!("{issuer}/revoke"),
        // OpenID Connect demands it, and there is none.
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": settings.algorithms,
        "grant_types_supported": [TOKEN_EXCHANGE],
    });
    Bytes::from(document.to_string())
}

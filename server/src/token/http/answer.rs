//! Answers as HTTP has them.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header, header::HeaderValue};
use serde_json::{Map, Value};

use crate::token::{error::TokenError, exchange::Issued};

/// How a caller proves who it is where it has to: by its socket. No header is the answer to this challenge.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Attested-Peer realm=\"altsd\"");

/// How long keys and discovery documents may be kept.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=300");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The answer to a granted request (RFC 8693, section 2.2.1).
pub(super) fn issued(issued: &Issued, had_scopes: bool) -> Response {
    let mut answer = Map::from_iter([
        ("access_token".to_owned(), Value::from(issued.token.as_str())),
        ("issued_token_type".to_owned(), Value::from(issued.requested.urn())),
        // Clients put it before the token, as it is.
        ("token_type".to_owned(), Value::from("Bearer")),
        ("expires_in".to_owned(), Value::from(issued.lifetime)),
    ]);
    if had_scopes || !issued.scopes.is_empty() {
        answer.insert("scope".to_owned(), Value::from(issued.scopes.join(" ")));
    }
    json(&Value::Object(answer))
}

/// A JSON that is for who asked alone.
pub(super) fn json(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Nothing to say, but that it is done.
pub(super) fn done() -> Response {
    Response::new(Body::empty())
}

/// The answer to a refused request (RFC 6749, section 5.2).
pub(super) fn refusal(error: &TokenError) -> Response {
    let row = error.row();
    let body = Map::from_iter([
        ("error".to_owned(), Value::from(row.code)),
        ("error_description".to_owned(), Value::from(error.description())),
    ]);
    let mut response = json(&Value::Object(body));
    *response.status_mut() = StatusCode::from_u16(row.status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    if row.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let TokenError::Method { allowed } = error {
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// A public document, or that what the client has is still the same.
pub(super) fn public(document: Bytes, etag: &str, asked: &HeaderMap) -> Response {
    let mut response = if has(asked, etag) {
        let mut response = done();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = Response::new(Body::from(document));
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    };
    response.headers_mut().insert(header::CACHE_CONTROL, PUBLIC);
    if let Ok(etag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// What is not said to be public is kept by nobody.
pub(super) fn not_kept(response: &mut Response) {
    let headers = response.headers_mut();
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    }
}

/// Whether the client has the document of this tag already (RFC 9110, section 13.1.2).
fn has(asked: &HeaderMap, etag: &str) -> bool {
    let lists = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

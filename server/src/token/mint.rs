//! The claims of a token (RFC 9068), as values.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, Serializer};

use super::subject::Actor;

/// What a token says. Serialised once, in this order.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Claims<'a> {
    pub(crate) iss: &'a str,
    pub(crate) sub: &'a str,
    /// Never empty. One is a string, as verifiers like it best.
    #[serde(serialize_with = "one_or_many")]
    pub(crate) aud: &'a [String],
    /// In seconds since 1970, as the next two.
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    /// As `iat`: leeway is the verifier's.
    pub(crate) nbf: u64,
    pub(crate) jti: String,
    pub(crate) client_id: &'a str,
    /// The same again: Istio's presenter.
    pub(crate) azp: &'a str,
    /// Words with spaces between them; none, if there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) act: Option<&'a Actor>,
    /// The subject once more. It does not say `email_verified`: nobody has sent a mail there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) email: Option<&'a str>,
}

/// What the claims are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) audiences: &'a [String],
    pub(crate) scopes: &'a [String],
    pub(crate) actor: Option<&'a Actor>,
    /// Whose program asks: the account of the caller, or else the name of who acts, if there is one.
    pub(crate) client: Option<&'a str>,
    /// Whether the subject is told as `email` too, if it is a mail account.
    pub(crate) with_email: bool,
    /// In seconds since 1970.
    pub(crate) now: u64,
    /// In seconds.
    pub(crate) lifetime: u64,
    /// Random bytes, used for nothing else.
    pub(crate) id: [u8; 16],
}

impl<'a> Claims<'a> {
    /// Claims of these facts. Where no client is known, it is the subject: `sub` of an actor is no name of ours.
    pub(crate) fn of(facts: Facts<'a>) -> Self {
        let client = facts.client.unwrap_or(facts.subject);
        Self {
            iss: facts.issuer,
            sub: facts.subject,
            aud: facts.audiences,
            exp: facts.now.saturating_add(facts.lifetime),
            iat: facts.now,
            nbf: facts.now,
            jti: BASE64_URL_SAFE_NO_PAD.encode(facts.id),
            client_id: client,
            azp: client,
            scope: facts.scopes.join(" "),
            act: facts.actor,
            email: Some(facts.subject).filter(|subject| facts.with_email && is_mail(subject)),
        }
    }

    /// The JSON of them.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers under names of their own have a JSON")
    }
}

/// Whether an account is a mail account rather than a SPIFFE ID.
fn is_mail(account: &str) -> bool {
    account.contains('@') && !account.contains("://")
}

fn one_or_many<S: Serializer>(audiences: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [one] => serializer.serialize_str(one),
        several => several.serialize(serializer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts<'a>(audiences: &'a [String], scopes: &'a [String]) -> Facts<'a> {
        Facts {
            issuer: "https://tokens.example",
            subject: "orders@shop.example",
            audiences,
            scopes,
            actor: None,
            client: None,
            with_email: false,
            now: 1_000,
            lifetime: 600,
            id: [0xff; 16],
        }
    }

    fn json_of(facts: Facts<'_>) -> Value {
        serde_json::from_slice(&Claims::of(facts).to_json()).expect("it is JSON")
    }

    #[test]
    fn the_claims_are_those_of_rfc_9068() {
        let audiences = ["https://a.example".to_owned()];
        let expected = json!({
            "iss": "https://tokens.example", "sub": "orders@shop.example", "aud": "https://a.example",
            "exp": 1_600, "iat": 1_000, "nbf": 1_000, "jti": "_____________________w",
            "client_id": "orders@shop.example", "azp": "orders@shop.example",
        });
        assert_eq!(json_of(facts(&audiences, &[])), expected);
    }

    #[test]
    fn several_audiences_are_a_list_and_several_scopes_one_string() {
        let both = ["a".to_owned(), "b".to_owned()];
        let claims = json_of(facts(&both, &both));
        assert_eq!((&claims["aud"], &claims["scope"]), (&json!(["a", "b"]), &json!("a b")));
    }

    #[test]
    fn the_email_is_the_subject_where_that_is_one_and_it_is_wanted() {
        let audiences = ["a".to_owned()];
        for (subject, with_email, email) in [
            ("orders@shop.example", true, json!("orders@shop.example")),
            ("orders@shop.example", false, Value::Null),
            ("spiffe://shop.example/orders", true, Value::Null),
            ("system:serviceaccount:shop:orders", true, Value::Null),
        ] {
            let claims = json_of(Facts { subject, with_email, ..facts(&audiences, &[]) });
            assert_eq!((&claims["email"], &claims["email_verified"]), (&email, &Value::Null));
        }
    }

    #[test]
    fn the_client_is_who_is_said_to_be_or_the_subject_and_never_an_actor_by_itself() {
        let audiences = ["a".to_owned()];
        let actor = Actor { iss: Some("i".to_owned()), sub: "gateway".to_owned(), act: None };
        let cases = [
            (Some("caller"), Some(&actor), "caller"),
            (None, Some(&actor), "orders@shop.example"),
            (Some("caller"), None, "caller"),
            (None, None, "orders@shop.example"),
        ];
        for (known, actor, client) in cases {
            let claims = json_of(Facts { client: known, actor, ..facts(&audiences, &[]) });
            assert_eq!((&claims["client_id"], &claims["azp"]), (&json!(client), &json!(client)));
            assert_eq!(claims["act"], actor.map_or(Value::Null, |_| json!({"iss": "i", "sub": "gateway"})));
        }
    }
}

//! What the metadata server answers: texts and JSON as Google's has them, where that one has them.

use serde_json::{Map, Value, json};

use super::{Account, DEFAULT, aliases, query::Query};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media: Media,
    pub(crate) body: String,
    /// Why it is refused: a stable code, for the log.
    pub(crate) reason: Option<&'static str>,
    /// When to ask again, in seconds.
    pub(crate) retry_after: Option<u64>,
}

/// What kind of text an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// A value or a listing, as Google's server calls it.
    Value,
    /// Libraries compare the whole name, without parameters.
    Json,
    /// Why something is refused.
    Problem,
}

impl Media {
    /// Its name in HTTP.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Value => "application/text",
            Self::Json => "application/json",
            Self::Problem => "text/plain; charset=utf-8",
        }
    }
}

impl Answer {
    /// A refusal with a status of its own. The text is for the caller.
    pub(crate) fn refused(status: u16, reason: &'static str, text: &str) -> Self {
        let body = format!("{text}\n");
        Self { status, media: Media::Problem, body, reason: Some(reason), retry_after: None }
    }

    pub(super) fn method() -> Self {
        Self::refused(405, "metadata_method", "the metadata server takes GET only")
    }

    pub(super) fn forwarded() -> Self {
        let text = "requests with X-Forwarded-For are refused: ask directly, and not for somebody else";
        Self::refused(403, "metadata_forwarded", text)
    }

    pub(super) fn no_flavor() -> Self {
        Self::refused(403, "metadata_flavor_missing", "Missing Metadata-Flavor:Google header.")
    }

    pub(super) fn nothing_there() -> Self {
        Self::refused(404, "metadata_path_unknown", "there is nothing at this path of the metadata server")
    }

    pub(super) fn no_such_account() -> Self {
        let text = "the caller has no such account; its accounts are at instance/service-accounts/";
        Self::refused(404, "metadata_account_unknown", text)
    }

    pub(super) fn no_audience() -> Self {
        Self::refused(400, "metadata_audience_missing", "non-empty audience parameter required")
    }

    pub(super) fn parameter(problem: &'static str) -> Self {
        Self::refused(400, "metadata_parameter_invalid", problem)
    }

    /// The entries of a directory.
    pub(super) fn listing(entries: &[String], query: &Query) -> Self {
        Self::list(entries, query)
    }

    /// Several values.
    pub(super) fn list(values: &[String], query: &Query) -> Self {
        match query.json {
            Some(true) => Self::json(&json!(values)),
            _ => Self::text(values.iter().map(|value| format!("{value}\n")).collect()),
        }
    }

    /// One value.
    pub(super) fn value(value: &str, query: &Query) -> Self {
        match query.json {
            Some(true) => Self::json(&json!(value)),
            _ => Self::text(value.to_owned()),
        }
    }

    /// All of one account.
    pub(super) fn account(account: &Account, is_default: bool, query: &Query) -> Self {
        match query.json {
            Some(false) => Self::text(lines("", account, is_default)),
            _ => Self::json(&object(account, is_default)),
        }
    }

    /// All accounts, in JSON within objects under these names.
    pub(super) fn everything(keys: &[&str], accounts: &[Account], query: &Query) -> Self {
        let first = accounts.first().map(|account| (DEFAULT, account));
        let named = first.into_iter().chain(accounts.iter().map(|account| (account.name.as_str(), account)));
        // The first account is the default by either of its names.
        let all = named.map(|(name, account)| (name, account, accounts.first() == Some(account)));
        if query.json == Some(false) {
            let above: String = keys.iter().map(|key| format!("{}/", directory(key))).collect();
            return Self::text(
                all.map(|(name, account, is_default)| lines(&format!("{above}{name}/"), account, is_default))
                    .collect(),
            );
        }
        let all: Map<_, _> =
            all.map(|(name, account, is_default)| (name.to_owned(), object(account, is_default))).collect();
        let wrap = |inner, key: &&str| Value::Object(Map::from_iter([((*key).to_owned(), inner)]));
        Self::json(&keys.iter().rev().fold(Value::Object(all), wrap))
    }

    /// An identity token: the bare JWT.
    pub(super) fn identity(token: &str) -> Self {
        Self::text(token.to_owned())
    }

    /// An access token. Libraries refuse one whose `expires_in` is no number.
    pub(super) fn token(token: &str, seconds: u64) -> Self {
        Self::json(&json!({"access_token": token, "expires_in": seconds, "token_type": "Bearer"}))
    }

    fn text(body: String) -> Self {
        Self { status: 200, media: Media::Value, body, reason: None, retry_after: None }
    }

    fn json(value: &Value) -> Self {
        Self { media: Media::Json, ..Self::text(value.to_string()) }
    }
}

/// An account in JSON.
fn object(account: &Account, is_default: bool) -> Value {
    json!({"aliases": aliases(is_default), "email": account.name, "scopes": account.scopes})
}

/// An account as text: a line for each value, each with the path to it.
fn lines(above: &str, account: &Account, is_default: bool) -> String {
    let aliases = aliases(is_default).into_iter().map(|alias| ("aliases", alias));
    let email = [("email", account.name.clone())];
    let scopes = account.scopes.iter().map(|scope| ("scopes", scope.clone()));
    aliases.chain(email).chain(scopes).map(|(name, value)| format!("{above}{name} {value}\n")).collect()
}

/// How paths call what JSON calls so.
fn directory(key: &str) -> &str {
    match key {
        "serviceAccounts" => "service-accounts",
        key => key,
    }
}

//! Tokens and what is found of them, as they are printed.

use alts_request_auth::Token;
use serde_json::{Map, Value};

use super::explain::{Explanation, Finding, Outcome, distance};
use crate::{
    cli::output::{NOTHING, printable, table},
    clock::utc,
};

/// One line for each check, and the verdict.
pub(super) fn explanation(explanation: &Explanation) -> String {
    let header = ["CLAIM", "FINDING", "BECAUSE", "VALUE"].map(str::to_owned).to_vec();
    let checks = explanation.checks.iter().map(|check| {
        let finding = match check.finding {
            Finding::Ok => "ok",
            Finding::Bad => "bad",
            Finding::Note => "-",
            Finding::NotChecked => "not checked",
        };
        let value = check.value.clone().unwrap_or_else(|| NOTHING.to_owned());
        vec![check.of.to_owned(), finding.to_owned(), check.because.clone(), value]
    });
    let verdict = &explanation.verdict;
    let outcome = match verdict.outcome {
        Outcome::Good => "good",
        Outcome::Bad => "bad",
        Outcome::Unknown => "unknown",
    };
    let status = verdict.status.map(|status| format!("{status} ")).unwrap_or_default();
    let reason = verdict.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let verdict = printable(&format!("{outcome}: {status}{}{reason}", verdict.text));
    format!("{}\n{verdict}\n", table(&[header].into_iter().chain(checks).collect::<Vec<_>>()))
}

/// What a new token says, for people. `rest` is what came with it.
pub(super) fn facts(token: &str, rest: &Map<String, Value>, now: u64) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let Ok(token) = Token::parse(token) {
        let claims = token.claims();
        row("subject", claims.subject().unwrap_or(NOTHING).to_owned());
        row("audience", claims.audiences().join(" "));
        if let Some(end) = claims.expires() {
            row("ends", format!("{} ({})", utc(end), distance(now, end)));
        }
        row("id", claims.id().unwrap_or(NOTHING).to_owned());
        row("key", token.header().kid().unwrap_or(NOTHING).to_owned());
    }
    for name in ["scope", "issued_token_type"] {
        if let Some(Value::String(value)) = rest.get(name) {
            row(name, value.clone());
        }
    }
    table(&rows)
}

/// Claims as JSON, for programs and people: what serde leaves of control characters is escaped too.
pub(super) fn json(claims: &Map<String, Value>) -> String {
    // A map of values has string keys, and no value that JSON lacks.
    let text = serde_json::to_string_pretty(claims).unwrap_or_default() + "\n";
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        // JSON has its own escapes for those below 0x20; these are DEL and those of Latin 1.
        match char {
            '\n' => safe.push('\n'),
            char if char.is_control() => safe.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => safe.push(char),
        }
    }
    safe
}

/// One line for each member.
pub(super) fn members(members: &Map<String, Value>) -> String {
    let row = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        vec![name.clone(), value]
    };
    table(&members.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;

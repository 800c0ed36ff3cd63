//! Reads the bodies of requests into names and values, before anybody asks what they mean.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::RequestProblem;

/// Parameters of one request, those among them that mean nothing to us.
const MAX_PARAMETERS: usize = 64;

/// A parameter as it was sent.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) value: Sent,
}

/// What was sent for a parameter.
pub(super) enum Sent {
    /// The only kind of a form.
    Text(String),
    /// A list of JSON, of text alone.
    List(Vec<String>),
    /// Anything else that JSON has.
    Other,
}

/// Reads a body by its type.
pub(super) fn read(content_type: &str, body: &[u8]) -> Result<Vec<Parameter>, RequestProblem> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let parameters = if media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        form(body)?
    } else if media_type.eq_ignore_ascii_case("application/json") {
        json(body)?
    } else {
        return Err(RequestProblem::ContentType);
    };
    if parameters.len() > MAX_PARAMETERS {
        return Err(RequestProblem::Malformed(format!("it has more than {MAX_PARAMETERS} parameters")));
    }
    Ok(parameters)
}

/// Reads a form. Values may hold spaces, `:`, `/` and other characters that should have been escaped, as gRPC C-core
/// sends them.
///
/// A `+` is a space, as those who escape mean it. C-core means a plus by it: of all that it sends only scopes and names
/// of targets could have one, and a space in its place can make these be refused, and never grants anything.
fn form(body: &[u8]) -> Result<Vec<Parameter>, RequestProblem> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let parameters = pairs.take(MAX_PARAMETERS + 1).map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = unescaped(halves.next().unwrap_or_default())?;
        let value = unescaped(halves.next().unwrap_or_default())?;
        Ok(Parameter { name, value: Sent::Text(value) })
    });
    parameters.collect()
}

fn unescaped(text: &[u8]) -> Result<String, RequestProblem> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = after.split_at_checked(2).ok_or_else(bad_escape)?;
                bytes.extend(hex::decode(digits).map_err(|_| bad_escape())?);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| RequestProblem::Malformed("it is not UTF-8".to_owned()))
}

fn bad_escape() -> RequestProblem {
    RequestProblem::Malformed("a % is not followed by two hexadecimal digits".to_owned())
}

/// Reads an object of JSON, with the members that it repeats.
fn json(body: &[u8]) -> Result<Vec<Parameter>, RequestProblem> {
    let no_object = |_| RequestProblem::Malformed("it is no JSON object".to_owned());
    let Members(members) = serde_json::from_slice(body).map_err(no_object)?;
    Ok(members.into_iter().map(|(name, value)| Parameter { name, value: Sent::of(value) }).collect())
}

impl Sent {
    fn of(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Array(values) => {
                let text = |value| if let Value::String(text) = value { Some(text) } else { None };
                values.into_iter().map(text).collect::<Option<_>>().map_or(Self::Other, Self::List)
            }
            _ => Self::Other,
        }
    }
}

/// The members of an object in their order: a map would forget what is repeated.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;

        impl<'de> Visitor<'de> for Gather {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    // One more than are taken, so that it shows.
                    if members.len() <= MAX_PARAMETERS {
                        members.push(member);
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Gather)
    }
}

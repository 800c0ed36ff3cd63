//! What a request to the metadata server wants, beside the place that it names.

/// Longest query, in bytes.
const MAX_QUERY: usize = 8 << 10;

/// Most scopes.
const MAX_SCOPES: usize = 64;

/// The parameters that mean something here. Others count as if they were not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// All that is below a directory, at once.
    pub(super) recursive: bool,
    /// JSON or not, if it is said.
    pub(super) json: Option<bool>,
    pub(super) audience: Option<String>,
    pub(super) format: Form,
    pub(super) scopes: Option<Vec<String>>,
}

/// How much an identity token says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    #[default]
    Standard,
    Full,
}

impl Query {
    /// Reads what follows the `?`. An error says what is wrong, and nothing of what was sent.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_QUERY {
            return Err("the query is too long");
        }
        let mut query = Self::default();
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let unescape =
                |text| unescaped(text, true).ok_or("the query has an escape that is none, or no UTF-8");
            let (name, value) = (unescape(name)?, unescape(value)?);
            let is_known = KNOWN.contains(&name.as_str());
            // No audience and no scope has one, and the log would show it as it is.
            if is_known && value.chars().any(char::is_control) {
                return Err("a parameter has a control character");
            }
            query.take(&name, value)?;
            if is_known {
                if seen.contains(&name) {
                    return Err("a parameter is there twice");
                }
                seen.push(name);
            }
        }
        Ok(query)
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), &'static str> {
        match (name, value.as_str()) {
            ("recursive", _) => self.recursive = flag(&value).ok_or("recursive must be true or false")?,
            ("alt", "json") => self.json = Some(true),
            ("alt", "text") => self.json = Some(false),
            ("alt", _) => return Err("alt must be json or text"),
            ("format", "standard" | "") => self.format = Form::Standard,
            ("format", "full") => self.format = Form::Full,
            ("format", _) => return Err("format must be standard or full"),
            // Who waits for a change, and is not kept waiting, asks without end.
            ("wait_for_change", _) => match flag(&value) {
                Some(false) => {}
                _ => return Err("wait_for_change is not served here"),
            },
            ("audience", _) => self.audience = Some(value),
            ("scopes", _) => self.scopes = scopes(&value)?,
            _ => {}
        }
        Ok(())
    }
}

/// Parameters that may be there once.
const KNOWN: [&str; 6] = ["recursive", "alt", "format", "wait_for_change", "audience", "scopes"];

fn flag(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" | "" => Some(false),
        _ => None,
    }
}

/// Scopes with commas between them, as Google's libraries write them, or spaces. `None` if there are none.
fn scopes(value: &str) -> Result<Option<Vec<String>>, &'static str> {
    let words = value.split([',', ' ']).filter(|scope| !scope.is_empty()).map(str::to_owned);
    let scopes: Vec<_> = words.take(MAX_SCOPES + 1).collect();
    match scopes.len() {
        0 => Ok(None),
        1..=MAX_SCOPES => Ok(Some(scopes)),
        _ => Err("there are too many scopes"),
    }
}

/// Text without its escapes. In a query a `+` is a space. `None` if an escape is none, or the bytes are no UTF-8.
pub(super) fn unescaped(text: &str, is_query: bool) -> Option<String> {
    let (mut bytes, mut out) = (text.bytes(), Vec::with_capacity(text.len()));
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                // Two digits of sixteen are less than 256.
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if is_query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

//! Names of subjects, actors and callers as rules write them.

use std::fmt;

/// Some names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// One.
    Exact(String),
    /// All that begin so: `spiffe://shop.example/*`.
    Prefix(String),
    /// All that end so: `*@shop.example`.
    Suffix(String),
    /// `*`
    Any,
}

impl Pattern {
    /// Reads a name, or one with a star at one end. `None` if it is empty or has a star elsewhere.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let pattern = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            _ if text == "*" => return Some(Self::Any),
            (Some(_), Some(_)) => return None,
            (Some(end), None) => Self::Suffix(end.to_owned()),
            (None, Some(start)) => Self::Prefix(start.to_owned()),
            (None, None) => Self::Exact(text.to_owned()),
        };
        (!text.is_empty() && !pattern.text().contains('*')).then_some(pattern)
    }

    /// Whether a name is meant. A star stands for at least one character.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let longer = |text: &str| name.len() > text.len();
        match self {
            Self::Exact(text) => name == text,
            Self::Prefix(text) => name.starts_with(text.as_str()) && longer(text),
            Self::Suffix(text) => name.ends_with(text.as_str()) && longer(text),
            Self::Any => !name.is_empty(),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) => text,
            Self::Any => "",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Prefix(text) => write!(f, "{text}*"),
            Self::Suffix(text) => write!(f, "*{text}"),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_it_says() {
        let cases = [
            ("orders@shop.example", "orders@shop.example", true),
            ("orders@shop.example", "Orders@shop.example", false),
            ("orders@shop.example", "orders@shop.example.", false),
            ("*@shop.example", "orders@shop.example", true),
            ("*@shop.example", "@shop.example", false),
            ("*@shop.example", "orders@shop.example.net", false),
            ("orders*", "orders@shop.example", true),
            ("orders*", "orders", false),
            ("orders*", "an-orders@shop.example", false),
            ("*", "x", true),
            ("*", "", false),
        ];
        for (pattern, name, matches) in cases {
            let parsed = Pattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.matches(name), matches, "{pattern} {name}");
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn a_star_stands_at_one_end_or_alone() {
        for text in ["", "**", "*orders*", "or*ders", "*or*ders", "orders**"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}

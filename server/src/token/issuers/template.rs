//! What the subject of another issuer is called in tokens of ours.

use alts_request_auth::Claims;
use serde_json::Value;

/// Longest template, and longest name that one makes, in bytes.
const MAX_TEMPLATE: usize = 512;
const MAX_NAME: usize = 512;

/// Plain text with places for claims, such as `{/kubernetes.io/serviceaccount/name}@{/kubernetes.io/namespace}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubjectTemplate(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A claim by its JSON pointer.
    Claim(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateProblem {
    #[error("it has {0} bytes; a template has at most {MAX_TEMPLATE}")]
    TooLong(usize),
    #[error("it names no claim, so that all subjects would have one name; name one, such as {{/sub}}")]
    NoClaim,
    #[error(
        "a `{{` at byte {0} is never closed; a claim is named by a JSON pointer in braces, such as {{/sub}}"
    )]
    Open(usize),
    #[error(
        "a `}}` at byte {0} closes nothing; a claim is named by a JSON pointer in braces, such as {{/sub}}"
    )]
    Closed(usize),
    #[error(
        "`{{{0}}}` is no JSON pointer (RFC 6901): it begins with `/`, and behind each `~` stands 0 (for `~`) or 1 (for `/`)"
    )]
    Pointer(String),
    #[error(
        "nothing stands between two claims, so that different subjects would have one name; put a text there"
    )]
    Touching,
    #[error("it has a control character")]
    Control,
}

/// Why claims give no name. It holds nothing of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameProblem {
    #[error("the token has no claim {0} that is a text, of which its subject's name is made")]
    Missing(String),
    #[error("the claim {0}, of which its subject's name is made, is empty")]
    Empty(String),
    #[error("the claim {0}, of which its subject's name is made, has a control character")]
    Control(String),
    #[error("the claim {0} has the text in it that stands between claims in its subject's name")]
    Ambiguous(String),
    #[error("its subject's name is longer than {MAX_NAME} bytes")]
    TooLong,
}

impl NameProblem {
    /// A stable code.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) | Self::Empty(_) => "claim_missing",
            Self::Control(_) => "claim_unprintable",
            Self::Ambiguous(_) => "subject_ambiguous",
            Self::TooLong => "subject_too_long",
        }
    }
}

impl Default for SubjectTemplate {
    /// The subject as it is.
    fn default() -> Self {
        Self(vec![Piece::Claim("/sub".to_owned())])
    }
}

impl SubjectTemplate {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateProblem> {
        if text.len() > MAX_TEMPLATE {
            return Err(TemplateProblem::TooLong(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(TemplateProblem::Control);
        }
        let (mut pieces, mut at) = (Vec::new(), 0);
        while let Some(length) = text[at..].find(['{', '}']) {
            let brace = at + length;
            if text[brace..].starts_with('}') {
                return Err(TemplateProblem::Closed(brace));
            }
            let end = text[brace..].find('}').ok_or(TemplateProblem::Open(brace))? + brace;
            let pointer = &text[brace + 1..end];
            if pointer.contains('{') {
                return Err(TemplateProblem::Open(brace));
            }
            if length > 0 {
                pieces.push(Piece::Text(text[at..brace].to_owned()));
            } else if !pieces.is_empty() {
                return Err(TemplateProblem::Touching);
            }
            pieces.push(Piece::Claim(checked(pointer)?));
            at = end + 1;
        }
        if pieces.is_empty() {
            return Err(TemplateProblem::NoClaim);
        }
        if at < text.len() {
            pieces.push(Piece::Text(text[at..].to_owned()));
        }
        Ok(Self(pieces))
    }

    /// The name that claims give. No two different sets of the claims that are named give the same.
    pub(crate) fn name(&self, claims: &Claims) -> Result<String, NameProblem> {
        let mut name = String::new();
        for (number, piece) in self.0.iter().enumerate() {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Claim(pointer) => {
                    let value = text(claims, pointer)?;
                    if self.is_ambiguous(number, value) {
                        return Err(NameProblem::Ambiguous(pointer.clone()));
                    }
                    name.push_str(value);
                }
            }
        }
        if name.len() > MAX_NAME { Err(NameProblem::TooLong) } else { Ok(name) }
    }

    /// Whether it could not be told from the name where a claim of this value ends and another begins.
    fn is_ambiguous(&self, claim: usize, value: &str) -> bool {
        let between = |number: usize| match self.0.get(number)? {
            Piece::Text(text) if number > 0 && number + 1 < self.0.len() => Some(text.as_str()),
            _ => None,
        };
        let before = claim.checked_sub(1).and_then(between);
        // The end of the value and the beginning of the text may be the text too.
        let ends_early = |text| [value, text].concat().find(text) != Some(value.len());
        before.is_some_and(|text| value.contains(text)) || between(claim + 1).is_some_and(ends_early)
    }
}

fn checked(pointer: &str) -> Result<String, TemplateProblem> {
    let is_escaped = |rest: &str| rest.starts_with(['0', '1']);
    if pointer.starts_with('/') && pointer.split('~').skip(1).all(is_escaped) {
        Ok(pointer.to_owned())
    } else {
        Err(TemplateProblem::Pointer(pointer.to_owned()))
    }
}

fn text<'a>(claims: &'a Claims, pointer: &str) -> Result<&'a str, NameProblem> {
    let value = claims.pointer(pointer).and_then(Value::as_str);
    match value.ok_or_else(|| NameProblem::Missing(pointer.to_owned()))? {
        "" => Err(NameProblem::Empty(pointer.to_owned())),
        value if value.chars().any(char::is_control) => Err(NameProblem::Control(pointer.to_owned())),
        value => Ok(value),
    }
}

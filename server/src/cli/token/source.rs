//! Where tokens come from: a file, the standard input or the environment. Never an argument, for everybody on the
//! machine can read those of a process.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::Path,
};

use zeroize::Zeroizing;

/// The variable of the environment that may hold a token.
pub(super) const VARIABLE: &str = "ALTSD_TOKEN";

/// Most bytes that are read for one token. It is more than any token may have, so that it can be said that it is too
/// long.
const MAX_READ: u64 = 64 * 1024;

/// A token, or what was given for one. It shows nothing of itself, and is wiped when it is dropped.
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the white space off that files end with, and the word before it in a header of HTTP.
    pub(super) fn new(text: &str) -> Self {
        let text = text.trim();
        Self(Zeroizing::new(text.strip_prefix("Bearer ").unwrap_or(text).trim().to_owned()))
    }

    /// The text, for what sends or reads it.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no token: name a file, give it to the standard input, or set {VARIABLE}")]
    Missing,
    #[error("{0} holds no token: it is empty")]
    Empty(String),
    #[error(
        "a token is given as an argument, where everybody on this machine can read it: it should be revoked; write \
         it to a file or to the standard input (-), or set {VARIABLE}"
    )]
    Argument,
    #[error("{source_name} cannot be read: {problem}")]
    Read { source_name: String, problem: io::Error },
    #[error("{0} holds more than {MAX_READ} bytes, and no token is so long")]
    TooLong(String),
    #[error("{0} holds no text: a token is in ASCII")]
    NotText(String),
}

/// Reads what `name` says: a file, or `-` for the standard input. Without a name, the environment, and then the
/// standard input unless that is a terminal.
pub(super) fn read(name: Option<&Path>) -> Result<Secret, Error> {
    match name {
        Some(name) if name.as_os_str() == "-" => from_input(),
        Some(name) => from_file(name),
        None => match environment() {
            Some(text) => checked(VARIABLE, text.into_bytes()),
            None if io::stdin().is_terminal() => Err(Error::Missing),
            None => from_input(),
        },
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a token may be in the environment, and never in the help of clap"
)]
fn environment() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())
}

fn from_input() -> Result<Secret, Error> {
    whole("the standard input", io::stdin().lock())
}

fn from_file(name: &Path) -> Result<Secret, Error> {
    // An error that repeated it would write it to one more place.
    if looks_like_a_token(&name.to_string_lossy()) {
        return Err(Error::Argument);
    }
    let source_name = name.display().to_string();
    let file =
        File::open(name).map_err(|problem| Error::Read { source_name: source_name.clone(), problem })?;
    whole(&source_name, file)
}

/// Headers of tokens begin with `{"`, which is `eyJ` in base64.
fn looks_like_a_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.contains('.') && !text.contains('/')
}

fn whole(source_name: &str, from: impl Read) -> Result<Secret, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = from.take(MAX_READ + 1).read_to_end(&mut bytes);
    read.map_err(|problem| Error::Read { source_name: source_name.to_owned(), problem })?;
    checked(source_name, bytes.to_vec())
}

fn checked(source_name: &str, bytes: Vec<u8>) -> Result<Secret, Error> {
    let bytes = Zeroizing::new(bytes);
    if bytes.len() as u64 > MAX_READ {
        return Err(Error::TooLong(source_name.to_owned()));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotText(source_name.to_owned()))?;
    let secret = Secret::new(text);
    if secret.expose().is_empty() { Err(Error::Empty(source_name.to_owned())) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_token_and_the_white_space_around_it_is_none_of_it() {
        let directory = tempfile::tempdir().expect("there is room");
        let file = directory.path().join("token");
        std::fs::write(&file, "\n eyJh.b.c\n\n").expect("there is room");
        assert_eq!(
            read(Some(&file)).map(|token| token.expose().to_owned()).ok().as_deref(),
            Some("eyJh.b.c")
        );
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        let directory = tempfile::tempdir().expect("there is room");
        let long = "a".repeat(MAX_READ as usize + 1).into_bytes();
        for (content, problem) in [
            (&b""[..], "holds no token: it is empty"),
            (b" \r\n\t", "holds no token: it is empty"),
            (b"secret\xff", "holds no text"),
            (&long, "holds more than 65536 bytes"),
        ] {
            let file = directory.path().join("token");
            std::fs::write(&file, content).expect("there is room");
            let error = read(Some(&file)).err().map(|error| error.to_string()).expect(problem);
            assert!(error.contains(problem) && !error.contains("secret"), "{error}");
        }
        let error = read(Some(Path::new("/nowhere/token"))).err().expect("it is not there").to_string();
        assert!(error.starts_with("/nowhere/token cannot be read: "), "{error}");
    }

    #[test]
    fn a_token_as_an_argument_is_refused_and_not_repeated() {
        for argument in ["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "eyJhbGciOiJub25lIn0."] {
            let error = read(Some(Path::new(argument))).err().expect(argument).to_string();
            assert!(error.contains("as an argument") && !error.contains("eyJ"), "{error}");
        }
    }
}

//! The commands as they are typed, against a door that gives fixed answers.

use std::{fs, sync::Arc};

use clap::Parser;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    sync::Mutex,
};

use super::*;

/// RFC 7515, appendix A.3.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const NOW: u64 = 1_300_819_300;

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

/// A door that answers each path with something, and remembers what it was asked.
struct World {
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl World {
    fn of(answers: &'static [(&'static str, &'static str)]) -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let listener = UnixListener::bind(directory.path().join("token.sock")).expect("the name is free");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let serving = tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.expect("it listens");
                let mut request = Vec::new();
                let mut some = [0; 4_096];
                // A form ends with a letter or digit; a request without one with an empty line.
                while !is_whole(&request) {
                    match connection.read(&mut some).await.expect("it writes") {
                        0 => break,
                        count => request.extend_from_slice(&some[..count]),
                    }
                }
                let request = String::from_utf8(request).expect("it is text");
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().await.push(request);
                let answer =
                    answers.iter().find(|(known, _)| *known == path).map_or("404 Not Found\n", |one| one.1);
                let (status, body) = answer.split_once('\n').unwrap_or(("200 OK", answer));
                let length = body.len();
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
                // Who hangs up needs no answer.
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        let world = Self { directory, asked, serving };
        world.write("token", TOKEN);
        world.write("keys", KEYS);
        world
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.directory.path().join(name), content).expect("there is room");
    }

    /// Types a command; words that begin with an `@` are files of this world.
    async fn typed(&self, words: &[&str]) -> Result<ExitCode, Error> {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let socket = format!("unix:{}", path("token.sock"));
        let mut line = vec!["token".to_owned()];
        line.extend(words.iter().map(|word| word.strip_prefix('@').map_or((*word).to_owned(), path)));
        line.extend(["--socket".to_owned(), socket]);
        let args = Typed::try_parse_from(line).unwrap_or_else(|error| panic!("{words:?}: {error}")).args;
        run(args, NOW).await
    }

    async fn asked(&self) -> Vec<String> {
        self.asked.lock().await.drain(..).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn is_success(code: &Result<ExitCode, Error>) -> bool {
    code.as_ref().is_ok_and(|code| format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS))
}

const ISSUED: &str = "200 OK\n{\"access_token\":\"a.b.c\",\"token_type\":\"Bearer\",\"expires_in\":600}";

#[tokio::test]
async fn what_is_asked_for_is_what_was_typed() {
    let exchange = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    let kind = |name: &str| format!("urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A{name}");
    let local = "subject_token_type=urn%3Aaltsd%3Atoken-type%3Alocal-peer";
    let world = World::of(&[("/token", ISSUED)]);
    for (words, form) in [
        (
            &["mint", "--audience", "https://o.example"][..],
            format!(
                "{exchange}&requested_token_type={}&{local}&subject_token=self&audience=https%3A%2F%2Fo.example",
                kind("access_token")
            ),
        ),
        (
            &["mint", "--as", "a@b.example", "--scope", "r", "--scope", "w", "--jwt", "--resource", "x:y"],
            format!(
                "{exchange}&requested_token_type={}&{local}&subject_token=a%40b.example&resource=x%3Ay&scope=r%20w",
                kind("jwt")
            ),
        ),
        (
            &["exchange", "--subject-token-file", "@token", "--subject-token-type", "id-token"],
            format!(
                "{exchange}&requested_token_type={}&subject_token_type={}&subject_token={TOKEN}",
                kind("access_token"),
                kind("id_token")
            ),
        ),
        (
            &[
                "exchange",
                "--subject-token-file",
                "@token",
                "--subject-token-type",
                "access-token",
                "--actor-token-type",
                "local-peer",
            ],
            format!(
                "{exchange}&requested_token_type={0}&subject_token_type={0}&subject_token={TOKEN}\
                 &actor_token_type=urn%3Aaltsd%3Atoken-type%3Alocal-peer&actor_token=self",
                kind("access_token")
            ),
        ),
        (
            &[
                "exchange",
                "--subject-token-file",
                "@keys",
                "--subject-token-type",
                "alts-context",
                "--actor-token-file",
                "@token",
                "--actor-token-type",
                "jwt",
            ],
            format!("&actor_token_type={}&actor_token={TOKEN}", kind("jwt")),
        ),
    ] {
        world.typed(words).await.expect("it is answered");
        let asked = world.asked().await.remove(0);
        assert!(asked.starts_with("POST /token HTTP/1.1\r\n"), "{asked}");
        assert!(asked.ends_with(&form), "{form}\n{asked}");
    }
}

#[tokio::test]
async fn the_exit_code_of_introspect_says_whether_a_token_counts() {
    let good = World::of(&[("/introspect", "200 OK\n{\"active\":true,\"sub\":\"a\"}")]);
    assert!(is_success(&good.typed(&["introspect", "@token"]).await));
    assert!(good.asked().await[0].ends_with(&format!("\r\n\r\ntoken={TOKEN}")));
    let bad = World::of(&[("/introspect", "200 OK\n{\"active\":false}")]);
    let code = bad.typed(&["introspect", "@token", "--output", "json"]).await;
    assert!(code.is_ok() && !is_success(&code));
    let strange = World::of(&[("/introspect", "200 OK\n{\"active\":\"true\"}")]);
    let error = strange.typed(&["introspect", "@token"]).await.expect_err("it says nothing").to_string();
    assert!(error.ends_with("is none of a token door: it has no `active`"), "{error}");
}

#[tokio::test]
async fn a_token_is_revoked_by_itself() {
    let world = World::of(&[("/revoke", "200 OK\n")]);
    world.typed(&["revoke", "@token"]).await.expect("it is answered");
    assert!(world.asked().await[0].ends_with(&format!("\r\n\r\ntoken={TOKEN}")));
}

#[tokio::test]
async fn a_token_is_verified_with_the_keys_and_the_issuer_of_the_door_or_with_those_of_a_file() {
    let joe = World::of(&[("/jwks", KEYS), ("/.well-known/openid-configuration", "{\"issuer\":\"joe\"}")]);
    let jane = World::of(&[("/jwks", KEYS), ("/.well-known/openid-configuration", "{\"issuer\":\"jane\"}")]);
    let nobody = World::of(&[]);
    for (world, words, problem) in [
        (&joe, &["verify", "@token"][..], None),
        (
            &joe,
            &["verify", "@token", "--issuer", "jane"],
            Some("issuer_unknown: Jwt issuer is not configured"),
        ),
        (&joe, &["verify", "@token", "--audience", "a"], Some("audience_not_allowed: Audiences in Jwt")),
        (&joe, &["verify", "@keys"], Some("token_not_three_parts: ")),
        (&jane, &["verify", "@token"], Some("issuer_unknown: ")),
        (&jane, &["verify", "@token", "--issuer", "joe"], None),
        (&nobody, &["verify", "@token", "--jwks", "@keys", "--issuer", "joe"], None),
        (&nobody, &["verify", "@token"], Some("answers 404")),
        (&nobody, &["verify", "@token", "--jwks", "@token"], Some("holds no set of keys: ")),
        (&nobody, &["verify", "@token", "--jwks", "/nowhere"], Some("/nowhere cannot be read: ")),
    ] {
        match (world.typed(words).await, problem) {
            (Ok(_), None) => {}
            (Err(error), Some(problem)) => assert!(error.to_string().contains(problem), "{words:?}: {error}"),
            (answer, _) => panic!("{words:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn the_exit_code_of_explain_says_whether_a_token_is_good() {
    let counts = World::of(&[("/jwks", KEYS), ("/introspect", "{\"active\":true}")]);
    let revoked = World::of(&[("/jwks", KEYS), ("/introspect", "{\"active\":false}")]);
    let silent = World::of(&[("/jwks", KEYS)]);
    let away = World::of(&[]);
    for (world, words, good, asked) in [
        (&counts, &["explain", "@token"][..], true, 3),
        (&revoked, &["explain", "@token"], false, 3),
        // Whether it is revoked is not known, as verifiers do not know it.
        (&silent, &["explain", "@token"], true, 3),
        (&away, &["explain", "@token"], false, 1),
        (&away, &["explain", "@token", "--jwks", "@keys"], true, 0),
        (&revoked, &["explain", "@token", "--jwks", "@keys", "--offline"], true, 0),
        (&counts, &["explain", "@token", "--offline"], false, 0),
        // What is no token is not shown to a door.
        (&counts, &["explain", "@keys"], false, 2),
    ] {
        let code = world.typed(words).await;
        assert!(code.is_ok(), "{words:?}: {code:?}");
        assert_eq!((is_success(&code), world.asked().await.len()), (good, asked), "{words:?}");
    }
}

#[tokio::test]
async fn no_error_shows_a_token() {
    let world = World::of(&[("/token", "200 OK\n{\"access_token\":7,\"secret\":\"s3cret\"}")]);
    for words in [
        &["mint"][..],
        &["exchange", "--subject-token-file", "@token", "--subject-token-type", "jwt"],
        &["introspect", "@token"],
        &["verify", TOKEN],
        &["explain", TOKEN],
    ] {
        let error = world.typed(words).await.expect_err("it does not come to an end");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("s3cret") && !text.contains("eyJ"), "{text}");
        }
    }
}

#[tokio::test]
async fn one_input_holds_one_token() {
    let world = World::of(&[]);
    let both =
        ["exchange", "--subject-token-type", "jwt", "--actor-token-type", "jwt", "--actor-token-file", "-"];
    for words in [&both[..], &[&both[..], &["--subject-token-file", "-"]].concat()] {
        let error = world.typed(words).await.expect_err("it holds one").to_string();
        assert!(error.starts_with("the standard input holds one token"), "{error}");
    }
    let words = [
        "exchange",
        "--subject-token-file",
        "@token",
        "--subject-token-type",
        "jwt",
        "--actor-token-type",
        "jwt",
    ];
    let error = world.typed(&words).await.expect_err("there is no actor").to_string();
    assert!(error.contains("needs --actor-token-file"), "{error}");
}

#[test]
fn keys_are_of_a_file_or_of_this_machine() {
    let door = |text: &str| Door::parse(text).map(check::KeysFrom::Door);
    for (text, expected) in [
        ("keys.json", Ok(check::KeysFrom::File("keys.json".into()))),
        ("unix:/run/altsd/token.sock", door("unix:/run/altsd/token.sock")),
        ("http://127.0.0.1:8081/jwks", door("http://127.0.0.1:8081")),
        ("http://127.0.0.1:8081/.well-known/jwks.json", door("http://127.0.0.1:8081")),
    ] {
        assert_eq!(check::KeysFrom::parse(text), expected, "{text}");
    }
    for text in
        ["", "https://idp.example/jwks", "http://idp.example/jwks", "http://192.0.2.1:80", "unix:jwks"]
    {
        assert!(check::KeysFrom::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_cannot_be_meant_cannot_be_typed() {
    for words in [
        &["mint", "token"][..],
        &["mint", "--socket", "http://192.0.2.1:80"],
        &["mint", "--timeout-seconds", "0"],
        &["exchange"],
        &["exchange", "--subject-token-file", "f"],
        &["exchange", "--subject-token-file", "f", "--subject-token-type", "saml2"],
        &["exchange", "--subject-token-type", "jwt", "--actor-token-file", "f"],
        &["exchange", "--subject-token", "a.b.c", "--subject-token-type", "jwt"],
        &["verify", "f", "g"],
        &["verify", "f", "--jwks", "https://idp.example/jwks"],
        &["explain", "f", "--token", "a.b.c"],
        &["introspect", "f", "--audience", "a"],
        &["revoke", "f", "--jwt"],
    ] {
        assert!(Typed::try_parse_from([&["token"], words].concat()).is_err(), "{words:?}");
    }
}

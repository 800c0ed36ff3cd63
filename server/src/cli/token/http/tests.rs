use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use super::*;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_door_is_an_address_of_this_machine() {
    for (text, shown) in [
        ("unix:/run/altsd/token.sock", "unix:/run/altsd/token.sock"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://127.0.0.1:8081/", "http://127.0.0.1:8081"),
        ("http://localhost:8081", "http://127.0.0.1:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("http://169.254.169.254:80", "http://169.254.169.254:80"),
    ] {
        assert_eq!(Door::parse(text).map(|door| door.to_string()), Ok(shown.to_owned()), "{text}");
    }
    for text in [
        "",
        "unix:",
        "unix:run/token.sock",
        "unix:/run/a\0b",
        "/run/altsd/token.sock",
        "http://10.0.0.1:8081",
        "http://0.0.0.0:8081",
        "http://tokens.example.com:8081",
        "http://localhost",
        "http://127.0.0.1",
        "http://127.0.0.1:8081/jwks",
        "http://user@127.0.0.1:8081",
        "http://127.0.0.1:99999",
        "https://127.0.0.1:8081",
        "file:///etc/passwd",
    ] {
        assert!(Door::parse(text).is_err(), "{text}");
    }
}

#[test]
fn forms_are_encoded_whatever_is_in_them() {
    let cases = [
        ("https://orders.example/?a=b&c", "https%3A%2F%2Forders.example%2F%3Fa%3Db%26c"),
        ("a b+c", "a%20b%2Bc"),
        ("zoë\r\n\0%", "zo%C3%AB%0D%0A%00%25"),
        ("A-z.0_9~", "A-z.0_9~"),
        ("", ""),
    ];
    for (plain, encoded) in cases {
        assert_eq!(form(&[("audience", plain)]), format!("audience={encoded}"));
    }
    assert_eq!(form(&[("a", "1"), ("a", "2")]), "a=1&a=2");
    assert_eq!(form(&[]), "");
}

/// Asks a door that gives this answer; the request as it came, and what is made of the answer.
async fn asked(answer: Vec<u8>) -> (String, Result<Vec<u8>, Error>) {
    let directory = tempfile::tempdir().expect("there is room");
    let socket = directory.path().join("token.sock");
    let listener = UnixListener::bind(&socket).expect("the name is free");
    let serving = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("somebody asks");
        let mut request = Vec::new();
        while !request.ends_with(b"token=a%2Eb") && !request.ends_with(b"token=a.b") {
            let mut some = [0; 512];
            match connection.read(&mut some).await.expect("it writes") {
                0 => break,
                count => request.extend_from_slice(&some[..count]),
            }
        }
        // Who has read enough hangs up.
        let _ = connection.write_all(&answer).await;
        String::from_utf8(request).expect("it is text")
    });
    let form = form(&[("token", "a.b")]);
    let answer = post(&Door::Unix(socket), "/introspect", form, LONG).await;
    (serving.await.expect("it ends"), answer)
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn a_form_is_posted_and_the_answer_is_what_came() {
    let (request, answer) = asked(http("200 OK", "", "{\"active\":true}")).await;
    assert_eq!(answer.expect("it is good"), b"{\"active\":true}");
    let request = request.to_ascii_lowercase();
    assert!(request.starts_with("post /introspect http/1.1\r\n"), "{request}");
    for header in [
        "host: localhost\r\n",
        "content-type: application/x-www-form-urlencoded\r\n",
        "content-length: 9\r\n",
    ] {
        assert!(request.contains(header), "{request}");
    }
    assert!(request.ends_with("\r\n\r\ntoken=a.b"), "{request}");
}

#[tokio::test]
async fn a_refusal_is_told_in_its_own_words() {
    let told = "{\"error\":\"invalid_target\",\"error_description\":\"token_audience_denied: the rule\"}";
    for (answer, problem) in [
        (http("400 Bad Request", "", told), "refuses: invalid_target: token_audience_denied: the rule"),
        (http("400 Bad Request", "", "{\"error\":\"invalid_scope\"}"), "refuses: invalid_scope: "),
        (http("500 Oh", "", "a\u{1b}[2Jb"), "answers 500 where an answer was expected: a\\u{1b}[2Jb"),
        (http("302 Found", "Location: http://192.0.2.1/\r\n", ""), "answers 302"),
        (http("204 No", "", ""), "answers 204"),
        (b"SSH-2.0-x\r\n".to_vec(), "no token door answers at unix:"),
        (Vec::new(), "no token door answers at unix:"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec(), "no token door answers at unix:"),
    ] {
        let error = asked(answer).await.1.expect_err(problem).to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let long = http("200 OK", "", &"x".repeat(MAX_ANSWER + 1));
    let error = asked(long).await.1.expect_err("it is long").to_string();
    assert!(error.contains("has more than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn a_door_that_is_not_there_is_named_with_the_way_out() {
    let door = Door::Unix(PathBuf::from("/nowhere/token.sock"));
    let error = get(&door, "/jwks", LONG).await.expect_err("nothing is there").to_string();
    assert!(error.starts_with("no token door answers at unix:/nowhere/token.sock: "), "{error}");
    assert!(error.contains("[[token.listener]]"), "{error}");
}

#[tokio::test]
async fn a_door_that_says_nothing_is_not_waited_for_for_ever() {
    let directory = tempfile::tempdir().expect("there is room");
    let socket = directory.path().join("token.sock");
    let _listener = UnixListener::bind(&socket).expect("the name is free");
    let error =
        get(&Door::Unix(socket), "/jwks", Duration::ZERO).await.expect_err("it says nothing").to_string();
    assert!(error.contains("no answer came from unix:") && error.contains("--timeout-seconds"), "{error}");
}

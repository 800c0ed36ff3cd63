//! One operation is one token exchange over HTTP/1.1 on a connection that is kept.

use std::{future::poll_fn, pin::Pin, sync::Arc};

use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use zeroize::Zeroizing;

use crate::{
    sample::{Failure, Moved},
    target::Target,
};

/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;

/// Longest error code or reason that is taken from an answer, in characters.
const MAX_CODE: usize = 64;

/// What an answer must have that grants a token.
const GRANTED: &[u8] = b"\"access_token\"";

/// A request for a token. It has no `Debug`: it may hold one.
pub(crate) struct Exchange {
    form: Zeroizing<String>,
}

/// Exchanges at a token endpoint.
pub(crate) struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    target: Target,
    /// What is put into `Host`.
    host: String,
    path: String,
    exchange: Exchange,
    is_kept: bool,
}

/// Asks for one token after another, on its own connection.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    sender: Option<SendRequest<String>>,
}

impl Exchange {
    /// For these subject token and type, audiences and scope.
    pub(crate) fn new(
        subject_token: &str,
        subject_token_type: &str,
        audiences: &[String],
        scope: Option<&str>,
    ) -> Self {
        let mut form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange".to_owned();
        let mut fields = vec![("subject_token", subject_token), ("subject_token_type", subject_token_type)];
        fields.extend(audiences.iter().map(|audience| ("audience", audience.as_str())));
        fields.extend(scope.map(|scope| ("scope", scope)));
        for (name, value) in fields {
            form += "&";
            form += name;
            form += "=";
            encode(value, &mut form);
        }
        Self { form: Zeroizing::new(form) }
    }
}

impl Tokens {
    /// At this target, `POST` to `path`; each on a new connection unless they are kept.
    pub(crate) fn new(target: Target, path: String, exchange: Exchange, is_kept: bool) -> Self {
        let host = match &target {
            Target::Tcp(address) => address.to_string(),
            Target::Unix(_) => "localhost".to_owned(),
        };
        Self { shared: Arc::new(Shared { target, host, path, exchange, is_kept }) }
    }

    pub(crate) fn worker(&self) -> Worker {
        Worker { shared: self.shared.clone(), sender: None }
    }
}

impl Worker {
    pub(crate) fn reset(&mut self) {
        self.sender = None;
    }

    pub(crate) async fn operate(&mut self) -> Result<Moved, Failure> {
        let shared = self.shared.clone();
        let sender = match &mut self.sender {
            Some(sender) if shared.is_kept && !sender.is_closed() => sender,
            place => place.insert(shared.connect().await?),
        };
        sender.ready().await.map_err(|error| broken(&error))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(&shared.path)
            .header(header::HOST, &shared.host)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(shared.exchange.form.to_string())
            .map_err(|error| Failure::new("request_malformed", error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        judge(response).await
    }
}

impl Shared {
    async fn connect(&self) -> Result<SendRequest<String>, Failure> {
        let failed = |error: std::io::Error| Failure::new("connect_failed", error.to_string());
        match &self.target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                // Each request is one segment that nothing follows.
                stream.set_nodelay(true).map_err(failed)?;
                serve(stream).await
            }
            Target::Unix(path) => serve(UnixStream::connect(path).await.map_err(failed)?).await,
        }
    }
}

/// Has HTTP spoken on a connection, until its sender is dropped.
async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<String>, Failure> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        // Whoever sends on it is told when it breaks.
        let _ = connection.await;
    });
    Ok(sender)
}

fn broken(error: &hyper::Error) -> Failure {
    let code = match error {
        error if error.is_timeout() => "http_timeout",
        error if error.is_incomplete_message() || error.is_closed() => "connection_closed",
        error if error.is_parse() => "answer_malformed",
        _ => "connection_broken",
    };
    Failure::new(code, error.to_string())
}

/// Whether an answer grants a token. What it grants is looked at no further, and never shown.
async fn judge(response: Response<Incoming>) -> Result<Moved, Failure> {
    let status = response.status();
    let (mut incoming, mut body) = (response.into_body(), Zeroizing::new(Vec::new()));
    while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
        if body.len() + data.len() > MAX_ANSWER {
            return Err(Failure::new(
                "answer_too_long",
                format!("the answer has more than {MAX_ANSWER} bytes"),
            ));
        }
        body.extend_from_slice(&data);
    }
    match status {
        StatusCode::OK if body.windows(GRANTED.len()).any(|part| part == GRANTED) => {
            Ok(Moved { bytes: body.len() as u64, frames: 0 })
        }
        StatusCode::OK => Err(Failure::new("answer_without_token", "the answer is 200 and grants no token")),
        refused => Err(refusal(refused.as_u16(), &body)),
    }
}

/// A refusal under its OAuth error code (RFC 6749, section 5.2) and the reason that altsd's description begins with.
fn refusal(status: u16, body: &[u8]) -> Failure {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let Ok(Refusal { error, error_description }) = serde_json::from_slice(body) else {
        return Failure::new(
            format!("http_{status}"),
            format!("the answer is {status}, without an OAuth error"),
        );
    };
    let code = if is_code(&error) { error } else { format!("http_{status}") };
    let reason = error_description.split(':').next().filter(|reason| is_code(reason));
    let code = reason.map_or_else(|| code.clone(), |reason| format!("{code}/{reason}"));
    Failure::new(code, format!("{status}: {error_description}"))
}

fn is_code(text: &str) -> bool {
    (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// As `application/x-www-form-urlencoded` has it.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_holds_what_was_asked_for_and_nothing_breaks_out_of_it() {
        let audiences = ["https://a.example".to_owned(), "b&c=d".to_owned()];
        let exchange = Exchange::new("me", "urn:x", &audiences, Some("read write"));
        assert_eq!(
            exchange.form.as_str(),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=me\
             &subject_token_type=urn%3Ax&audience=https%3A%2F%2Fa.example&audience=b%26c%3Dd&scope=read%20write"
        );
    }

    #[test]
    fn a_refusal_is_counted_under_its_codes() {
        let cases = [
            (
                r#"{"error":"invalid_target","error_description":"token_audience_denied: the rule"}"#,
                "invalid_target/token_audience_denied",
            ),
            (r#"{"error":"invalid_client"}"#, "invalid_client"),
            (r#"{"error":"invalid_request","error_description":"Some words"}"#, "invalid_request"),
            (r#"{"error":"<b>","error_description":"x"}"#, "http_400/x"),
            ("<html>", "http_400"),
            ("", "http_400"),
        ];
        for (body, code) in cases {
            assert_eq!(refusal(400, body.as_bytes()).code, code, "{body}");
        }
    }
}

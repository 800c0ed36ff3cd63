//! Requests to the token door of this machine, and to nothing else: no name is looked up but `localhost`, no proxy is
//! asked, no redirect is followed.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    time::Duration,
};

use hyper::{
    Method, Request, Response,
    body::{Body, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::config::is_local;

/// Most bytes of an answer: as many as a set of keys may have.
const MAX_ANSWER: usize = 1024 * 1024;

/// Most of a refusal in other words than those of OAuth that is told, in characters.
const MAX_TOLD: usize = 300;

/// Where the door is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// A socket by its path.
    Unix(PathBuf),
    /// An address of this machine.
    Tcp(SocketAddr),
}

impl Door {
    /// Reads `unix:/PATH` or `http://ADDRESS:PORT` of this machine.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "write unix:/PATH or http://127.0.0.1:PORT, an address of [[token.listener]]";
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = path.starts_with('/') && !path.contains('\0');
            return is_path.then(|| Self::Unix(PathBuf::from(path))).ok_or_else(|| FORM.to_owned());
        }
        let address = text.strip_prefix("http://").ok_or(FORM)?;
        let address = address.strip_suffix('/').unwrap_or(address);
        let address = match address.strip_prefix("localhost:") {
            Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().map_err(|_| FORM)?),
            None => address.parse().map_err(|_| FORM)?,
        };
        if is_local(address.ip()) {
            Ok(Self::Tcp(address))
        } else {
            Err("tokens are asked for and shown in clear, so it must be loopback or link-local".to_owned())
        }
    }
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

/// Why the door gives no answer, or refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "no token door answers at {door}: {problem}; is `altsd run` running, with this address in a \
         [[token.listener]] of its configuration?"
    )]
    Absent { door: String, problem: String },
    #[error("no answer came from {door} within {seconds} s; give it more by --timeout-seconds")]
    Silent { door: String, seconds: u64 },
    #[error("the answer of {door} has more than {MAX_ANSWER} bytes: it is no token door")]
    TooLong { door: String },
    #[error("{door} answers {status} where an answer was expected: {problem}")]
    Strange { door: String, status: u16, problem: String },
    #[error("altsd at {door} refuses: {error}: {description}")]
    Refused { door: String, error: String, description: String },
}

/// A form, as `application/x-www-form-urlencoded` has it.
pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let field = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
    fields.iter().map(field).collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Asks the door for a path of its own. All of it takes at most `timeout`.
pub(super) async fn get(door: &Door, path: &str, timeout: Duration) -> Result<Vec<u8>, Error> {
    ask(door, Method::GET, path, String::new(), timeout).await
}

/// Sends the door a form. All of it takes at most `timeout`.
pub(super) async fn post(door: &Door, path: &str, form: String, timeout: Duration) -> Result<Vec<u8>, Error> {
    ask(door, Method::POST, path, form, timeout).await
}

async fn ask(
    door: &Door,
    method: Method,
    path: &str,
    form: String,
    timeout: Duration,
) -> Result<Vec<u8>, Error> {
    let silent = |_| Error::Silent { door: door.to_string(), seconds: timeout.as_secs() };
    let asked = async {
        let (status, body) = match door {
            Door::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|problem| absent(door, &problem))?;
                exchange(door, stream, method, path, form).await?
            }
            Door::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(|problem| absent(door, &problem))?;
                exchange(door, stream, method, path, form).await?
            }
        };
        if status == 200 { Ok(body) } else { Err(refusal(door, status, &body)) }
    };
    tokio::time::timeout(timeout, asked).await.map_err(silent)?
}

fn absent(door: &Door, problem: &dyn std::error::Error) -> Error {
    Error::Absent { door: door.to_string(), problem: problem.to_string() }
}

/// One request and its answer on a connection of its own.
async fn exchange(
    door: &Door,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: Method,
    path: &str,
    form: String,
) -> Result<(u16, Vec<u8>), Error> {
    let broken = |problem: hyper::Error| absent(door, &problem);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let host = match door {
        Door::Unix(_) => "localhost".to_owned(),
        Door::Tcp(address) => address.to_string(),
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form)
        .map_err(|problem| absent(door, &problem))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        Ok((status, body(door, response).await?))
    };
    // The connection moves while the answer is waited for, and ends with it.
    tokio::select! {
        biased;
        answer = answered => answer,
        Err(problem) = connection => Err(broken(problem)),
    }
}

/// The whole body, if it is not too long.
async fn body(door: &Door, response: Response<Incoming>) -> Result<Vec<u8>, Error> {
    let (mut incoming, mut whole) = (response.into_body(), Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut incoming).poll_frame(context)).await {
        let frame = frame.map_err(|problem| absent(door, &problem))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > MAX_ANSWER {
            return Err(Error::TooLong { door: door.to_string() });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// A refusal in the words of OAuth (RFC 6749, section 5.2), or else in those that came.
fn refusal(door: &Door, status: u16, body: &[u8]) -> Error {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: String,
        #[serde(default)]
        error_description: String,
    }
    let door = door.to_string();
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error, error_description }) => {
            Error::Refused { door, error: told(&error), description: told(&error_description) }
        }
        Err(_) => Error::Strange { door, status, problem: told(&String::from_utf8_lossy(body)) },
    }
}

fn told(text: &str) -> String {
    crate::cli::output::printable(&text.chars().take(MAX_TOLD).collect::<String>())
}

#[cfg(test)]
mod tests;

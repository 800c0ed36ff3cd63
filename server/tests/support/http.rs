//! Requests to a token door, as a program sends them.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
};

use serde_json::Value;

/// Status and answer of a token exchange with these parameters, from this process.
pub(crate) fn exchange(socket: &Path, parameters: &[(&str, &str)]) -> (u16, Value) {
    let mut body = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange".to_owned();
    for (name, value) in parameters {
        body += &format!("&{name}={value}");
    }
    let mut connection = UnixStream::connect(socket).expect("it serves");
    let head = "POST /token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n";
    write!(connection, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it takes requests");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("it answers in text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
    (status, serde_json::from_str(body).expect("it is JSON"))
}

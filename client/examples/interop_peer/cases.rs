//! Plays one case and tells how it went, as a line of JSON.

use std::{
    collections::BTreeSet,
    error::Error as _,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use alts_handshake::Sha256;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    sync::mpsc,
    time::timeout,
};
use tonic::{Code, Status};

use crate::{
    chat::{Channels, Chat, Seen, given, who_am_i},
    options::{Case, ClientOptions},
};

/// Bytes of a message of the cases bulk and rekey.
const BULK_BYTES: usize = 1_000_000;

/// Whether it went well.
pub(crate) async fn run(options: ClientOptions) -> bool {
    let channels = match Channels::new(&options) {
        Ok(channels) => channels,
        Err(error) => {
            eprintln!("interop_peer: {error}");
            return false;
        }
    };
    let ok = match options.case {
        Case::Again => again(&options, &channels).await,
        Case::Reconnect => reconnect(&options, &channels).await,
        _ => report(&judge(&options, &channels, play(&options, &channels)).await),
    };
    channels.closed().await;
    ok
}

/// What a case has seen, and what else it has to tell.
type Played = (Vec<Seen>, Option<Value>);

async fn play(options: &ClientOptions, channels: &Channels) -> Result<Played, Status> {
    match options.case {
        Case::Unary => Ok((vec![who_am_i(channels.open()).await?], None)),
        Case::Stream => stream(options, channels).await,
        Case::Many => many(options, channels).await,
        Case::Bulk => bulk(options, channels).await,
        Case::Rekey => rekey(options, channels).await,
        Case::Again | Case::Reconnect => Err(Status::internal("is no case of one step")),
    }
}

async fn stream(options: &ClientOptions, channels: &Channels) -> Result<Played, Status> {
    let mut chat = Chat::open(channels.open());
    let mut replies = Vec::new();
    for size in &options.sizes {
        let byte = u8::try_from(size % 251).unwrap_or_default();
        replies.push(chat.exchange(vec![byte; *size].into()).await?);
    }
    chat.finish().await?;
    Ok((replies, None))
}

/// No chat ends before the last one has been answered, so all connections are up together.
async fn many(options: &ClientOptions, channels: &Channels) -> Result<Played, Status> {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..options.connections {
        let mut chat = Chat::open(channels.open());
        tasks.spawn(async move {
            let seen = chat.exchange(number.to_string().into()).await?;
            Ok::<_, Status>((chat, seen))
        });
    }
    let (mut chats, mut replies) = (Vec::new(), Vec::new());
    for answered in tasks.join_all().await {
        let (chat, seen) = answered?;
        chats.push(chat);
        replies.push(seen);
    }
    for chat in chats {
        chat.finish().await?;
    }
    Ok((replies, None))
}

/// Large messages there and back on one chat, as many at a time as flow control lets through.
async fn bulk(options: &ClientOptions, channels: &Channels) -> Result<Played, Status> {
    let mut chat = Chat::open(channels.open());
    let sender = chat.take_sender().ok_or_else(|| Status::internal("the chat has no sender"))?;
    let sending = tokio::spawn(send_bulk(sender, options.messages));
    let (mut received, mut replies) = (Sha256::new(), Vec::new());
    while let Some(reply) = chat.receive().await? {
        received.update(&reply.echoed);
        replies.push(reply.seen);
    }
    let sent = sending.await.map_err(|error| Status::internal(error.to_string()))?;
    let received = hex::encode(received.finish());
    if replies.len() != options.messages || sent != received {
        return Err(Status::data_loss(format!(
            "sent {sent}, received {received} in {} messages",
            replies.len()
        )));
    }
    Ok((replies, Some(json!({ "bytes": options.messages * BULK_BYTES, "sha256": received }))))
}

/// The hash of what it sent. Why it could not send, receiving tells.
async fn send_bulk(sender: mpsc::Sender<Bytes>, messages: usize) -> String {
    let mut hash = Sha256::new();
    let content = noise(BULK_BYTES);
    for number in 0..messages {
        let mut message = BytesMut::from(content.as_slice());
        message[..8].copy_from_slice(&number.to_le_bytes());
        hash.update(&message);
        if sender.send(message.freeze()).await.is_err() {
            break;
        }
    }
    hex::encode(hash.finish())
}

/// Much data from the server alone, on a connection on which it has told who calls before.
async fn rekey(options: &ClientOptions, channels: &Channels) -> Result<Played, Status> {
    let channel = channels.open();
    let seen = who_am_i(channel.clone()).await?;
    let mut messages = given(channel, options.messages).await?;
    let (mut received, mut bytes, mut said) = (Sha256::new(), 0, None);
    while let Some(message) = messages.message().await? {
        if message.len() == BULK_BYTES {
            received.update(&message);
            bytes += message.len();
        } else {
            said = Some(message);
        }
    }
    let received = hex::encode(received.finish());
    if said.as_deref() != Some(received.as_bytes()) {
        return Err(Status::data_loss(format!("received {received}, the server says {said:?}")));
    }
    Ok((vec![seen], Some(json!({ "bytes": bytes, "sha256": received }))))
}

/// Bytes without a pattern, other ones in each run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = RandomState::new().build_hasher().finish() | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// One chat stays open. For each line of stdin it has to answer, and a new one is opened: a result each. Whether the
/// first was good.
async fn again(options: &ClientOptions, channels: &Channels) -> bool {
    let mut held = Chat::open(channels.open());
    let use_held = async |held: &mut Chat| held.exchange(Bytes::from_static(b"still here")).await;
    let first = async { Ok((vec![use_held(&mut held).await?], None)) };
    if !report(&judge(options, channels, first).await) {
        return false;
    }
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        let both = async {
            let old = use_held(&mut held).await;
            let old =
                old.map_err(|error| Status::data_loss(format!("the open connection has ended: {error}")))?;
            let new = Chat::open(channels.open()).exchange(Bytes::from_static(b"new")).await?;
            Ok((vec![old, new], None))
        };
        report(&judge(options, channels, both).await);
    }
    true
}

/// One channel, on which a call is made at once and for each line of stdin: a result each. Whether the last was good.
async fn reconnect(options: &ClientOptions, channels: &Channels) -> bool {
    let channel = channels.open();
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        let call = async { Ok((vec![who_am_i(channel.clone()).await?], None)) };
        let ok = report(&judge(options, channels, call).await);
        let Ok(Some(_)) = lines.next_line().await else { return ok };
    }
}

/// The result of what is played, within the time for it.
async fn judge(
    options: &ClientOptions,
    channels: &Channels,
    playing: impl Future<Output = Result<Played, Status>>,
) -> Value {
    let limit = Duration::from_secs_f64(options.deadline);
    let (replies, more) = match timeout(limit, playing).await {
        Ok(Ok(played)) => played,
        Ok(Err(status)) => return failure(code_name(status.code()), &text(&status)),
        Err(_) => return failure("DEADLINE_EXCEEDED", "the case took too long"),
    };
    let accounts: BTreeSet<_> = replies.iter().map(|seen| seen.account.as_str()).collect();
    let connections: BTreeSet<_> = replies.iter().map(|seen| seen.connection.as_str()).collect();
    if accounts != BTreeSet::from([options.expect_peer.as_str()]) {
        return failure("", &format!("the server saw {accounts:?}"));
    }
    if options.case == Case::Many && connections.len() != options.connections {
        return failure("", &format!("{} connections instead of {}", connections.len(), options.connections));
    }
    let mut result = json!({
        "ok": true,
        "peer": options.expect_peer,
        "server": channels.server(),
        "connections": connections.len(),
        "connection": connections.first(),
    });
    if let (Value::Object(result), Some(Value::Object(more))) = (&mut result, more) {
        result.extend(more);
    }
    result
}

/// A status with what it comes from: tonic keeps that out of its message when a connection breaks.
fn text(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn failure(code: &str, error: &str) -> Value {
    json!({ "ok": false, "code": code, "error": error })
}

/// Spells a code as the other peers do.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Unavailable => "UNAVAILABLE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::Unknown => "UNKNOWN",
        Code::Cancelled => "CANCELLED",
        Code::Internal => "INTERNAL",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Unauthenticated => "UNAUTHENTICATED",
        other => other.description(),
    }
}

/// Prints a result; whether it is a good one.
fn report(result: &Value) -> bool {
    println!("{result}");
    result["ok"] == true
}

//! `altsd audit`: the decisions of a running daemon, for its operator.

mod token;

use std::{
    borrow::Cow,
    io::{self, Write},
    time::Duration,
};

use alts_proto::{
    Timestamp,
    altsd::{
        AuditRecord, TailRecordsRequest, TailRecordsResponse, Verdict as VerdictMessage,
        audit_client::AuditClient, tail_records_response::Event,
    },
};
use tonic::{Status, Streaming};

use super::{
    client,
    output::{Format, NOTHING, printable},
};
use crate::{
    audit::{self, Fields, Verdict},
    clock::Clock,
};

/// Watch what a running altsd decides
///
/// Asks over the admin socket, which answers only root and the user that altsd runs as. It needs no section `[audit]`:
/// that is for the trail in a file.
#[derive(clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Examples:
  altsd audit tail
  altsd audit tail --verdict refused --local orders@prod.example.com
  altsd audit tail --output json --count 100 | jq -r .reason";

#[derive(clap::Subcommand)]
enum Command {
    /// Print each decision from now on, until Ctrl-C
    ///
    /// If decisions come faster than they are taken, some are left out, and it is said how many.
    #[command(after_long_help = EXAMPLE)]
    Tail(Tail),
}

#[derive(clap::Args)]
struct Tail {
    /// Those with this verdict only
    #[arg(long, value_enum, value_name = "VERDICT")]
    verdict: Option<Wanted>,
    /// Those of this own account only: it handshakes, or it is the client or the subject of a token
    #[arg(long, value_name = "ACCOUNT", default_value = "", hide_default_value = true)]
    local: String,
    /// Those whose peer is this account or SPIFFE ID only, and tokens with it as subject or actor
    #[arg(long, value_name = "ACCOUNT", default_value = "", hide_default_value = true)]
    peer: String,
    /// End after so many decisions
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The admin socket
    #[arg(long, value_name = "ADDR", env = "ALTSD_ADMIN", default_value = "unix:/run/altsd/admin.sock")]
    admin: String,
    /// Seconds to wait for altsd to begin
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout_seconds: u64,
    /// Form of each line; in JSON it is that of the trail in a file
    #[arg(long, value_enum, value_name = "FORM", default_value_t = Format::Text)]
    output: Format,
}

/// A verdict as it is written on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Wanted {
    /// The caller got a key or a token, or a token is revoked
    Allowed,
    /// It got a reason
    Refused,
    /// It left before it got either
    Abandoned,
}

/// Why decisions cannot be watched, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Unreachable(#[from] client::Error),
    #[error("altsd at {address} refuses: {problem}")]
    Refused { address: String, problem: String },
    #[error("altsd at {address} has stopped")]
    Stopped { address: String },
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

pub(super) async fn run(args: Args, clock: &dyn Clock) -> Result<(), Error> {
    let Command::Tail(tail) = args.command;
    tokio::select! {
        ended = tail.run(clock) => ended,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

impl Tail {
    async fn run(&self, clock: &dyn Clock) -> Result<(), Error> {
        let mut events = self.open().await?;
        let mut decisions = 0;
        let mut line = Vec::new();
        while self.count.is_none_or(|count| decisions < count) {
            let answer = events.message().await.map_err(|status| self.refused(&status))?;
            let Some(TailRecordsResponse { event }) = answer else {
                return Err(Error::Stopped { address: self.admin.clone() });
            };
            line.clear();
            match (event, self.output) {
                (Some(Event::Record(record)), format) => {
                    decisions += 1;
                    write_record(&record, format, &mut line);
                }
                (Some(Event::Token(record)), format) => {
                    // One that is neither is of a newer altsd.
                    if let Some(record) = token::record(&record) {
                        decisions += 1;
                        token::write(&record, format, &mut line);
                    }
                }
                (Some(Event::Missed(count)), Format::Text) => writeln!(line, "({count} are missing here)")?,
                (Some(Event::Missed(count)), Format::Json) => {
                    audit::write_dropped(clock.since_1970(), count, &mut line);
                }
                // Of a newer altsd.
                (None, _) => {}
            }
            io::stdout().lock().write_all(&line)?;
        }
        Ok(())
    }

    async fn open(&self) -> Result<Streaming<TailRecordsResponse>, Error> {
        let timeout = Duration::from_secs(self.timeout_seconds);
        let mut client = AuditClient::new(client::admin(&self.admin, timeout).await?);
        let verdict = match self.verdict {
            None => VerdictMessage::Unspecified,
            Some(Wanted::Allowed) => VerdictMessage::Allowed,
            Some(Wanted::Refused) => VerdictMessage::Refused,
            Some(Wanted::Abandoned) => VerdictMessage::Abandoned,
        };
        let (local, peer) = (self.local.clone(), self.peer.clone());
        let call = client.tail_records(TailRecordsRequest { verdict: verdict.into(), local, peer });
        client::answer(call, &self.admin, timeout).await?.map_err(|status| self.refused(&status))
    }

    fn refused(&self, status: &Status) -> Error {
        let problem = match status.message() {
            "" => format!("{:?}", status.code()),
            text => text.to_owned(),
        };
        Error::Refused { address: self.admin.clone(), problem }
    }
}

fn write_record(record: &AuditRecord, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => fields(record).write_to(out),
        Format::Text => {
            out.extend_from_slice(sentence(record).as_bytes());
            out.push(b'\n');
        }
    }
}

/// One line for people. An arrow says who has opened the connection.
fn sentence(record: &AuditRecord) -> String {
    let fields = fields(record);
    let name = |name: &Option<Cow<'_, str>>| printable(name.as_deref().unwrap_or(NOTHING));
    let (local, peer) = (name(&fields.local), name(&fields.peer));
    let ends = match fields.side {
        Some("server") => format!("{local} <- {peer}"),
        Some(_) => format!("{local} -> {peer}"),
        None => format!("{local} -- {peer}"),
    };
    let mut line = format!("{}  {:9}  {ends}", fields.time, word(fields.verdict));
    if let Some(rule) = &fields.rule {
        line += &format!("  rule {}", printable(rule));
    }
    if let (Some(rule), Some(verdict)) = (&fields.shadow_rule, fields.shadow_verdict) {
        line += &format!("  (in shadow, {} by rule {})", word(verdict), printable(rule));
    }
    match (fields.reason, &fields.text) {
        (Some(reason), Some(text)) => line += &format!("  {}: {}", printable(reason), printable(text)),
        (Some(reason), None) => line += &format!("  {}", printable(reason)),
        (None, _) => {}
    }
    line
}

/// What a record of the admin API says, as the trail in a file has it.
fn fields(record: &AuditRecord) -> Fields<'_> {
    let given = |text: &'_ str| (!text.is_empty()).then_some(());
    let text = |text| given(text).map(|()| Cow::Borrowed(text));
    Fields {
        time: audit::rfc3339(record.time.as_ref().map(since_1970).unwrap_or_default()),
        event: audit::HANDSHAKE,
        verdict: verdict(record.verdict()).unwrap_or(Verdict::Refused),
        reason: given(&record.reason).map(|()| &*record.reason),
        text: text(&record.text),
        side: given(&record.side).map(|()| &*record.side),
        listener: Cow::Borrowed(&record.listener),
        caller: record.caller.iter().map(|fact| Cow::Borrowed(&**fact)).collect(),
        local: text(&record.local),
        peer: text(&record.peer),
        peer_spiffe_id: text(&record.peer_spiffe_id),
        rule: text(&record.rule),
        shadow_rule: text(&record.shadow_rule),
        shadow_verdict: verdict(record.shadow_verdict()),
        duration_ms: record
            .duration
            .as_ref()
            .map(|time| audit::milliseconds(duration(time.seconds, time.nanos))),
    }
}

/// A time of a record, since 1970.
fn since_1970(time: &Timestamp) -> Duration {
    duration(time.seconds, time.nanos)
}

fn duration(seconds: i64, nanos: i32) -> Duration {
    Duration::new(seconds.try_into().unwrap_or_default(), nanos.try_into().unwrap_or_default())
}

fn verdict(verdict: VerdictMessage) -> Option<Verdict> {
    match verdict {
        VerdictMessage::Unspecified => None,
        VerdictMessage::Allowed => Some(Verdict::Allowed),
        VerdictMessage::Refused => Some(Verdict::Refused),
        VerdictMessage::Abandoned => Some(Verdict::Abandoned),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::Refused => "refused",
        Verdict::Abandoned => "abandoned",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> AuditRecord {
        AuditRecord {
            time: Some(Timestamp { seconds: 1_769_903_999, nanos: 123_456_789 }),
            verdict: VerdictMessage::Refused.into(),
            reason: "peer_denied".to_owned(),
            text: "the peer is denied: by\na rule".to_owned(),
            side: "client".to_owned(),
            listener: "unix:/s".to_owned(),
            caller: vec!["uid:7".to_owned()],
            local: "a@x.example".to_owned(),
            peer: "b@x.example".to_owned(),
            rule: "closed".to_owned(),
            shadow_rule: "open".to_owned(),
            shadow_verdict: VerdictMessage::Allowed.into(),
            duration: Some(alts_proto::Duration { seconds: 1, nanos: 2_000_000 }),
            ..Default::default()
        }
    }

    #[test]
    fn a_decision_is_one_line_for_people() {
        let allowed = AuditRecord {
            verdict: VerdictMessage::Allowed.into(),
            side: "server".to_owned(),
            reason: String::new(),
            text: String::new(),
            rule: String::new(),
            shadow_rule: String::new(),
            ..refused()
        };
        let unknown = AuditRecord {
            side: String::new(),
            local: String::new(),
            peer: String::new(),
            rule: String::new(),
            reason: "start_timeout".to_owned(),
            text: String::new(),
            shadow_rule: String::new(),
            ..refused()
        };
        let cases = [
            (
                refused(),
                "2026-01-31T23:59:59.123Z  refused    a@x.example -> b@x.example  rule closed  \
                 (in shadow, allowed by rule open)  peer_denied: the peer is denied: by\\na rule",
            ),
            (allowed, "2026-01-31T23:59:59.123Z  allowed    a@x.example <- b@x.example"),
            (unknown, "2026-01-31T23:59:59.123Z  refused    - -- -  start_timeout"),
        ];
        for (record, expected) in cases {
            assert_eq!(sentence(&record), expected);
        }
    }

    #[test]
    fn a_decision_in_json_is_the_line_of_the_file() {
        let mut line = Vec::new();
        write_record(&refused(), Format::Json, &mut line);
        let expected = "{\"time\":\"2026-01-31T23:59:59.123Z\",\"event\":\"handshake\",\"verdict\":\"refused\",\
                        \"reason\":\"peer_denied\",\"text\":\"the peer is denied: by\\na rule\",\"side\":\"client\",\
                        \"listener\":\"unix:/s\",\"caller\":[\"uid:7\"],\"local\":\"a@x.example\",\
                        \"peer\":\"b@x.example\",\"rule\":\"closed\",\"shadow_rule\":\"open\",\
                        \"shadow_verdict\":\"allowed\",\"duration_ms\":1002.0}\n";
        assert_eq!(String::from_utf8_lossy(&line), expected);
    }
}

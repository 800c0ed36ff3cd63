//! The service `altsd.v1.Audit`.

use std::{borrow::Cow, future::ready, pin::Pin};

use alts_handshake::Identity;
use alts_proto::{
    Duration, Timestamp,
    altsd::{
        AuditRecord, AuditTokenRecord, TailRecordsRequest, TailRecordsResponse,
        TokenEvent as TokenEventMessage, Verdict as VerdictMessage,
        audit_server::{Audit, AuditServer},
        tail_records_response,
    },
};
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::audit::{Bounded, Event, HandshakeRecord, Record, TokenEvent, TokenRecord, Trail, Verdict};

/// Largest request, in bytes: two names and what stands around them.
const MAX_MESSAGE: usize = 16 << 10;

/// Longest name that is repeated in a refusal, in bytes.
const MAX_NAME: usize = 256;

pub(super) struct Service {
    trail: Trail,
    stopped: watch::Receiver<()>,
}

impl Service {
    /// Shows what comes to the trail, until `stopped` has no sender any more.
    pub(super) fn new(trail: Trail, stopped: watch::Receiver<()>) -> Self {
        Self { trail, stopped }
    }

    pub(super) fn into_server(self) -> AuditServer<Self> {
        AuditServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Audit for Service {
    type TailRecordsStream = Pin<Box<dyn Stream<Item = Result<TailRecordsResponse, Status>> + Send>>;

    async fn tail_records(
        &self,
        request: Request<TailRecordsRequest>,
    ) -> Result<Response<Self::TailRecordsStream>, Status> {
        let wanted = Wanted::read(request.get_ref())?;
        let mut stopped = self.stopped.clone();
        // Without an end of its own, a stream would keep the daemon from stopping.
        let stop = Box::pin(async move { while stopped.changed().await.is_ok() {} });
        let told = self.trail.subscribe().filter_map(move |event| ready(wanted.told(&event).map(Ok)));
        Ok(Response::new(Box::pin(told.take_until(stop))))
    }
}

/// Which decisions a caller has asked for.
struct Wanted {
    verdict: Option<Verdict>,
    local: Option<String>,
    peer: Option<String>,
}

impl Wanted {
    fn read(request: &TailRecordsRequest) -> Result<Self, Status> {
        let verdict = match VerdictMessage::try_from(request.verdict) {
            Ok(VerdictMessage::Unspecified) => None,
            Ok(VerdictMessage::Allowed) => Some(Verdict::Allowed),
            Ok(VerdictMessage::Refused) => Some(Verdict::Refused),
            Ok(VerdictMessage::Abandoned) => Some(Verdict::Abandoned),
            Err(_) => {
                let text = format!("verdict_unknown: {} is no verdict; give 0 for any", request.verdict);
                return Err(Status::invalid_argument(text));
            }
        };
        Ok(Self { verdict, local: account(&request.local)?, peer: account(&request.peer)? })
    }

    /// What the caller is told of an event. What is missing may be what it has asked for.
    fn told(&self, event: &Event) -> Option<TailRecordsResponse> {
        let event = match event {
            Event::Missed(missed) => tail_records_response::Event::Missed(*missed),
            Event::Decision(record) => match &**record {
                Record::Handshake(record) => {
                    tail_records_response::Event::Record(self.wants(record).then(|| message(record))?)
                }
                Record::Token(record) => {
                    tail_records_response::Event::Token(self.wants_token(record).then(|| of_token(record))?)
                }
            },
        };
        Some(TailRecordsResponse { event: Some(event) })
    }

    fn wants(&self, record: &HandshakeRecord) -> bool {
        let is_peer = |name: &String| {
            record.decided.peer.as_ref().is_some_and(|peer| {
                peer.account() == name || peer.spiffe_id().is_some_and(|id| id.as_str() == name)
            })
        };
        self.verdict.is_none_or(|verdict| verdict == record.verdict)
            && self.local.as_ref().is_none_or(|name| record.local.as_ref() == Some(name))
            && self.peer.as_ref().is_none_or(is_peer)
    }

    /// Of this node is who calls, and often whom a token is about; a peer is whom it is about, or who acts.
    fn wants_token(&self, record: &TokenRecord) -> bool {
        let TokenRecord { verdict, client, subject, actor, .. } = record;
        let is_one_of = |wanted: &Option<String>, names: [&Option<_>; 2]| {
            let mut names = names.into_iter().flatten().map(Bounded::as_str);
            wanted.as_deref().is_none_or(|wanted| names.any(|name| name == wanted))
        };
        self.verdict.is_none_or(|wanted| wanted == *verdict)
            && is_one_of(&self.local, [client, subject])
            && is_one_of(&self.peer, [subject, actor])
    }
}

/// The one spelling of an account; none if nothing is asked for.
fn account(name: &str) -> Result<Option<String>, Status> {
    if name.is_empty() {
        return Ok(None);
    }
    let identity = Identity::parse(name).map_err(|problem| {
        let name = &name[..name.floor_char_boundary(MAX_NAME)];
        Status::invalid_argument(format!("account_invalid: {name:?} is no account: {problem}"))
    })?;
    Ok(Some(identity.account().to_owned()))
}

fn message(record: &HandshakeRecord) -> AuditRecord {
    let fields = record.fields();
    let text = |text: Option<Cow<'_, str>>| text.unwrap_or_default().into_owned();
    AuditRecord {
        time: Some(timestamp(record.time)),
        verdict: verdict(fields.verdict).into(),
        reason: fields.reason.unwrap_or_default().to_owned(),
        text: text(fields.text),
        side: fields.side.unwrap_or_default().to_owned(),
        listener: fields.listener.into_owned(),
        caller: fields.caller.into_iter().map(|fact| fact.into_owned()).collect(),
        local: text(fields.local),
        peer: text(fields.peer),
        peer_spiffe_id: text(fields.peer_spiffe_id),
        rule: text(fields.rule),
        shadow_rule: text(fields.shadow_rule),
        shadow_verdict: fields.shadow_verdict.map_or(VerdictMessage::Unspecified, verdict).into(),
        duration: record.duration.map(|duration| Duration {
            seconds: duration.as_secs() as i64,
            nanos: duration.subsec_nanos() as i32,
        }),
    }
}

fn of_token(record: &TokenRecord) -> AuditTokenRecord {
    let event = match record.event {
        TokenEvent::Issue => TokenEventMessage::Issue,
        TokenEvent::Revoke => TokenEventMessage::Revoke,
    };
    AuditTokenRecord {
        time: Some(timestamp(record.time)),
        event: event.into(),
        verdict: verdict(record.verdict).into(),
        reason: text(&record.reason),
        text: text(&record.text),
        listener: record.listener.as_str().to_owned(),
        caller: texts(&record.caller),
        client: text(&record.client),
        subject_token_type: text(&record.subject_token_type),
        subject: text(&record.subject),
        subject_issuer: text(&record.subject_issuer),
        actor: text(&record.actor),
        audience: texts(&record.audience),
        scope: text(&record.scope),
        jti: text(&record.jti),
        expires: record.expires.map(timestamp),
    }
}

fn text<const MAX: usize>(text: &Option<Bounded<MAX>>) -> String {
    text.as_ref().map(Bounded::as_str).unwrap_or_default().to_owned()
}

fn texts<const MAX: usize>(texts: &[Bounded<MAX>]) -> Vec<String> {
    texts.iter().map(|text| text.as_str().to_owned()).collect()
}

/// A time since 1970. Neither number is over the largest of its type, up to the year 292 billion.
fn timestamp(since_1970: std::time::Duration) -> Timestamp {
    Timestamp { seconds: since_1970.as_secs() as i64, nanos: since_1970.subsec_nanos() as i32 }
}

fn verdict(verdict: Verdict) -> VerdictMessage {
    match verdict {
        Verdict::Allowed => VerdictMessage::Allowed,
        Verdict::Refused => VerdictMessage::Refused,
        Verdict::Abandoned => VerdictMessage::Abandoned,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        audit::{self, Output, Settings, full, full_token},
        clock::SystemClock,
    };

    /// What is asked for, and which of the records below are told.
    struct Case {
        request: TailRecordsRequest,
        told: &'static [&'static str],
    }

    fn case(verdict: VerdictMessage, local: &str, peer: &str, told: &'static [&'static str]) -> Case {
        let (local, peer) = (local.to_owned(), peer.to_owned());
        Case { request: TailRecordsRequest { verdict: verdict.into(), local, peer }, told }
    }

    /// Each has its name as its text.
    fn records() -> [Record; 5] {
        let of = |text: &str, record| HandshakeRecord { text: Some(text.to_owned()), ..record }.into();
        let of_token = |text: &str, record| TokenRecord { text: Some(text.into()), ..record }.into();
        let decided = audit::Decided::default();
        let nobody = TokenRecord { client: None, subject: None, actor: None, ..full_token() };
        [
            of("full", full()),
            of("refused", HandshakeRecord { verdict: Verdict::Refused, ..full() }),
            of("gone", HandshakeRecord { verdict: Verdict::Abandoned, local: None, decided, ..full() }),
            of_token("token", full_token()),
            of_token("no token", TokenRecord { verdict: Verdict::Refused, ..nobody }),
        ]
    }

    #[tokio::test]
    async fn a_caller_is_told_what_it_has_asked_for_until_the_daemon_stops() {
        use VerdictMessage::{Abandoned, Allowed, Refused, Unspecified};
        let cases = [
            case(Unspecified, "", "", &["full", "refused", "gone", "token", "no token"]),
            case(Allowed, "", "", &["full", "token"]),
            case(Refused, "", "", &["refused", "no token"]),
            case(Abandoned, "", "", &["gone"]),
            case(Unspecified, "orders@PROD.example.com", "", &["full", "refused", "token"]),
            case(Unspecified, "cart@prod.example.com", "", &["token"]),
            case(Unspecified, "stock@prod.example.com", "", &[]),
            case(Unspecified, "", "cart@prod.example.com", &["full", "refused", "token"]),
            case(Unspecified, "", "stock@prod.example.com", &["token"]),
            case(Unspecified, "", "orders@prod.example.com", &[]),
            case(Refused, "", "spiffe://prod.example.com/cart", &["refused"]),
            case(Unspecified, "", "spiffe://prod.example.com/car", &[]),
        ];
        for Case { request, told } in cases {
            let none = Settings { output: Output::None, queue_records: 10 };
            let (trail, writing) = audit::start(&none, Arc::new(SystemClock)).expect("it starts");
            let (stop, stopped) = watch::channel(());
            let service = Service::new(trail.clone(), stopped);
            let events = service.tail_records(Request::new(request.clone())).await.expect("it is valid");
            records().into_iter().for_each(|record| trail.record(record));
            let written = tokio::task::spawn_blocking(|| writing.close(std::time::Duration::from_secs(60)));
            written.await.expect("it ends well");
            let events = events.into_inner();
            let found: Vec<_> = events.take(told.len()).map(text).collect().await;
            assert_eq!(found, told, "{request:?}");
            let events = service.tail_records(Request::new(request)).await.expect("it is valid");
            drop(stop);
            assert_eq!(events.into_inner().count().await, 0, "it ends");
        }
    }

    fn text(answer: Result<TailRecordsResponse, Status>) -> String {
        match answer.expect("it goes on").event {
            Some(tail_records_response::Event::Record(record)) => record.text,
            Some(tail_records_response::Event::Token(record)) => record.text,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_no_question_is_refused_with_a_reason() {
        let (_stop, stopped) = watch::channel(());
        let none = Settings { output: Output::None, queue_records: 10 };
        let (trail, _writing) = audit::start(&none, Arc::new(SystemClock)).expect("it starts");
        let service = Service::new(trail, stopped);
        let long = format!("x@{}", "y".repeat(9_000));
        let cases = [
            (TailRecordsRequest { verdict: 9, ..Default::default() }, "verdict_unknown: 9 "),
            (TailRecordsRequest { local: "orders".to_owned(), ..Default::default() }, "account_invalid: "),
            (TailRecordsRequest { peer: long, ..Default::default() }, "account_invalid: "),
        ];
        for (request, expected) in cases {
            let status = service.tail_records(Request::new(request)).await.err().expect("it is refused");
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert!(status.message().starts_with(expected), "{status}");
            assert!(status.message().len() < 500, "{status}");
        }
    }
}

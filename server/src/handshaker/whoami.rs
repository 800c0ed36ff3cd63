//! What the handshaker tells a program about itself, `altsd.v1.Caller`. A program may know what it is, and which
//! workload that makes it; what it would have to be, to be another, is for the operator.

use std::sync::Arc;

use alts_proto::altsd::{
    Denial, WhoAmIRequest, WhoAmIResponse,
    caller_server::{Caller as CallerService, CallerServer},
    who_am_i_response::Mode,
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::caller::Entitlement;
use crate::attest::{AttestError, Attested, Caller, Selector, Workload};

/// Largest request, in bytes: it has no fields.
const MAX_MESSAGE: usize = 1 << 10;

/// Questions of one listener that are looked into at once: who asks in numbers must not keep handshakes waiting.
const MAX_QUESTIONS: usize = 16;

/// The service on one listener.
pub(crate) struct WhoAmI {
    entitlement: Entitlement,
    questions: Semaphore,
}

impl WhoAmI {
    /// For the callers of a listener.
    pub(crate) fn new(entitlement: Entitlement) -> Self {
        Self { entitlement, questions: Semaphore::new(MAX_QUESTIONS) }
    }

    /// The service as a listener serves it.
    pub(crate) fn into_server(self) -> CallerServer<Self> {
        CallerServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl CallerService for WhoAmI {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let _question = self.questions.try_acquire().map_err(|_| {
            Status::resource_exhausted("questions_too_many: too many programs ask who they are; ask again")
        })?;
        let found = match &self.entitlement {
            Entitlement::Fixed(identity) => Found::Fixed { account: identity.account().to_owned() },
            Entitlement::Attested(attestation) => {
                Found::by(attestation.of(request.extensions().get::<Caller>()).await)
            }
        };
        Ok(Response::new(answer(found)))
    }
}

/// What was found out about a caller.
#[derive(Clone, Debug)]
enum Found {
    /// Nothing: every caller of the listener has this account.
    Fixed { account: String },
    /// What the kernel says, and the workload that this makes it.
    Attested { selectors: Vec<String>, process_ids: Vec<u32>, workload: Option<Matched> },
    /// The kernel does not say who it is.
    Unknown(Denial),
}

/// The workload that a caller is.
#[derive(Clone, Debug)]
struct Matched {
    /// The first is the one it gets without asking.
    accounts: Vec<String>,
    selectors: Vec<String>,
}

impl Found {
    fn by(attested: Result<(Arc<Attested>, Option<&Workload>), AttestError>) -> Self {
        match attested {
            Ok((attested, workload)) => Self::Attested {
                selectors: attested.selectors.iter().map(Selector::to_string).collect(),
                // The kernel's numbers are positive.
                process_ids: attested.pids().into_iter().filter_map(|pid| pid.try_into().ok()).collect(),
                workload: workload.map(Matched::of),
            },
            Err(error) => {
                Self::Unknown(Denial { reason: error.reason().to_owned(), message: error.to_string() })
            }
        }
    }
}

impl Matched {
    fn of(workload: &Workload) -> Self {
        Self {
            accounts: workload.identities().iter().map(|identity| identity.account().to_owned()).collect(),
            selectors: workload.selectors().iter().map(Selector::to_string).collect(),
        }
    }
}

/// The answer to a caller about itself.
fn answer(found: Found) -> WhoAmIResponse {
    match found {
        Found::Fixed { account } => {
            WhoAmIResponse { mode: Mode::Fixed.into(), accounts: vec![account], ..Default::default() }
        }
        Found::Attested { selectors, process_ids, workload } => {
            let answer =
                WhoAmIResponse { mode: Mode::Attested.into(), selectors, process_ids, ..Default::default() };
            match workload {
                Some(Matched { accounts, selectors }) => {
                    WhoAmIResponse { accounts, workload_selectors: selectors, ..answer }
                }
                None => WhoAmIResponse { denial: Some(no_workload()), ..answer },
            }
        }
        Found::Unknown(denial) => {
            WhoAmIResponse { mode: Mode::Attested.into(), denial: Some(denial), ..Default::default() }
        }
    }
}

/// With the reason that its handshakes are refused with.
fn no_workload() -> Denial {
    let message = "no workload of the configuration has selectors that all hold for this caller";
    Denial { reason: "workload_unknown".to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, future::pending};

    use alts_handshake::Identity;
    use alts_proto::altsd::caller_client::CallerClient;
    use nix::unistd::getuid;
    use tonic::{service::Routes, transport::Endpoint};

    use super::*;
    use crate::{
        attest::{Attestor, Workloads},
        clock::SystemClock,
        config::Address,
        handshaker::Attestation,
        listen::{Listener, ListenerLimits},
    };

    fn attested(attestor: Attestor, workloads: Workloads) -> Entitlement {
        Entitlement::Attested(Arc::new(Attestation { attestor, workloads }))
    }

    /// What a listener with this one workload says to this very process.
    async fn asked(selector: &str) -> WhoAmIResponse {
        let identity = Identity::parse("orders@prod.example.com").expect("it is valid");
        let selector = Selector::parse(selector).expect("it is valid");
        let workload = Workload::new(vec![identity], BTreeSet::from([selector])).expect("it is one");
        let workloads = Workloads::new(vec![workload]).expect("there is no other");
        let attestor = Attestor::new(&workloads, None, Arc::new(SystemClock)).expect("it needs no pods");

        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("s.sock");
        let uri = format!("unix:{}", path.display());
        let listener = Listener::open(&Address::Unix { path, mode: 0o600 }).expect("it can be opened");
        let services = Routes::new(WhoAmI::new(attested(attestor, workloads)).into_server());
        let limits = ListenerLimits {
            users: None,
            connections: 1,
            connections_of_one_user: 1,
            streams_per_connection: 1,
        };
        let serving = tokio::spawn(listener.serve(services, limits, pending()));
        let endpoint = Endpoint::from_shared(uri).expect("it is an address");
        let channel = endpoint.connect().await.expect("it is served");
        let answer = CallerClient::new(channel).who_am_i(WhoAmIRequest {}).await.expect("it answers");
        serving.abort();
        answer.into_inner()
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn denial(reason: &str) -> Denial {
        Denial { reason: reason.to_owned(), message: "why".to_owned() }
    }

    #[test]
    fn a_fixed_listener_tells_its_account_and_that_it_did_not_look() {
        let answer = answer(Found::Fixed { account: "a@b".to_owned() });
        let expected =
            WhoAmIResponse { mode: Mode::Fixed.into(), accounts: strings(&["a@b"]), ..Default::default() };
        assert_eq!(answer, expected);
    }

    #[test]
    fn a_workload_is_told_what_it_is_and_which_selectors_made_it_so() {
        let matched = Matched { accounts: strings(&["a@b", "c@b"]), selectors: strings(&["uid:7"]) };
        let selectors = strings(&["uid:7", "gid:7"]);
        let found =
            Found::Attested { selectors: selectors.clone(), process_ids: vec![42], workload: Some(matched) };
        let expected = WhoAmIResponse {
            mode: Mode::Attested.into(),
            selectors,
            process_ids: vec![42],
            accounts: strings(&["a@b", "c@b"]),
            workload_selectors: strings(&["uid:7"]),
            denial: None,
        };
        assert_eq!(answer(found), expected);
    }

    #[test]
    fn who_is_no_workload_is_told_what_it_is_and_nothing_of_others() {
        let found = Found::Attested { selectors: strings(&["uid:8"]), process_ids: vec![42], workload: None };
        let expected = WhoAmIResponse {
            mode: Mode::Attested.into(),
            selectors: strings(&["uid:8"]),
            process_ids: vec![42],
            denial: Some(no_workload()),
            ..Default::default()
        };
        assert_eq!(answer(found), expected);
    }

    #[test]
    fn who_cannot_be_looked_at_is_told_why_and_granted_nothing() {
        let expected = WhoAmIResponse {
            mode: Mode::Attested.into(),
            denial: Some(denial("caller_exited")),
            ..Default::default()
        };
        assert_eq!(answer(Found::Unknown(denial("caller_exited"))), expected);
    }

    #[test]
    fn a_workload_gives_its_first_account_first() {
        let identity = |account| Identity::parse(account).expect("it is valid");
        let selectors = ["uid:7", "path:/usr/bin/a"].map(|text| Selector::parse(text).expect("it is valid"));
        let workload =
            Workload::new(vec![identity("z@b.example"), identity("a@b.example")], BTreeSet::from(selectors));
        let matched = Matched::of(&workload.expect("it is one"));
        assert_eq!(matched.accounts, ["z@b.example", "a@b.example"]);
        let told: BTreeSet<_> = matched.selectors.iter().map(String::as_str).collect();
        assert_eq!(told, BTreeSet::from(["uid:7", "path:/usr/bin/a"]));
    }

    #[tokio::test]
    async fn a_program_is_told_what_the_kernel_says_of_it() {
        let selector = format!("uid:{}", getuid());
        let answer = asked(&selector).await;
        assert_eq!(answer.mode(), Mode::Attested);
        assert!(answer.selectors.contains(&selector), "{answer:?}");
        assert_eq!(answer.process_ids, [std::process::id()]);
        assert_eq!(answer.accounts, ["orders@prod.example.com"]);
        assert_eq!((answer.workload_selectors, answer.denial), (vec![selector], None));
    }

    #[tokio::test]
    async fn a_program_that_is_no_workload_is_told_itself_and_nothing_of_the_workloads() {
        let answer = asked("uid:4000000123").await;
        assert!(answer.selectors.contains(&format!("uid:{}", getuid())), "{answer:?}");
        assert_eq!((answer.accounts.len(), answer.workload_selectors.len()), (0, 0));
        let denial = answer.denial.clone().expect("nothing is granted");
        assert_eq!(denial.reason, "workload_unknown");
        let told = format!("{answer:?}");
        assert!(!told.contains("orders") && !told.contains("4000000123"), "{told}");
    }

    #[tokio::test]
    async fn who_asks_in_numbers_is_told_to_ask_again() {
        let identity = Identity::parse("orders@prod.example.com").expect("it is valid");
        let service = WhoAmI::new(Entitlement::Fixed(identity));
        let others: Vec<_> = (0..MAX_QUESTIONS).map(|_| service.questions.try_acquire()).collect();
        let status = service.who_am_i(Request::new(WhoAmIRequest {})).await.expect_err("it is one too many");
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        drop(others);
        assert!(service.who_am_i(Request::new(WhoAmIRequest {})).await.is_ok());
    }

    #[tokio::test]
    async fn an_attested_listener_that_knows_nothing_of_its_caller_grants_nothing() {
        let workloads = Workloads::default();
        let attestor = Attestor::new(&workloads, None, Arc::new(SystemClock)).expect("it needs nothing");
        let service = WhoAmI::new(attested(attestor, workloads));
        let answer = service.who_am_i(Request::new(WhoAmIRequest {})).await.expect("it answers").into_inner();
        assert_eq!(answer.mode(), Mode::Attested);
        assert_eq!(answer.denial.map(|denial| denial.reason).as_deref(), Some("caller_hidden"));
        assert!(answer.accounts.is_empty());
    }
}

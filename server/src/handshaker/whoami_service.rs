//! The service by which a program asks what it is to the handshaker, `altsd.v1.Caller`.

use alts_handshake::Identity;
use alts_proto::altsd::{
    Denial, WhoAmIRequest, WhoAmIResponse,
    caller_server::{Caller as CallerService, CallerServer},
};
use tonic::{Request, Response, Status};

use super::{
    caller::{self, Entitlement},
    refusal::Refusal,
    whoami::{self, Found, Matched},
};
use crate::attest::{Caller, Selector};

/// Largest request, in bytes: it is empty.
const MAX_MESSAGE: usize = 1 << 10;

/// Answers each caller about itself alone.
pub(crate) struct WhoAmI(Entitlement);

impl WhoAmI {
    /// For the callers of a listener.
    pub(crate) fn new(entitlement: Entitlement) -> Self {
        Self(entitlement)
    }

    /// The service as a listener serves it.
    pub(crate) fn into_server(self) -> CallerServer<Self> {
        CallerServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    async fn find(&self, caller: Option<&Caller>) -> Found {
        let attestation = match &self.0 {
            Entitlement::Fixed(identity) => return Found::Fixed { account: identity.account().to_owned() },
            Entitlement::Attested(attestation) => attestation,
        };
        let (attested, workload) = match attestation.of(caller).await {
            Ok(found) => found,
            Err(error) => return Found::Unknown(denial(error.into())),
        };
        let workload = workload.map(|workload| Matched {
            accounts: workload.identities().iter().map(Identity::account).map(str::to_owned).collect(),
            selectors: workload.selectors().iter().map(Selector::to_string).collect(),
        });
        Found::Attested {
            selectors: attested.selectors.iter().map(Selector::to_string).collect(),
            process_ids: attested.pids().into_iter().filter_map(|pid| pid.try_into().ok()).collect(),
            workload: workload.ok_or_else(|| denial(caller::unknown(&attested))),
        }
    }
}

fn denial(refusal: Refusal) -> Denial {
    Denial { reason: refusal.reason.to_owned(), message: refusal.text }
}

#[tonic::async_trait]
impl CallerService for WhoAmI {
    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        let found = self.find(request.extensions().get::<Caller>()).await;
        Ok(Response::new(whoami::answer(found)))
    }
}

//! The service `altsd.v1.SigningKeys`.

mod resource;

use std::sync::Arc;

use alts_proto::altsd::{
    ChangedSigningKeys, ListSigningKeysRequest, ListSigningKeysResponse, RetireSigningKeyRequest,
    RotateSigningKeyRequest, SigningKey,
    signing_keys_server::{SigningKeys as SigningKeysService, SigningKeysServer},
};
use tonic::{Code, Request, Response, Status as RpcStatus};

use self::resource::{PREFIX, kid, message, unreadable};
use super::{
    access::Operator,
    page,
    refusal::{by_store, refuse},
};
use crate::token::keyring::{ChangeError, Changed, Keyring, Status};

/// Largest request, in bytes: a name and what stands around it.
const MAX_MESSAGE: usize = 16 << 10;

/// Who keeps the keys that tokens are signed with.
#[tonic::async_trait]
pub(crate) trait SigningKeys: Send + Sync + 'static {
    /// How all keys of the fleet stand.
    fn status(&self) -> Arc<Status>;

    /// The longest that verifiers keep a set, in seconds.
    fn verifier_cache(&self) -> u64;

    /// Makes the next key, or in an emergency replaces all.
    async fn rotate(&self, emergency: bool) -> Result<Changed, ChangeError>;

    /// Withdraws a key.
    async fn retire(&self, kid: &str) -> Result<Changed, ChangeError>;
}

#[tonic::async_trait]
impl SigningKeys for Keyring {
    fn status(&self) -> Arc<Status> {
        self.status()
    }

    fn verifier_cache(&self) -> u64 {
        self.verifier_cache()
    }

    async fn rotate(&self, emergency: bool) -> Result<Changed, ChangeError> {
        self.rotate(emergency).await
    }

    async fn retire(&self, kid: &str) -> Result<Changed, ChangeError> {
        self.retire(kid).await
    }
}

pub(super) struct Service {
    /// None where the token door is shut.
    pub(super) keys: Option<Arc<dyn SigningKeys>>,
}

impl Service {
    pub(super) fn into_server(self) -> SigningKeysServer<Self> {
        SigningKeysServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    fn keys(&self) -> Result<&Arc<dyn SigningKeys>, RpcStatus> {
        self.keys.as_ref().ok_or_else(|| {
            let text = "this node signs no tokens; its configuration has no section [token]";
            refuse(Code::FailedPrecondition, "token_door_shut", text)
        })
    }

    fn changed(
        &self,
        operator: &Operator,
        changed: Result<Changed, ChangeError>,
    ) -> Result<Response<ChangedSigningKeys>, RpcStatus> {
        let Changed { key, withdrawn } = changed.map_err(|error| {
            if let ChangeError::NotTold { withdrawn, .. } = &error {
                operator.did_here("withdrawn", withdrawn);
            }
            refused(&error)
        })?;
        if let Some(key) = &key {
            operator.did_here("called for", &message(key).name);
        }
        for key in &withdrawn {
            operator.did_here("withdrawn", &message(key).name);
        }
        Ok(Response::new(ChangedSigningKeys {
            signing_key: key.as_ref().map(message),
            withdrawn: withdrawn.iter().map(message).collect(),
            verifier_cache_seconds: self.keys()?.verifier_cache(),
        }))
    }
}

#[tonic::async_trait]
impl SigningKeysService for Service {
    async fn list_signing_keys(
        &self,
        request: Request<ListSigningKeysRequest>,
    ) -> Result<Response<ListSigningKeysResponse>, RpcStatus> {
        let ListSigningKeysRequest { page_size, page_token } = request.get_ref();
        let size = page::size(*page_size)?;
        let keys = self.keys()?;
        let status = keys.status();
        let mut all: Vec<SigningKey> = status.keys.iter().map(message).collect();
        all.extend(status.unreadable.iter().map(|(name, problem)| unreadable(name, problem)));
        all.sort_by(|one, other| one.name.cmp(&other.name));
        if !page_token.is_empty() {
            if !page_token.starts_with(PREFIX) {
                return Err(page::token_invalid());
            }
            all.retain(|key| key.name > *page_token);
        }
        let (signing_keys, next_page_token) =
            page::fill(all, size, SigningKey::clone, |key| key.name.clone());
        let problem = status.failure.as_ref();
        Ok(Response::new(ListSigningKeysResponse {
            signing_keys,
            next_page_token,
            problem: problem
                .map(|problem| format!("{}: {}", problem.code, problem.problem))
                .unwrap_or_default(),
            verifier_cache_seconds: keys.verifier_cache(),
        }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<RotateSigningKeyRequest>,
    ) -> Result<Response<ChangedSigningKeys>, RpcStatus> {
        let keys = self.keys()?;
        let operator = Operator::of(request.extensions());
        self.changed(&operator, keys.rotate(request.get_ref().emergency).await)
    }

    async fn retire_signing_key(
        &self,
        request: Request<RetireSigningKeyRequest>,
    ) -> Result<Response<ChangedSigningKeys>, RpcStatus> {
        let keys = self.keys()?;
        let kid = kid(&request.get_ref().name)
            .map_err(|problem| refuse(Code::InvalidArgument, "name_invalid", &problem))?;
        let operator = Operator::of(request.extensions());
        self.changed(&operator, keys.retire(kid).await)
    }
}

/// What was not done, or not wholly.
fn refused(error: &ChangeError) -> RpcStatus {
    let (code, reason) = match error {
        ChangeError::Unknown { .. } => (Code::NotFound, "signing_key_unknown"),
        ChangeError::SameFile { .. } => (Code::FailedPrecondition, "signing_key_unchanged"),
        ChangeError::UsedUp { .. } => (Code::FailedPrecondition, "token_key_used_up"),
        ChangeError::NotMade { code, .. } => (Code::FailedPrecondition, *code),
        ChangeError::Store(problem) => return by_store(problem),
        ChangeError::NotTold { .. } => (Code::Unavailable, "signing_key_not_told"),
        ChangeError::Busy => (Code::ResourceExhausted, "rotation_busy"),
        ChangeError::Stopping => (Code::Unavailable, "stopping"),
    };
    refuse(code, reason, &error.to_string())
}

//! The service `altsd.v1.Certificates`.

use std::sync::Arc;

use alts_proto::altsd::{
    Certificate, GetCertificateRequest, ListCertificatesRequest, ListCertificatesResponse,
    RotateCertificateRequest,
    certificates_server::{Certificates as CertificatesService, CertificatesServer},
};
use tonic::{Code, Request, Response, Status as RpcStatus};

use super::{
    page,
    refusal::refuse,
    resource::{self, PREFIX},
};
use crate::{
    clock::Clock,
    identity::keeper::{Keeper, RotateError, Status},
    snapshot::Current,
};

/// Largest request, in bytes: a name and what stands around it.
const MAX_MESSAGE: usize = 16 << 10;

/// Longest name, in bytes: the longest SPIFFE ID and what stands before it.
const MAX_NAME: usize = 2_048 + PREFIX.len();

/// Who keeps the certificates.
#[tonic::async_trait]
pub(crate) trait Certificates: Send + Sync + 'static {
    /// How each identity stands.
    fn status(&self) -> Vec<Status>;

    /// The chain in use for an account, leaf first, each certificate in DER.
    fn chain(&self, account: &str) -> Option<Vec<Vec<u8>>>;

    /// Gets a new certificate now. On failure the old one stays.
    async fn rotate(&self, account: &str) -> Result<Status, RotateError>;
}

/// The certificates of this node.
pub(crate) struct Kept {
    pub(crate) keeper: Keeper,
    pub(crate) current: Arc<Current>,
}

#[tonic::async_trait]
impl Certificates for Kept {
    fn status(&self) -> Vec<Status> {
        self.keeper.status()
    }

    fn chain(&self, account: &str) -> Option<Vec<Vec<u8>>> {
        self.current.load().credentials(account).map(|credentials| credentials.chain_der().to_vec())
    }

    async fn rotate(&self, account: &str) -> Result<Status, RotateError> {
        self.keeper.rotate(account).await
    }
}

pub(super) struct Service {
    certificates: Arc<dyn Certificates>,
    clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn new(certificates: Arc<dyn Certificates>, clock: Arc<dyn Clock>) -> Self {
        Self { certificates, clock }
    }

    pub(super) fn into_server(self) -> CertificatesServer<Self> {
        CertificatesServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    fn resource(&self, status: &Status) -> Certificate {
        let mut certificate = resource::certificate(status, self.now());
        let chain = self.certificates.chain(status.identity.account());
        certificate.chain_pem = resource::chain_pem(&chain.unwrap_or_default());
        certificate
    }
}

#[tonic::async_trait]
impl CertificatesService for Service {
    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Result<Response<ListCertificatesResponse>, RpcStatus> {
        let ListCertificatesRequest { page_size, page_token } = request.get_ref();
        let size = page::size(*page_size)?;
        let mut all = self.certificates.status();
        all.sort_by(|one, other| one.identity.account().cmp(other.identity.account()));
        if !page_token.is_empty() {
            let last = page_token.strip_prefix(PREFIX).ok_or_else(page::token_invalid)?;
            all.retain(|status| status.identity.account() > last);
        }
        let now = self.now();
        let token = |status: &Status| format!("{PREFIX}{}", status.identity.account());
        let (certificates, next_page_token) =
            page::fill(all, size, |status| resource::certificate(status, now), token);
        Ok(Response::new(ListCertificatesResponse { certificates, next_page_token }))
    }

    async fn get_certificate(
        &self,
        request: Request<GetCertificateRequest>,
    ) -> Result<Response<Certificate>, RpcStatus> {
        let account = account(&request.get_ref().name)?;
        let all = self.certificates.status();
        let status = all.iter().find(|status| status.identity.account() == account);
        Ok(Response::new(self.resource(status.ok_or_else(|| unknown(&account))?)))
    }

    async fn rotate_certificate(
        &self,
        request: Request<RotateCertificateRequest>,
    ) -> Result<Response<Certificate>, RpcStatus> {
        let account = account(&request.get_ref().name)?;
        match self.certificates.rotate(&account).await {
            Ok(status) => Ok(Response::new(self.resource(&status))),
            Err(RotateError::Unknown { .. }) => Err(unknown(&account)),
            Err(error @ RotateError::Failed { .. }) => {
                Err(refuse(Code::Unavailable, "rotation_failed", &error.to_string()))
            }
            Err(error @ RotateError::Busy) => {
                Err(refuse(Code::ResourceExhausted, "rotation_busy", &error.to_string()))
            }
            Err(error @ RotateError::Stopping) => {
                Err(refuse(Code::Unavailable, "stopping", &error.to_string()))
            }
        }
    }
}

fn account(name: &str) -> Result<String, RpcStatus> {
    if name.len() > MAX_NAME {
        let text = format!("a name has at most {MAX_NAME} bytes, and this one has {}", name.len());
        return Err(refuse(Code::InvalidArgument, "name_invalid", &text));
    }
    resource::account(name).map_err(|problem| refuse(Code::InvalidArgument, "name_invalid", &problem))
}

fn unknown(account: &str) -> RpcStatus {
    let text = format!("{account} is no identity of this node; `altsd certs list` shows those it has");
    refuse(Code::NotFound, "certificate_unknown", &text)
}

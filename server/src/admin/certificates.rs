//! The service `altsd.v1.Certificates`.

use std::sync::Arc;

use alts_proto::altsd::{
    Certificate, GetCertificateRequest, ListCertificatesRequest, ListCertificatesResponse,
    RotateCertificateRequest,
    certificates_server::{Certificates as CertificatesService, CertificatesServer},
};
use tonic::{Code, Request, Response, Status as RpcStatus};

use super::resource::{self, PREFIX};
use crate::{
    clock::Clock,
    identity::keeper::{Keeper, RotateError, Status},
    snapshot::Current,
};

/// Largest request, in bytes: a name and what stands around it.
const MAX_MESSAGE: usize = 16 << 10;

/// Longest name, in bytes: the longest SPIFFE ID and what stands before it.
const MAX_NAME: usize = 2_048 + PREFIX.len();

/// Longest text of a refusal, in bytes.
const MAX_TEXT: usize = 4_096;

/// Certificates of a page, where the request does not say how many, and the most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1_000;

/// Who keeps the certificates.
#[tonic::async_trait]
pub(super) trait Certificates: Send + Sync + 'static {
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

pub(super) struct Service<C> {
    certificates: C,
    clock: Arc<dyn Clock>,
}

impl<C: Certificates> Service<C> {
    pub(super) fn new(certificates: C, clock: Arc<dyn Clock>) -> Self {
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
impl<C: Certificates> CertificatesService for Service<C> {
    async fn list_certificates(
        &self,
        request: Request<ListCertificatesRequest>,
    ) -> Result<Response<ListCertificatesResponse>, RpcStatus> {
        let page = page(self.certificates.status(), request.get_ref())?;
        let now = self.now();
        let certificates = page.of.iter().map(|status| resource::certificate(status, now)).collect();
        Ok(Response::new(ListCertificatesResponse { certificates, next_page_token: page.next }))
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

/// It travels in a header: what others wrote into it is cut.
fn refuse(code: Code, reason: &str, text: &str) -> RpcStatus {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    RpcStatus::new(code, format!("{reason}: {text}"))
}

/// A part of all certificates, in the order of their names.
struct Page {
    of: Vec<Status>,
    /// The name of the last one, if others follow: whatever comes or goes between two pages, none that stays is
    /// left out or comes twice.
    next: String,
}

fn page(mut all: Vec<Status>, request: &ListCertificatesRequest) -> Result<Page, RpcStatus> {
    let ListCertificatesRequest { page_size, page_token } = request;
    let size = match usize::try_from(*page_size) {
        Ok(0) => PAGE,
        Ok(size) => size.min(MAX_PAGE),
        Err(_) => {
            let text = format!("page_size is {page_size}; give 0 for the default, or more");
            return Err(refuse(Code::InvalidArgument, "page_size_invalid", &text));
        }
    };
    all.sort_by(|one, other| one.identity.account().cmp(other.identity.account()));
    if !page_token.is_empty() {
        let Some(last) = page_token.strip_prefix(PREFIX) else {
            let text = "give the next_page_token of the page before, or none for the first";
            return Err(refuse(Code::InvalidArgument, "page_token_invalid", text));
        };
        all.retain(|status| status.identity.account() > last);
    }
    let more = all.len() > size;
    all.truncate(size);
    let last = all.last().filter(|_| more);
    let next = last.map(|status| format!("{PREFIX}{}", status.identity.account())).unwrap_or_default();
    Ok(Page { of: all, next })
}

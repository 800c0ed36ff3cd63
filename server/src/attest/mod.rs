//! STUB for type checking, replaced by the room.
use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};
use alts_handshake::Identity;
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector(String);
impl fmt::Display for Selector { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) } }
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SelectorProblem(String);
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WorkloadProblem(String);
impl Selector { pub(crate) fn parse(text: &str) -> Result<Self, SelectorProblem> { Ok(Self(text.to_owned())) } }
#[derive(Clone, Debug)]
pub(crate) struct Workload { identities: Vec<Identity>, selectors: BTreeSet<Selector> }
impl Workload {
    pub(crate) fn new(identities: Vec<Identity>, selectors: Vec<Selector>) -> Result<Self, WorkloadProblem> { Ok(Self { identities, selectors: selectors.into_iter().collect() }) }
    pub(crate) fn identities(&self) -> &[Identity] { &self.identities }
    pub(crate) fn selectors(&self) -> &BTreeSet<Selector> { &self.selectors }
}
#[derive(Debug)]
pub(crate) struct Tie { pub first: usize, pub second: usize }
#[derive(Clone, Debug, Default)]
pub(crate) struct Workloads(Vec<Workload>);
impl Workloads {
    pub(crate) fn new(v: Vec<Workload>) -> Result<Self, Tie> { Ok(Self(v)) }
    pub(crate) fn of(&self, _f: &BTreeSet<Selector>) -> Option<&Workload> { self.0.first() }
    pub(crate) fn is_empty(&self) -> bool { self.0.is_empty() }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Workload> { self.0.iter() }
}
#[derive(Clone, Debug)]
pub(crate) struct KubernetesSettings { pub(crate) pods: PodSource }
#[derive(Clone, Debug)]
pub(crate) enum PodSource { File(PathBuf), Kubelet { url: String, ca_file: Option<PathBuf>, token_file: Option<PathBuf> } }
#[derive(Clone)]
pub(crate) struct Caller;
impl Caller {
    pub(crate) fn of_unix(_: &tokio::net::UnixStream) -> Self { Self }
    pub(crate) fn of_tcp(_: &tokio::net::TcpStream) -> Self { Self }
    pub(crate) async fn attest(&self, _: &Attestor) -> Result<Arc<Attested>, AttestError> { Err(AttestError::Unknown) }
}
pub(crate) struct Attested { pub(crate) selectors: BTreeSet<Selector> }
pub(crate) struct Attestor;
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttestError { #[error("x")] Unknown }
impl AttestError { pub(crate) fn reason(&self) -> &'static str { "caller_unknown" } pub(crate) fn is_own_fault(&self) -> bool { false } }

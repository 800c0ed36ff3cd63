//! The configuration file, read into values that cannot be invalid.
//!
//! `raw` is the file as it is written; [`read`] checks it against itself and gives a [`Launch`]. Whether the files
//! it names hold what they should is for `identity::files`. The first problem in the order of the sections ends the
//! reading; every problem says file, line and key.

mod address;
mod audit_trail;
mod error;
mod identities;
mod limits;
mod listeners;
mod operation;
mod policy;
mod raw;
mod store;
mod text;
mod token;

use std::{fs, net::SocketAddr, path::Path};

#[cfg(feature = "etcd")]
pub(crate) use self::store::EtcdSettings;
use self::text::Text;
pub(crate) use self::{
    address::{Address, AddressProblem, is_local},
    error::{Error, Place, Placed, Problem},
    identities::{Ca, Configured, Files, IdentityFiles, TrustFiles},
    limits::{Limits, MAX_CLOCK_SKEW_SECONDS, MAX_SECONDS},
    listeners::{Callers, Listener},
    operation::Admin,
    policy::PolicySettings,
    store::{Database, StoreSettings},
    token::{IssuerSettings, KeySource, TokenListener, TokenSettings},
};
use crate::{
    attest::{KubernetesSettings, Workloads},
    audit,
};

/// What a start of the daemon needs to know.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) limits: Limits,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) workloads: Workloads,
    pub(crate) kubernetes: Option<KubernetesSettings>,
    pub(crate) source: Source,
    /// Who may talk to whom.
    pub(crate) policy: PolicySettings,
    /// Where the decisions of operators are kept.
    pub(crate) store: Option<StoreSettings>,
    /// Where operators ask the daemon.
    pub(crate) admin: Option<Admin>,
    /// Where tokens are given out.
    pub(crate) token: Option<TokenSettings>,
    /// Where Prometheus scrapes.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where it is written what was decided.
    pub(crate) audit: audit::Settings,
}

/// Where identities and roots come from. The two never mix.
#[derive(Debug)]
pub(crate) enum Source {
    /// What the configuration says.
    Configured(Configured),
    /// A signing service in memory, which makes one identity for this user.
    Dev { user: String },
}

/// Reads the file and checks it against itself.
pub(crate) fn read(file: &Path) -> Result<Launch, Error> {
    let text =
        fs::read_to_string(file).map_err(|problem| Error::Unreadable { file: file.to_owned(), problem })?;
    parse(file, &text)
}

fn parse(file: &Path, text: &str) -> Result<Launch, Error> {
    let source = Text { file: file.into(), text };
    let raw = source.deserialize()?;
    let limits = source.limits(&raw.handshaker)?;
    let identities = source.identities(&raw)?;
    let listeners = source.listeners(&raw.handshaker.listener, &identities)?;
    let admin = source.admin(raw.admin.as_ref(), &listeners)?;
    let token = source.token(&raw, &identities, &listeners, admin.as_ref())?;
    let (configured, workloads) = source.configured(&raw, identities)?;
    Ok(Launch {
        limits,
        listeners,
        workloads,
        kubernetes: source.kubernetes(raw.kubernetes.as_ref())?,
        source: Source::Configured(configured),
        policy: source.policy(raw.policy.as_ref())?,
        store: source.store(&raw)?,
        admin,
        token,
        metrics: source.metrics(raw.metrics.as_ref())?,
        audit: source.audit(raw.audit.as_ref())?,
    })
}

#[cfg(test)]
mod tests;

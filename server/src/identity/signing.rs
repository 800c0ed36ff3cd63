//! The signing service of this daemon: a root, a node issuer below it, and short leaves for the workloads here.
//!
//! Root and issuer are files of a state directory, or live in memory. Each file holds a certificate and its key, so
//! that there is no half of it. What is there is never made anew, except the issuer: at half of its life, and if
//! its file is not there.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alts_handshake::{Authority, Credentials, Identity, SetupError};
use async_trait::async_trait;
use pki_types::{CertificateDer, UnixTime};

use super::{
    Origin, Random, Source, SourceError,
    state::{self, Directory},
    x509::{self, Ca, Window},
};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// How long a root holds: longer than a machine.
const ROOT_LIFETIME: Duration = DAY.saturating_mul(3_652);

/// How long a node issuer holds.
const ISSUER_LIFETIME: Duration = DAY.saturating_mul(365);

/// How long nothing is tried after the renewal of an issuer has failed that is still valid.
const ISSUER_PAUSE: Duration = Duration::from_secs(3_600);

/// How long a leaf holds, unless the configuration says otherwise.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(3_600);

/// Shorter leaves would leave no time to renew them; longer ones are what this service is there to avoid.
pub(crate) const LIFETIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(300)..=DAY;

const ROOT: &str = "root.pem";
const ISSUER: &str = "issuer.pem";

/// What else the daemon keeps in its state directory: the store, and the copy of a shared one.
const STORES: [&str; 2] = ["store", "etcd-copy"];

/// What a signing service is set up with.
#[derive(Clone, Debug)]
pub(crate) struct SigningSettings {
    pub(crate) directory: PathBuf,
    /// Whom it vouches for. It issues for no other names.
    pub(crate) authorities: Vec<Authority>,
    /// Of a leaf.
    pub(crate) lifetime: Duration,
}

/// Why the signing service cannot start, or cannot issue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("there is no root in {}; run: altsd ca init", directory.display())]
    Missing { directory: PathBuf },
    #[error("there is a root in {} already; altsd ca show prints it", directory.display())]
    Exists { directory: PathBuf },
    #[error(
        "{} is broken: {problem}; put it back from a backup, or remove it and {ISSUER} beside it and run: altsd \
         ca init (whoever trusts the old root must then be given the new one)",
        file.display(),
    )]
    RootBroken { file: PathBuf, problem: &'static str },
    #[error("{} is broken: {problem}; to have the root make another, run: rm {}", file.display(), file.display())]
    IssuerBroken { file: PathBuf, problem: &'static str },
    #[error(
        "{} holds {found} but no {ROOT}; put {ROOT} back from a backup, or name an empty directory",
        directory.display()
    )]
    HalfThere { directory: PathBuf, found: String },
    #[error(
        "the signing service issues for {authorities}, not for {authority}; add it to the authorities of the signing service"
    )]
    AuthorityForeign { authority: String, authorities: String },
    #[error(
        "the root of the signing service is not valid now; it is from {not_before} s to {not_after} s since 1970"
    )]
    RootNotValid { not_before: u64, not_after: u64 },
    #[error(transparent)]
    Making(#[from] x509::Error),
    #[error("the signing service cannot use what it has made: {0}")]
    Setup(#[from] SetupError),
    #[error("the lifetime of {0:?} is out of range; it must be 5 minutes to 24 hours")]
    Lifetime(Duration),
}

/// Issues leaves. Clones are the same service.
#[derive(Clone)]
pub(crate) struct SigningService(Arc<Inner>);

struct Inner {
    directory: Option<Directory>,
    authorities: Vec<Authority>,
    lifetime: Duration,
    root: Ca,
    issuer: Mutex<NodeIssuer>,
    random: Random,
}

struct NodeIssuer {
    ca: Arc<Ca>,
    /// When its renewal last failed, in seconds since 1970.
    failed: Option<u64>,
}

/// What `altsd ca show` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) root: CaDescription,
    pub(crate) issuer: CaDescription,
    pub(crate) authorities: Vec<Authority>,
    pub(crate) lifetime: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaDescription {
    pub(crate) name: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub(crate) fingerprint: String,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl SigningService {
    /// Makes a root and an issuer. If there is one already, nothing is changed.
    pub(crate) fn create(settings: &SigningSettings, now: UnixTime, random: Random) -> Result<Self, Error> {
        check_lifetime(settings.lifetime)?;
        let directory = Directory::open(&settings.directory, true)?;
        let lock = directory.lock()?;
        if directory.read(ROOT)?.is_some() {
            return Err(Error::Exists { directory: settings.directory.clone() });
        }
        check_empty(&directory, settings)?;
        let root = Ca::root(Window::starting(now, ROOT_LIFETIME), &*random)?;
        directory.write(ROOT, root.to_pem().as_bytes(), &lock)?;
        let issuer = root.issuer(Window::starting(now, ISSUER_LIFETIME), &*random)?;
        directory.write(ISSUER, issuer.to_pem().as_bytes(), &lock)?;
        drop(lock);
        Ok(Self::new(Some(directory), settings, root, issuer, random))
    }

    /// Opens what is there.
    pub(crate) fn open(settings: &SigningSettings, now: UnixTime, random: Random) -> Result<Self, Error> {
        check_lifetime(settings.lifetime)?;
        let missing = || Error::Missing { directory: settings.directory.clone() };
        // Where it cannot be told, the next line says why.
        if settings.directory.try_exists().is_ok_and(|exists| !exists) {
            return Err(missing());
        }
        let directory = Directory::open(&settings.directory, false)?;
        let lock = directory.lock()?;
        let Some(root) = read_root(&directory)? else {
            check_empty(&directory, settings)?;
            return Err(missing());
        };
        let issuer = match read_issuer(&directory, &root)? {
            Some(issuer) => issuer,
            None => {
                // The process that made the root was ended before it had made the issuer, or an operator has
                // removed it. The root vouches for another as well.
                tracing::info!(directory = %settings.directory.display(), "the node issuer is made anew");
                check_root(&root, now)?;
                let issuer = root.issuer(Window::starting(now, ISSUER_LIFETIME), &*random)?;
                directory.write(ISSUER, issuer.to_pem().as_bytes(), &lock)?;
                issuer
            }
        };
        drop(lock);
        Ok(Self::new(Some(directory), settings, root, issuer, random))
    }

    /// Opens what is there, or makes it. Of several processes at once, one makes it and all open the same.
    pub(crate) fn open_or_create(
        settings: &SigningSettings,
        now: UnixTime,
        random: Random,
    ) -> Result<Self, Error> {
        match Self::open(settings, now, random.clone()) {
            Err(Error::Missing { .. }) => {}
            other => return other,
        }
        match Self::create(settings, now, random.clone()) {
            Err(Error::Exists { .. }) => Self::open(settings, now, random),
            other => other,
        }
    }

    /// A service that dies with the process.
    pub(crate) fn in_memory(
        authorities: Vec<Authority>,
        lifetime: Duration,
        now: UnixTime,
        random: Random,
    ) -> Result<Self, Error> {
        check_lifetime(lifetime)?;
        let root = Ca::root(Window::starting(now, ROOT_LIFETIME), &*random)?;
        let issuer = root.issuer(Window::starting(now, ISSUER_LIFETIME), &*random)?;
        let settings = SigningSettings { directory: PathBuf::new(), authorities, lifetime };
        Ok(Self::new(None, &settings, root, issuer, random))
    }

    fn new(
        directory: Option<Directory>,
        settings: &SigningSettings,
        root: Ca,
        issuer: Ca,
        random: Random,
    ) -> Self {
        Self(Arc::new(Inner {
            directory,
            authorities: settings.authorities.clone(),
            lifetime: settings.lifetime,
            root,
            issuer: Mutex::new(NodeIssuer { ca: Arc::new(issuer), failed: None }),
            random,
        }))
    }

    /// The root, which is to be trusted for exactly [`authorities`](Self::authorities).
    pub(crate) fn root_der(&self) -> &CertificateDer<'static> {
        self.0.root.der()
    }

    pub(crate) fn root_pem(&self) -> &str {
        self.0.root.pem()
    }

    /// Whom it vouches for.
    pub(crate) fn authorities(&self) -> &[Authority] {
        &self.0.authorities
    }

    /// Its root under each of its authorities.
    pub(crate) fn roots(&self) -> Vec<(Authority, CertificateDer<'static>)> {
        self.authorities().iter().map(|authority| (authority.clone(), self.root_der().clone())).collect()
    }

    pub(crate) fn describe(&self) -> Description {
        let issuer = self.0.issuer.lock().unwrap_or_else(PoisonError::into_inner).ca.clone();
        Description {
            root: CaDescription::of(&self.0.root),
            issuer: CaDescription::of(&issuer),
            authorities: self.0.authorities.clone(),
            lifetime: self.0.lifetime,
        }
    }

    /// Makes a key and a certificate. It may read and write files.
    pub(crate) fn issue(&self, identity: &Identity, now: UnixTime) -> Result<Credentials, Error> {
        self.0.issue(identity, now)
    }
}

impl Inner {
    fn issue(&self, identity: &Identity, now: UnixTime) -> Result<Credentials, Error> {
        for authority in authorities_of(identity) {
            if !self.authorities.contains(&authority) {
                let names: Vec<_> = self.authorities.iter().map(ToString::to_string).collect();
                let authorities = names.join(", ");
                return Err(Error::AuthorityForeign { authority: authority.to_string(), authorities });
            }
        }
        let issuer = self.fresh_issuer(now)?;
        let leaf = issuer.leaf(identity, Window::starting(now, self.lifetime), &*self.random)?;
        Ok(Credentials::new(&[leaf.certificate, issuer.der().clone()], &leaf.key, &*self.random)?)
    }

    /// The issuer, in the first half of its life unless that cannot be had.
    fn fresh_issuer(&self, now: UnixTime) -> Result<Arc<Ca>, Error> {
        check_root(&self.root, now)?;
        // The lock is held while a new one is made, so that one is made.
        let mut issuer = self.issuer.lock().unwrap_or_else(PoisonError::into_inner);
        let is_valid = issuer.ca.window().contains(now);
        if !self.is_due(&issuer.ca, now) || is_valid && issuer.is_pausing(now) {
            return Ok(issuer.ca.clone());
        }
        match self.renew_issuer(now) {
            Ok(ca) => {
                tracing::info!(issuer = ca.name(), "the node issuer was renewed");
                *issuer = NodeIssuer { ca: Arc::new(ca), failed: None };
            }
            // A full disk is no reason to be without leaves.
            Err(error) if is_valid => {
                if issuer.failed.replace(now.as_secs()).is_none() {
                    let until = issuer.ca.window().not_after;
                    tracing::warn!(until, "the node issuer was not renewed; the old stays in use: {error}");
                }
            }
            Err(error) => return Err(error),
        }
        Ok(issuer.ca.clone())
    }

    fn is_due(&self, issuer: &Ca, now: UnixTime) -> bool {
        let window = issuer.window();
        // At the end of the root nothing is gained by another.
        let at_the_end = window.contains(now) && window.not_after >= self.root.window().not_after;
        window.half_gone(now) && !at_the_end
    }

    fn renew_issuer(&self, now: UnixTime) -> Result<Ca, Error> {
        let make = || self.root.issuer(Window::starting(now, ISSUER_LIFETIME), &*self.random);
        let Some(directory) = &self.directory else { return Ok(make()?) };
        let lock = directory.lock()?;
        // Another process may have done it.
        if let Some(issuer) = read_issuer(directory, &self.root)?
            && !self.is_due(&issuer, now)
        {
            return Ok(issuer);
        }
        let issuer = make()?;
        directory.write(ISSUER, issuer.to_pem().as_bytes(), &lock)?;
        Ok(issuer)
    }
}

impl NodeIssuer {
    /// A clock that was set back ends the pause.
    fn is_pausing(&self, now: UnixTime) -> bool {
        let now = now.as_secs();
        self.failed
            .is_some_and(|failed| (failed..failed.saturating_add(ISSUER_PAUSE.as_secs())).contains(&now))
    }
}

#[async_trait]
impl Source for SigningService {
    fn origin(&self) -> Origin {
        Origin::SigningService
    }

    async fn obtain(&self, identity: &Identity, now: UnixTime) -> Result<Credentials, SourceError> {
        let (service, wanted) = (self.clone(), identity.clone());
        let issued = tokio::task::spawn_blocking(move || service.issue(&wanted, now)).await;
        let account = identity.account().to_owned();
        Ok(issued.map_err(|_| SourceError::Panicked { account })??)
    }
}

impl CaDescription {
    fn of(ca: &Ca) -> Self {
        let Window { not_before, not_after } = ca.window();
        Self { name: ca.name().to_owned(), fingerprint: x509::fingerprint(ca.der()), not_before, not_after }
    }
}

/// Every authority that must vouch for an identity.
fn authorities_of(identity: &Identity) -> impl Iterator<Item = Authority> {
    let spiffe_id = identity.spiffe_id();
    let mail = Some(identity.account()).filter(|account| spiffe_id.is_none_or(|id| id.as_str() != *account));
    let mail = mail.and_then(|mail| mail.rsplit_once('@'));
    let mail = mail.map(|(_, domain)| Authority::MailDomain(domain.to_owned()));
    let trust_domain = spiffe_id.map(|id| Authority::TrustDomain(id.trust_domain().to_owned()));
    mail.into_iter().chain(trust_domain)
}

fn check_lifetime(lifetime: Duration) -> Result<(), Error> {
    if !LIFETIMES.contains(&lifetime) {
        return Err(Error::Lifetime(lifetime));
    }
    Ok(())
}

fn check_root(root: &Ca, now: UnixTime) -> Result<(), Error> {
    let window = root.window();
    if window.contains(now) {
        return Ok(());
    }
    Err(Error::RootNotValid { not_before: window.not_before, not_after: window.not_after })
}

/// A directory that holds anything is not one to make a root in, unless that is the store of this node: it may be older
/// than the signing service, and is nothing that a root could overwrite.
fn check_empty(directory: &Directory, settings: &SigningSettings) -> Result<(), Error> {
    let mut found = directory.other_files(&[ROOT])?;
    found.retain(|name| !STORES.contains(&name.as_str()));
    found.sort();
    if found.is_empty() {
        return Ok(());
    }
    // What was found is for orientation: some of it will do.
    found.truncate(3);
    Err(Error::HalfThere { directory: settings.directory.clone(), found: found.join(", ") })
}

fn read_root(directory: &Directory) -> Result<Option<Ca>, Error> {
    let Some(text) = directory.read(ROOT)? else { return Ok(None) };
    let file = || directory.path(ROOT);
    let broken = |problem| Error::RootBroken { file: file(), problem };
    let root = Ca::from_pem(&text).map_err(broken)?;
    if root.is_below(&root) { Ok(Some(root)) } else { Err(broken("its certificate is no root")) }
}

fn read_issuer(directory: &Directory, root: &Ca) -> Result<Option<Ca>, Error> {
    let Some(text) = directory.read(ISSUER)? else { return Ok(None) };
    let broken = |problem| Error::IssuerBroken { file: directory.path(ISSUER), problem };
    let issuer = Ca::from_pem(&text).map_err(broken)?;
    if issuer.is_below(root) { Ok(Some(issuer)) } else { Err(broken("it was not issued by the root")) }
}

#[cfg(test)]
pub(in crate::identity) mod tests;

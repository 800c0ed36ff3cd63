//! What is wrong with a configuration, and where.

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use alts_handshake::SetupError;

use super::AddressProblem;
use crate::attest::{SelectorProblem, WorkloadProblem};

/// Why a configuration is refused. Nothing else has happened then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no text to find anything wrong in.
    #[error("{}: cannot be read: {problem}", file.display())]
    Unreadable { file: PathBuf, problem: io::Error },
    /// A document that the configuration names, with the place in it: `FILE:LINE: KEY: problem`.
    #[error("{}:{problem}", file.display())]
    Document { file: PathBuf, problem: String },
    /// `FILE:LINE: KEY: problem`.
    #[error("{place}: {problem}")]
    Refused { place: Place, problem: Box<Problem> },
}

/// A line of a configuration file and the key that stands there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(super) file: Arc<Path>,
    pub(super) line: usize,
    /// Such as `handshaker.listener[1].identity`, counted from 0. Empty where the text is no TOML.
    pub(super) key: String,
}

impl Place {
    pub(crate) fn refuse(&self, problem: Problem) -> Error {
        Error::Refused { place: self.clone(), problem: Box::new(problem) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        if self.key.is_empty() { Ok(()) } else { write!(f, ": {}", self.key) }
    }
}

/// A value and the place that gave it.
#[derive(Clone, Debug)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

impl<T> Placed<T> {
    /// The value turned into another, which is still at its place; or what is wrong with it there.
    pub(super) fn map<U>(self, turn: impl FnOnce(T) -> Result<U, Problem>) -> Result<Placed<U>, Error> {
        match turn(self.value) {
            Ok(value) => Ok(Placed { value, place: self.place }),
            Err(problem) => Err(self.place.refuse(problem)),
        }
    }
}

/// What is wrong with one value, and the way out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{0}")]
    Toml(String),
    #[error("is missing")]
    Missing,
    #[error("{value} is out of range; it must be {least} to {most}{unit}")]
    OutOfRange { value: u64, least: u64, most: u64, unit: &'static str },
    #[error("{0}")]
    Address(AddressProblem),
    #[error("{address} is taken by the listener of line {line}")]
    AddressTwice { address: String, line: usize },
    #[error("there is no listener; add [[handshaker.listener]] with an address")]
    NoListener,
    #[error(
        "is missing, and there is no [[workload]] to tell callers apart by; add workloads, or name the one identity \
         of everybody who reaches this address"
    )]
    NobodyToAttest,
    #[error("{name:?} is no account: {problem}")]
    AccountInvalid { name: String, problem: &'static str },
    #[error("{account} is defined in line {line} already")]
    AccountTwice { account: String, line: usize },
    #[error("{account} is a SPIFFE ID and so the only name; remove spiffe_id")]
    SpiffeIdTwice { account: String },
    #[error("line {line} defines it as {known}; give both the same spiffe_id")]
    SpiffeIdDiffers { known: String, line: usize },
    #[error("{spiffe_id} is a name of {account} in line {line} already; a SPIFFE ID is of one account")]
    SpiffeIdOfAnother { spiffe_id: String, account: String, line: usize },
    #[error("no [[identity]] and no [[workload]] has account {account}")]
    IdentityUndefined { account: String },
    #[error(
        "{account} has no certificate_chain and private_key, and nothing issues certificates; add [[identity]] with \
         both, [signing_service], or [external_ca]"
    )]
    NobodyIssues { account: String },

    // Workloads.
    #[error("a workload has either service_account (and spiffe_id), or service_accounts, or spiffe_id alone")]
    WorkloadNames,
    #[error("{0}")]
    Selector(SelectorProblem),
    #[error("{0}")]
    Workload(WorkloadProblem),
    #[error(
        "the workload of line {line} has as many selectors, and one caller could match both; add a selector to the \
         more specific one"
    )]
    WorkloadTie { line: usize },

    // Who issues certificates.
    #[error("goes not together with [signing_service]; keep one of them")]
    TwoIssuers,
    #[error("is missing; {0} there")]
    StateDirectoryMissing(&'static str),
    #[error("the list is empty; name the domains that the signing service vouches for")]
    NoAuthorities,
    #[error("{authority} is none of the authorities of [signing_service]; add it there")]
    AuthorityNotServed { authority: String },
    #[error(
        "no [[trust]] has the authority {authority}, and without roots no certificate for it counts; add one"
    )]
    AuthorityWithoutRoots { authority: String },
    #[error(
        "the signing service issues for {authority} and makes no revocation lists, so that all its certificates would \
         be refused; remove crls, or give {authority} to another CA"
    )]
    CrlOfSigningService { authority: String },
    #[error(
        "the command must begin with the absolute path of a program, its arguments follow as further strings"
    )]
    CommandNotAbsolute,

    // Who may talk to whom, and where that is kept.
    #[error(
        "is missing; say what holds for peers that no rule names: \"deny\", or \"allow\" for everybody whom the roots \
         vouch for"
    )]
    PolicyMissing,
    #[error("{0:?} is neither \"allow\" nor \"deny\"")]
    PolicyDefault(String),
    #[error("{} is neither TOML nor YAML by its name; let it end with .toml, .yaml or .yml", file.display())]
    PolicyFormat { file: PathBuf },
    #[error("{} is no text in UTF-8", file.display())]
    PolicyText { file: PathBuf },
    #[error("{kind} {name} of {} is defined in a file before it too; keep one of them", file.display())]
    PolicyNameTwice { kind: &'static str, name: String, file: PathBuf },
    #[error("{0:?} is no engine; it is \"sled\", \"etcd\" or \"memory\"")]
    EngineUnknown(String),
    #[error("is not used; write engine = \"etcd\" in [store], or remove the section")]
    EtcdNotUsed,
    #[error("this altsd is built without etcd; build it with: cargo build --features etcd")]
    EtcdNotBuilt,
    #[error("the list is empty; name at least one member, such as https://10.0.0.5:2379")]
    NoEndpoints,
    #[error("{0:?} is no endpoint; write http://HOST:PORT or https://HOST:PORT")]
    EtcdEndpoint(String),
    #[error("{0} would get the password of username in clear; write https://, with ca_certificates")]
    PasswordInClear(String),
    #[error("{0:?} is no prefix; it begins and ends with /, such as /altsd/, and has at most 256 bytes")]
    EtcdPrefix(String),
    #[error("needs {0} beside it")]
    Alone(String),

    // Tokens.
    #[error("there is no listener; add [[token.listener]] with an address")]
    NoTokenListener,
    #[error("{0} is taken by another listener; give the token door an address of its own")]
    TokenAddressTaken(String),
    #[error("there is no [[workload]] to tell callers apart by; add workloads, or remove it")]
    NoWorkloads,
    #[error("{0:?} is no name of a host; write HOST or HOST:PORT")]
    HostName(String),
    #[error("{text:?} is no name of an issuer: {what}")]
    TokenIssuer { text: String, what: &'static str },
    #[error("{0:?} is no name: it has 1 to 512 bytes and no control characters")]
    TokenName(String),
    #[error("{0:?} is none of \"ES256\", \"EdDSA\" and \"RS256\"")]
    TokenAlgorithm(String),
    #[error(
        "is missing: keys for RS256 are not made here; name a PKCS#8 file, made with: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048"
    )]
    RsaKeyMissing,
    #[error(
        "a key is published {publish_ahead} seconds before it signs, and signs for {rotate}; the first must be shorter"
    )]
    PublishAhead { publish_ahead: u64, rotate: u64 },
    #[error("is our own issuer; its tokens are presented as access tokens, and rules call it \"self\"")]
    IssuerIsOwn,
    #[error("{0:?} is a word that rules use for something else")]
    IssuerReserved(String),
    #[error("{issuer} is defined in line {line} already")]
    IssuerTwice { issuer: String, line: usize },
    #[error("the list is empty; a token must be for somebody")]
    NoAudiences,
    #[error("has either jwks, or jwks_file, or jwks_uri")]
    KeysTwice,
    #[error("is missing, and the issuer is no https URL that would say where its keys are")]
    KeysMissing,
    #[error("{0:?} is no place to get keys from; write https://…, or http:// to a loopback address")]
    JwksUri(String),
    #[error(
        "{0:?} is neither \"local\", \"alts\" nor \"self\", and no [[token.trusted_issuer]] has this name"
    )]
    IssuerUndefined(String),
    #[error("{0:?} is no pattern; a star stands at one end, or alone")]
    NamePattern(String),
    #[error("{0:?} is none of the audiences of the rule; add it there")]
    DefaultAudience(String),
    #[error("{0:?} is neither \"drop\" nor \"refuse\"")]
    UnknownScopes(String),
    #[error("{0:?} is no scope: printable ASCII without space, quotation mark and backslash")]
    Scope(String),
    #[error("the list is empty; leave it out, or name somebody")]
    ListEmpty,
    #[error("there are more than {limit}")]
    TooMany { limit: usize },

    // Operation.
    #[error("must be a unix socket, unix:/PATH: only there the kernel tells who asks")]
    AdminNotUnix,
    #[error("{0} is taken by a listener; give operators a socket of their own")]
    AdminIsListener(String),
    #[error("{0:?} is no address; write IP:PORT, such as 127.0.0.1:9464")]
    MetricsAddress(String),
    #[error("has either file, or stdout = true")]
    AuditOutput,
    #[error("is of a file that is rotated; remove it, or name a file")]
    AuditFileMissing,
    #[error("has either pods_file, or kubelet with kubelet_ca and kubelet_token where it is asked by https")]
    PodSource,
    #[error("{0:?} is no address of a kubelet; write https://HOST:10250 or http://127.0.0.1:10255")]
    KubeletUrl(String),
    #[error("{authority} is defined in line {line} already; list all its roots there")]
    AuthorityTwice { authority: String, line: usize },
    #[error("the list is empty; an authority needs at least one file of roots")]
    NoRoots,

    // What the named files hold.
    #[error("{} cannot be read: {problem}", file.display())]
    FileUnreadable { file: PathBuf, problem: io::Error },
    #[error("{} is no file", file.display())]
    FileIsNone { file: PathBuf },
    #[error("{} has {length} bytes; the limit is {limit}", file.display())]
    FileTooLarge { file: PathBuf, length: u64, limit: u64 },
    #[error(
        "private key is readable by others: {} has mode {mode:04o}; chmod 600 {}",
        file.display(),
        file.display()
    )]
    KeyExposed { file: PathBuf, mode: u32 },
    #[error("{} can be read by others: it has mode {mode:04o}; chmod 600 {}", file.display(), file.display())]
    SecretExposed { file: PathBuf, mode: u32 },
    #[error("{} is no PEM: {problem}", file.display())]
    PemInvalid { file: PathBuf, problem: &'static str },
    #[error("{} holds no certificate (BEGIN CERTIFICATE)", file.display())]
    CertificateMissing { file: PathBuf },
    #[error("{} holds no CRL (BEGIN X509 CRL)", file.display())]
    CrlMissing { file: PathBuf },
    #[error(
        "{} holds no PKCS#8 key (BEGIN PRIVATE KEY); convert with: openssl pkcs8 -topk8 -nocrypt",
        file.display()
    )]
    KeyMissing { file: PathBuf },
    #[error("the certificate is for {named}; write that account here, or name the chain of {account}")]
    AccountForeign { account: String, named: String },
    #[error("{0}")]
    Credentials(SetupError),
}

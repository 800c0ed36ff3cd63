//! Gets a small document from a server of keys. Nothing that a token says decides where from.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pki_types::{CertificateDer, pem::PemObject};
use reqwest::{
    Client, Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::CACHE_CONTROL,
    redirect::Policy,
};
use rustls::{ClientConfig, RootCertStore};
use tokio::{net::lookup_host, task::spawn_blocking};
use url::{Host, Url};

use super::address::is_refused;
use crate::{config::Problem, identity::files};

/// Largest document, in bytes.
pub(super) const MAX_DOCUMENT: usize = 1 << 20;

/// Largest file of roots, in bytes.
const MAX_ROOTS: u64 = 1 << 20;

/// How long one document may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Why a document is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchProblem {
    #[error("{0}: write https://…, or http:// and a loopback address")]
    Scheme(String),
    #[error("{0} is no address: {1}")]
    Url(String, url::ParseError),
    #[error(
        "no keys are fetched from {0}: it is of a link, of many, of nobody, or of the metadata of a cloud"
    )]
    Address(IpAddr),
    #[error("the roots in {}: {problem}", path.display())]
    Roots { path: PathBuf, problem: String },
    #[error("the system has no roots that can be used: {0}")]
    NoRoots(String),
    #[error("{url}: {problem}")]
    Failed { url: String, problem: String },
    #[error("{url} answers {status}; 200 is expected, and no other address is followed")]
    Status { url: String, status: u16 },
    #[error("{url} has more than {MAX_DOCUMENT} bytes")]
    TooLarge { url: String },
}

/// A document, and how long its server says that it is good for.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) body: Vec<u8>,
    pub(super) max_age: Option<Duration>,
}

/// An address that keys may be fetched from: https, or http to a loopback address.
pub(super) fn parse(text: &str) -> Result<Url, FetchProblem> {
    let url = Url::parse(text).map_err(|problem| FetchProblem::Url(shortened(text), problem))?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let is_allowed = match url.scheme() {
        "https" => url.has_host(),
        // A name, even `localhost`, is what somebody's resolver makes of it.
        "http" => literal(&url).is_some_and(|address| address.is_loopback()),
        _ => false,
    };
    if is_allowed && is_plain { Ok(url) } else { Err(FetchProblem::Scheme(shortened(text))) }
}

/// Gets a document of at most [`MAX_DOCUMENT`] bytes. No redirect is followed, and no proxy asked.
pub(super) async fn get(url: &Url, roots: Option<&Path>) -> Result<Document, FetchProblem> {
    let address = url.to_string();
    if let Some(literal) = literal(url).filter(|literal| is_refused(*literal)) {
        return Err(FetchProblem::Address(literal));
    }
    let failed = |problem: String| FetchProblem::Failed { url: address.clone(), problem };
    let roots = roots.map(Path::to_owned);
    let is_tls = url.scheme() == "https";
    let client = spawn_blocking(move || client(is_tls, roots.as_deref()));
    let client = client.await.map_err(|problem| failed(problem.to_string()))??;
    let mut response = client.get(url.clone()).send().await.map_err(|problem| failed(whole(&problem)))?;
    if response.status() != StatusCode::OK {
        return Err(FetchProblem::Status { url: address, status: response.status().as_u16() });
    }
    let max_age = max_age(&response);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|problem| failed(whole(&problem)))? {
        if body.len() + chunk.len() > MAX_DOCUMENT {
            return Err(FetchProblem::TooLarge { url: address });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Document { body, max_age })
}

/// A client for one document, so that it has the roots of now. Nothing of the environment tells it where to go. Blocks.
fn client(is_tls: bool, roots: Option<&Path>) -> Result<Client, FetchProblem> {
    let failed = |problem: String| FetchProblem::Failed { url: "a client".to_owned(), problem };
    let store = match roots {
        _ if !is_tls => RootCertStore::empty(),
        Some(path) => roots_in(path)?,
        None => roots_of_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|problem| failed(problem.to_string()))?
        .with_root_certificates(store)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(Policy::none())
        .dns_resolver(Arc::new(Resolver))
        .timeout(PATIENCE)
        .build()
        .map_err(|problem| failed(whole(&problem)))
}

fn roots_in(path: &Path) -> Result<RootCertStore, FetchProblem> {
    let wrong = |problem: String| FetchProblem::Roots { path: path.to_owned(), problem };
    let text = files::content(path, MAX_ROOTS).map_err(|problem: Problem| wrong(problem.to_string()))?;
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&text) {
        let root = root.map_err(|problem| wrong(problem.to_string()))?;
        store.add(root).map_err(|problem| wrong(problem.to_string()))?;
    }
    if store.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(store) }
}

fn roots_of_system() -> Result<RootCertStore, FetchProblem> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let problems: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(FetchProblem::NoRoots(problems.join("; ")));
    }
    Ok(store)
}

/// Resolves names, and leaves out where no keys are fetched from: what a name leads to is decided when it is connected
/// to, not when it was configured.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is that of the address, which the client puts in.
            let found: Vec<_> = lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(allowed(found)?.into_iter()) as Addrs)
        })
    }
}

/// Those that may be connected to; an error, if there is none.
pub(super) fn allowed(found: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let first = found.first().copied();
    let allowed: Vec<_> = found.into_iter().filter(|address| !is_refused(address.ip())).collect();
    match first {
        Some(first) if allowed.is_empty() => Err(io::Error::other(FetchProblem::Address(first.ip()))),
        _ => Ok(allowed),
    }
}

/// The address that stands in place of a name. The client does not resolve it.
fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

fn max_age(response: &Response) -> Option<Duration> {
    let mut directives = response
        .headers()
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("max-age");
        is_it.then(|| value.trim().trim_matches('"').parse().ok().map(Duration::from_secs))?
    })
}

/// An error with what is behind it.
fn whole(problem: &dyn std::error::Error) -> String {
    let mut text = problem.to_string();
    let mut source = problem.source();
    while let Some(problem) = source {
        text = format!("{text}: {problem}");
        source = problem.source();
    }
    text
}

/// As much of a text of strangers as a line of the log may have.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

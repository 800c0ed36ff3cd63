//! Which pod a uid is, from the kubelet of this node or from a file of the operator. Read only.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File},
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use pki_types::{CertificateDer, pem::PemObject};
use reqwest::{Client, Url, header::HeaderValue, redirect::Policy};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::{sync::Mutex, task::spawn_blocking};
use zeroize::Zeroizing;

use super::selector::{Kind, Selector};
use crate::clock::Clock;

/// Largest list of pods that is read.
const MAX_LIST: usize = 16 << 20;

/// Largest token and largest file of roots.
const MAX_SMALL_FILE: u64 = 1 << 20;

/// How long the kubelet may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long its answer is used again.
const FRESH: Duration = Duration::from_secs(5);

/// Where pods are looked up.
#[derive(Clone, Debug)]
pub(crate) struct KubernetesSettings {
    pub(crate) pods: PodSource,
}

/// What tells of the pods of this node.
#[derive(Clone, Debug)]
pub(crate) enum PodSource {
    /// A list as `kubectl get pods -o json` prints it. It is read again when it changes.
    File(PathBuf),
    /// The kubelet's own list: its read-only port without anything, or its port with roots and a token, both of which
    /// are read anew for each question.
    Kubelet { url: String, ca_file: Option<PathBuf>, token_file: Option<PathBuf> },
}

/// Why pods cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubernetesProblem {
    #[error("kubelet url `{url}`: {problem}")]
    Url { url: String, problem: String },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("kubelet: {0}")]
    Kubelet(String),
    #[error("list of pods: {0}")]
    List(String),
}

/// Looks up pods, one question at a time, and remembers the last answer.
pub(super) struct Kubernetes {
    source: Source,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

/// The selectors of a pod: namespace, service account, name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pod(BTreeSet<Selector>);

enum Source {
    File(PathBuf),
    Kubelet(Kubelet),
}

struct Kubelet {
    pods: Url,
    ca_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
}

type Pods = HashMap<String, Pod>;

/// The last answer: when the kubelet was asked for it, or which version of the file it is.
struct Known {
    asked: Option<Instant>,
    version: Option<FileVersion>,
    pods: Result<Pods, Arc<KubernetesProblem>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Pod {
    pub(super) fn selectors(&self) -> &BTreeSet<Selector> {
        &self.0
    }
}

impl Kubernetes {
    /// Refuses a kubelet that could not be trusted or asked.
    pub(super) fn new(
        settings: KubernetesSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KubernetesProblem> {
        let source = match settings.pods {
            PodSource::File(path) => Source::File(path),
            PodSource::Kubelet { url, ca_file, token_file } => {
                Source::Kubelet(Kubelet::new(&url, ca_file, token_file)?)
            }
        };
        Ok(Self {
            source,
            clock,
            known: Mutex::new(Known { asked: None, version: None, pods: Ok(Pods::new()) }),
        })
    }

    /// The pod with this uid, if there is one. A uid that is not in the last answer is asked for once more.
    pub(super) async fn pod(&self, uid: &str) -> Result<Option<Pod>, Arc<KubernetesProblem>> {
        let called = self.clock.monotonic();
        // Who comes while another asks waits for that answer, and uses it if it was asked for after he came.
        let mut known = self.known.lock().await;
        match &self.source {
            Source::File(path) => known.read(path).await,
            Source::Kubelet(kubelet) => {
                let now = self.clock.monotonic();
                let is_recent = known.asked.is_some_and(|asked| asked >= called)
                    || known.asked.is_some_and(|asked| now.saturating_duration_since(asked) < FRESH)
                        && known.pods.as_ref().is_ok_and(|pods| pods.contains_key(uid));
                if !is_recent {
                    known.pods = kubelet.list().await.map_err(Arc::new);
                    known.asked = Some(now);
                }
            }
        }
        known.pods.as_ref().map(|pods| pods.get(uid).cloned()).map_err(Clone::clone)
    }
}

impl Known {
    /// Reads the file if it is not the one that was read last.
    async fn read(&mut self, path: &Path) {
        let (path, version) = (path.to_owned(), self.version);
        let read = spawn_blocking(move || read_if_changed(&path, version));
        let read = read.await.unwrap_or_else(|problem| Err(KubernetesProblem::List(problem.to_string())));
        match read {
            Ok(None) => {}
            Ok(Some((version, pods))) => (self.version, self.pods) = (version, Ok(pods)),
            Err(problem) => (self.version, self.pods) = (None, Err(Arc::new(problem))),
        }
    }
}

impl Kubelet {
    fn new(
        url: &str,
        ca_file: Option<PathBuf>,
        token_file: Option<PathBuf>,
    ) -> Result<Self, KubernetesProblem> {
        let wrong =
            |problem: &str| KubernetesProblem::Url { url: url.to_owned(), problem: problem.to_owned() };
        let parsed = Url::parse(url).map_err(|problem| wrong(&problem.to_string()))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong("a name and password do not belong here; name a token file"));
        }
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("it needs a scheme, a host and a port only, such as https://127.0.0.1:10250"));
        }
        match parsed.scheme() {
            "https" if ca_file.is_none() => return Err(wrong("https needs the file of its roots")),
            "https" => {}
            "http" if ca_file.is_some() || token_file.is_some() => {
                return Err(wrong("roots and tokens need https"));
            }
            // Whoever is on the way could make any pod any other.
            "http" if !is_loopback(&parsed) => return Err(wrong("http is for loopback addresses only")),
            "http" => {}
            _ => return Err(wrong("it must begin with https:// or http://")),
        }
        let pods = parsed.join("/pods").map_err(|problem| wrong(&problem.to_string()))?;
        Ok(Self { pods, ca_file, token_file })
    }

    async fn list(&self) -> Result<Pods, KubernetesProblem> {
        let (ca_file, token_file) = (self.ca_file.clone(), self.token_file.clone());
        let files = spawn_blocking(move || {
            Ok((client(ca_file.as_deref())?, token_file.as_deref().map(authorization).transpose()?))
        });
        let (client, authorization) = files.await.map_err(failed)??;
        let mut request = client.get(self.pods.clone());
        if let Some(authorization) = authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization);
        }
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(failed(format!("it answers {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_LIST {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        // Long lists take long to read.
        spawn_blocking(move || parse(&body)).await.map_err(failed)?
    }
}

/// A client for one question, so that it has the roots of now. Nothing of the environment tells it where to go.
fn client(ca_file: Option<&Path>) -> Result<Client, KubernetesProblem> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        let wrong = |problem: String| KubernetesProblem::File { path: path.to_owned(), problem };
        for root in CertificateDer::pem_slice_iter(&read_small(path)?) {
            let root = root.map_err(|problem| wrong(problem.to_string()))?;
            roots.add(root).map_err(|problem| wrong(problem.to_string()))?;
        }
        if roots.is_empty() {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(Policy::none())
        .timeout(PATIENCE)
        .build()
        .map_err(failed)
}

fn authorization(token_file: &Path) -> Result<HeaderValue, KubernetesProblem> {
    let wrong =
        |problem: &str| KubernetesProblem::File { path: token_file.to_owned(), problem: problem.to_owned() };
    let bytes = read_small(token_file)?;
    let token = str::from_utf8(&bytes).map_err(|_| wrong("it is no text"))?.trim();
    if token.is_empty() {
        return Err(wrong("there is no token in it"));
    }
    let line = Zeroizing::new(format!("Bearer {token}"));
    let mut value =
        HeaderValue::from_str(&line).map_err(|_| wrong("the token has a character of no token"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    // A name, even `localhost`, is what somebody's resolver makes of it.
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read_small(path: &Path) -> Result<Zeroizing<Vec<u8>>, KubernetesProblem> {
    let wrong = |problem: String| KubernetesProblem::File { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|problem| wrong(problem.to_string()))?;
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(MAX_SMALL_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|problem| wrong(problem.to_string()))?;
    if bytes.len() as u64 > MAX_SMALL_FILE {
        return Err(wrong(format!("it is larger than {MAX_SMALL_FILE} bytes")));
    }
    Ok(bytes)
}

/// The pods of the file, and its version if it will show when it changes; nothing if it is the version known.
fn read_if_changed(
    path: &Path,
    known: Option<FileVersion>,
) -> Result<Option<(Option<FileVersion>, Pods)>, KubernetesProblem> {
    let wrong =
        |problem: io::Error| KubernetesProblem::File { path: path.to_owned(), problem: problem.to_string() };
    let version = FileVersion::of(path).map_err(wrong)?;
    if known == Some(version) {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_LIST as u64 + 1).read_to_end(&mut text)).map_err(wrong)?;
    if text.len() > MAX_LIST {
        return Err(too_large());
    }
    let pods = parse(&text)?;
    // A file that is being written is read again the next time.
    let is_settled = FileVersion::of(path).map_err(wrong)? == version;
    Ok(Some((is_settled.then_some(version), pods)))
}

impl FileVersion {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// What a list of pods says, as far as we need it.
#[derive(Deserialize)]
struct PodList {
    kind: String,
    items: Vec<PodItem>,
}

#[derive(Deserialize)]
struct PodItem {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    uid: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    /// Pods of the kubelet's own have none.
    #[serde(default)]
    service_account_name: Option<String>,
}

/// Pods by their uid. A list that says two things of one pod says nothing.
fn parse(text: &[u8]) -> Result<Pods, KubernetesProblem> {
    let list: PodList =
        serde_json::from_slice(text).map_err(|problem| KubernetesProblem::List(problem.to_string()))?;
    // `kubectl get` calls any list so.
    if !matches!(&*list.kind, "PodList" | "List") {
        return Err(KubernetesProblem::List(format!("it is a `{:.64}`, not a `PodList`", list.kind)));
    }
    let mut pods = Pods::new();
    for item in list.items {
        let (uid, pod) = pod(item)?;
        if let Some(other) = pods.insert(uid.clone(), pod)
            && other != pods[&uid]
        {
            return Err(KubernetesProblem::List(format!("there are two pods with the uid {uid}")));
        }
    }
    Ok(pods)
}

fn pod(PodItem { metadata, spec }: PodItem) -> Result<(String, Pod), KubernetesProblem> {
    let say = |kind, value: &str| {
        Selector::new(kind, value).ok_or_else(|| {
            KubernetesProblem::List(format!("`{value:.64}` is no name of a pod or its things"))
        })
    };
    let uid = say(Kind::KubernetesPodUid, &metadata.uid)?;
    let mut found = BTreeSet::from([
        say(Kind::KubernetesNamespace, &metadata.namespace)?,
        say(Kind::KubernetesPodName, &metadata.name)?,
    ]);
    if let Some(account) = spec.service_account_name.filter(|name| !name.is_empty()) {
        found.insert(say(Kind::KubernetesServiceAccount, &account)?);
    }
    Ok((uid.value().to_owned(), Pod(found)))
}

fn failed(problem: impl ToString) -> KubernetesProblem {
    KubernetesProblem::Kubelet(problem.to_string())
}

fn too_large() -> KubernetesProblem {
    KubernetesProblem::List(format!("it is larger than {MAX_LIST} bytes"))
}

#[cfg(test)]
mod tests;

//! Where etcd is and who we are to it. Settings become clients here, or an error that names the one that is wrong.

use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use zeroize::Zeroizing;

use crate::{Error, plan};

/// How long etcd may take over a request. It is slow for seconds when its leader changes, and then answers.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a quiet connection with a watch is asked whether it is still there. etcd shuts out clients that ask more
/// often than every 5 s.
pub const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(10);

/// Most bytes of keys and values in one listing: what etcd itself holds by default is twice that.
pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// Faster than this no cluster answers.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

/// What etcd allows.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(5);

/// How long the other end may take to answer that question.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(5);

/// The longest that one member may take to accept a connection, so that there is time for the next.
const LONGEST_CONNECT: Duration = Duration::from_secs(2);

/// Most members. etcd has 3 or 5.
const MAX_ENDPOINTS: usize = 16;

/// How a cluster of etcd is reached.
pub struct EtcdSettings {
    /// Its members, as `http://host:port` or `https://host:port`, 1 to 16. They are tried in this order, and one that
    /// answers is kept.
    pub endpoints: Vec<String>,
    /// Who the members must be; needed for `https`, and for nothing else.
    pub tls: Option<EtcdTls>,
    /// Who we are, where etcd wants to know.
    pub user: Option<EtcdUser>,
    /// What every key begins with, `altsd/` say. Nothing else is read or written.
    pub prefix: String,
    /// How long a request may take, with all its tries, at least 100 ms; [`DEFAULT_TIMEOUT`] if there is no reason for another.
    pub timeout: Duration,
    /// How long a connection with a watch may be quiet before it is asked, at least 5 s; [`DEFAULT_KEEPALIVE`].
    pub keepalive: Duration,
    /// Most bytes of keys and values in one listing, so that a prefix that somebody fills does not take all memory;
    /// [`DEFAULT_MAX_BYTES`].
    pub max_bytes: u64,
}

impl EtcdSettings {
    /// Plain settings for these members, with defaults for the rest.
    pub fn new(endpoints: impl IntoIterator<Item = String>, prefix: impl Into<String>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            tls: None,
            user: None,
            prefix: prefix.into(),
            timeout: DEFAULT_TIMEOUT,
            keepalive: DEFAULT_KEEPALIVE,
            max_bytes: DEFAULT_MAX_BYTES,
        }
    }
}

/// Who the members must be, and who we are to their TLS.
pub struct EtcdTls {
    /// The authorities of the members, as PEM. Nobody else is believed, the system's authorities neither.
    pub ca: Vec<u8>,
    /// Our certificate, if the members want one.
    pub client: Option<EtcdClientCertificate>,
    /// The name that the members' certificates must have, if not the host of the endpoint.
    pub server_name: Option<String>,
}

/// A certificate for etcd's clients.
pub struct EtcdClientCertificate {
    /// The certificate and what it needs to reach an authority, as PEM.
    pub chain: Vec<u8>,
    /// Its key, as PEM.
    pub key: EtcdSecret,
}

/// A user of etcd.
pub struct EtcdUser {
    /// The name.
    pub name: String,
    /// The password, which must be UTF-8.
    pub password: EtcdSecret,
}

/// A password or a key: no `Debug`, no `Clone`, wiped on drop. The libraries that speak to etcd keep copies of their own.
pub struct EtcdSecret(Zeroizing<Vec<u8>>);

impl EtcdSecret {
    /// Takes over `bytes`. The caller's copy, if it keeps one, is its own to wipe.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that works with them.
    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// One client for each member, none of them connected yet.
pub(super) async fn clients(settings: &EtcdSettings) -> Result<Vec<(String, Client)>, Error> {
    let many = settings.endpoints.len();
    if many == 0 || many > MAX_ENDPOINTS {
        return invalid(format!("etcd wants 1 to {MAX_ENDPOINTS} endpoints and has {many}"));
    }
    if settings.prefix.is_empty() {
        return invalid("etcd wants a prefix, altsd/ say, so that nothing else in it is touched".to_owned());
    }
    plan::check_prefix(&settings.prefix)?;
    if settings.timeout < SHORTEST_TIMEOUT || settings.keepalive < SHORTEST_KEEPALIVE {
        return invalid(format!(
            "etcd wants a timeout of at least {SHORTEST_TIMEOUT:?} and a keepalive of at least {SHORTEST_KEEPALIVE:?}"
        ));
    }
    if settings.user.as_ref().is_some_and(|user| str::from_utf8(user.password.expose()).is_err()) {
        return invalid("the password for etcd is not UTF-8".to_owned());
    }
    let mut clients = Vec::new();
    for endpoint in &settings.endpoints {
        let options = options(settings, endpoint)?;
        // Nothing is sent here: without a user the client has nothing to ask yet.
        let client = Client::connect([endpoint], Some(options)).await;
        let client = client.or_else(|problem| invalid(format!("etcd endpoint {endpoint}: {problem}")))?;
        clients.push((endpoint.clone(), client));
    }
    Ok(clients)
}

fn options(settings: &EtcdSettings, endpoint: &str) -> Result<ConnectOptions, Error> {
    let members = u32::try_from(settings.endpoints.len()).unwrap_or(u32::MAX);
    let options = ConnectOptions::new()
        .with_connect_timeout((settings.timeout / members).min(LONGEST_CONNECT))
        .with_keep_alive(settings.keepalive, KEEPALIVE_ANSWER)
        // etcd takes pings on a connection without requests for an attack.
        .with_keep_alive_while_idle(false)
        // Without this a member that was cut off from the others looks alive to a watch.
        .with_require_leader(true);
    match (is_secure(endpoint)?, &settings.tls) {
        (false, None) => Ok(options),
        (true, Some(tls)) => Ok(options.with_tls(tls_options(tls)?)),
        (true, None) => invalid(format!("etcd endpoint {endpoint} needs the certificates of its authority")),
        (false, Some(_)) => {
            invalid(format!("etcd endpoint {endpoint} must be https, as there are TLS settings"))
        }
    }
}

/// What is wrong with an endpoint is said without it: there may be a password in it.
fn is_secure(endpoint: &str) -> Result<bool, Error> {
    let (secure, address) = match (endpoint.strip_prefix("http://"), endpoint.strip_prefix("https://")) {
        (Some(address), _) => (false, address),
        (_, Some(address)) => (true, address),
        (None, None) => (false, ""),
    };
    let (host, port) = address.rsplit_once(':').unwrap_or_default();
    if host.is_empty() || host.contains(['/', '@', '?', '#']) || port.parse::<u16>().is_err() {
        return invalid("an etcd endpoint must be http:// or https:// with host:port and no more".to_owned());
    }
    Ok(secure)
}

fn tls_options(tls: &EtcdTls) -> Result<TlsOptions, Error> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    // Without this check, a file with nothing in it would be found out by the first handshake only.
    if !tls.ca.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return invalid("the authorities of etcd hold no PEM certificate".to_owned());
    }
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.ca));
    if let Some(client) = &tls.client {
        options = options.identity(Identity::from_pem(&client.chain, client.key.expose()));
    }
    if let Some(name) = &tls.server_name {
        options = options.domain_name(name);
    }
    Ok(options)
}

fn invalid<T>(text: String) -> Result<T, Error> {
    Err(Error::Invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(endpoints: &[&str]) -> EtcdSettings {
        EtcdSettings::new(endpoints.iter().map(|&endpoint| endpoint.to_owned()), "altsd/")
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_before_etcd_is_asked() {
        let tls = || Some(EtcdTls { ca: b"nothing".to_vec(), client: None, server_name: None });
        let mut no_prefix = settings(&["http://127.0.0.1:1"]);
        no_prefix.prefix.clear();
        let mut plain_with_tls = settings(&["http://127.0.0.1:1"]);
        plain_with_tls.tls = tls();
        let mut no_certificate = settings(&["https://127.0.0.1:1"]);
        no_certificate.tls = tls();
        let mut hasty = settings(&["http://127.0.0.1:1"]);
        hasty.timeout = Duration::ZERO;
        let mut pushy = settings(&["http://127.0.0.1:1"]);
        pushy.keepalive = Duration::from_secs(1);
        let mut binary = settings(&["http://127.0.0.1:1"]);
        binary.user = Some(EtcdUser { name: "node".to_owned(), password: EtcdSecret::new(vec![0xff]) });
        let cases = [
            (hasty, "a timeout of at least"),
            (pushy, "a keepalive of at least"),
            (binary, "not UTF-8"),
            (settings(&[]), "1 to 16 endpoints"),
            (no_prefix, "wants a prefix"),
            (plain_with_tls, "must be https"),
            (no_certificate, "hold no PEM certificate"),
            (settings(&["https://127.0.0.1:1"]), "needs the certificates"),
            (settings(&["127.0.0.1:1"]), "http:// or https://"),
            (settings(&["http://127.0.0.1"]), "host:port"),
            (settings(&["http://127.0.0.1:1/path"]), "and no more"),
            (settings(&["unix:///run/etcd"]), "http:// or https://"),
        ];
        for (settings, text) in cases {
            let Err(Error::Invalid(told)) = clients(&settings).await.map(drop) else { panic!("{text}") };
            assert!(told.contains(text), "{told}");
        }
    }

    #[tokio::test]
    async fn a_password_in_an_endpoint_is_refused_and_not_told() {
        let told = clients(&settings(&["http://root:hunter2@127.0.0.1:1"])).await.map(drop);
        let told = told.expect_err("it holds a password").to_string();
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[tokio::test]
    async fn etcd_need_not_be_there() {
        assert!(clients(&settings(&["http://127.0.0.1:1", "http://[::1]:1"])).await.is_ok());
    }
}

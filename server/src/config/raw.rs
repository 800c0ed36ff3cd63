//! The configuration file as it is written. Values that are checked further keep where they stand.

use std::path::PathBuf;

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) state_directory: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) handshaker: Handshaker,
    #[serde(default)]
    pub(super) workload: Vec<Spanned<Workload>>,
    #[serde(default)]
    pub(super) identity: Vec<Spanned<Identity>>,
    #[serde(default)]
    pub(super) trust: Vec<Spanned<Trust>>,
    pub(super) signing_service: Option<Spanned<SigningService>>,
    pub(super) external_ca: Option<Spanned<ExternalCa>>,
    pub(super) kubernetes: Option<Spanned<Kubernetes>>,
    pub(super) policy: Option<Spanned<Policy>>,
    pub(super) store: Option<Spanned<Store>>,
    pub(super) admin: Option<Spanned<Admin>>,
    pub(super) token: Option<Spanned<Token>>,
    pub(super) metrics: Option<Spanned<Metrics>>,
    pub(super) audit: Option<Spanned<Audit>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Handshaker {
    pub(super) max_connections: Option<Spanned<u64>>,
    pub(super) max_concurrent_streams: Option<Spanned<u64>>,
    pub(super) handshake_timeout_seconds: Option<Spanned<u64>>,
    pub(super) idle_timeout_seconds: Option<Spanned<u64>>,
    pub(super) max_handshakes: Option<Spanned<u64>>,
    pub(super) max_handshakes_per_caller: Option<Spanned<u64>>,
    pub(super) clock_skew_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) listener: Vec<Spanned<Listener>>,
}

/// Keys that must be there are optional here: what is missed is then said with the whole key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) address: Option<Spanned<String>>,
    pub(super) mode: Option<Spanned<String>>,
    pub(super) identity: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) account: Option<Spanned<String>>,
    pub(super) spiffe_id: Option<Spanned<String>>,
    pub(super) certificate_chain: Option<Spanned<PathBuf>>,
    pub(super) private_key: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    pub(super) authority: Option<Spanned<String>>,
    pub(super) roots: Option<Spanned<Vec<Spanned<PathBuf>>>>,
    #[serde(default)]
    pub(super) crls: Vec<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) service_account: Option<Spanned<String>>,
    pub(super) service_accounts: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) spiffe_id: Option<Spanned<String>>,
    pub(super) selectors: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningService {
    pub(super) authorities: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) certificate_lifetime_seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalCa {
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) timeout_seconds: Option<Spanned<u64>>,
    pub(super) certificate_lifetime_seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kubernetes {
    pub(super) pods_file: Option<Spanned<PathBuf>>,
    pub(super) kubelet: Option<Spanned<String>>,
    pub(super) kubelet_ca: Option<Spanned<PathBuf>>,
    pub(super) kubelet_token: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) default: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) files: Vec<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) engine: Option<Spanned<String>>,
    pub(super) max_mebibytes: Option<Spanned<u64>>,
    pub(super) etcd: Option<Spanned<Etcd>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Etcd {
    pub(super) endpoints: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) prefix: Option<Spanned<String>>,
    pub(super) ca_certificates: Option<Spanned<PathBuf>>,
    pub(super) client_certificate: Option<Spanned<PathBuf>>,
    pub(super) client_key: Option<Spanned<PathBuf>>,
    pub(super) username: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
    pub(super) request_timeout_seconds: Option<Spanned<u64>>,
    pub(super) max_offline_seconds: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) address: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) uids: Vec<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) issuer: Option<Spanned<String>>,
    pub(super) lifetime_seconds: Option<Spanned<u64>>,
    pub(super) max_lifetime_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) listener: Vec<Spanned<TokenListener>>,
    pub(super) keys: Option<Spanned<TokenKeys>>,
    #[serde(default)]
    pub(super) trusted_issuer: Vec<Spanned<TokenIssuer>>,
    #[serde(default)]
    pub(super) rule: Vec<Spanned<TokenRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenListener {
    pub(super) address: Option<Spanned<String>>,
    pub(super) mode: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) hosts: Vec<Spanned<String>>,
    pub(super) attested: Option<Spanned<bool>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenKeys {
    pub(super) algorithm: Option<Spanned<String>>,
    pub(super) private_key: Option<Spanned<PathBuf>>,
    pub(super) rotate_seconds: Option<Spanned<u64>>,
    pub(super) publish_ahead_seconds: Option<Spanned<u64>>,
    pub(super) verifier_cache_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) sign_at_once: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenIssuer {
    pub(super) issuer: Option<Spanned<String>>,
    pub(super) audiences: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) jwks: Option<Spanned<String>>,
    pub(super) jwks_file: Option<Spanned<PathBuf>>,
    pub(super) jwks_uri: Option<Spanned<String>>,
    pub(super) ca_certificates: Option<Spanned<PathBuf>>,
    pub(super) subject: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRule {
    pub(super) issuers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) subjects: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) callers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) actors: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) actor_issuers: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) impersonation: bool,
    pub(super) audiences: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) default_audience: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) many_audiences: bool,
    pub(super) scopes: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) unknown_scopes: Option<Spanned<String>>,
    pub(super) max_lifetime_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    pub(super) one_time: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) address: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) stdout: Option<Spanned<bool>>,
    pub(super) max_file_mebibytes: Option<Spanned<u64>>,
    pub(super) max_files: Option<Spanned<u64>>,
    pub(super) queue_records: Option<Spanned<u64>>,
}

/// The whole key that stands at this offset, or whose value does: the library's errors have the offset alone.
/// `None` where the text is no TOML at all.
pub(super) fn key_at(text: &str, offset: usize) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    in_table(table.as_ref(), "", offset)
}

fn in_table(table: &DeTable<'_>, path: &str, offset: usize) -> Option<String> {
    let dot = if path.is_empty() { "" } else { "." };
    table.iter().find_map(|(key, value)| {
        let path = format!("{path}{dot}{}", key.as_ref());
        // Inner keys first: the table of a header may span all that is under it.
        in_value(value, &path, offset).or_else(|| key.span().contains(&offset).then_some(path))
    })
}

fn in_value(value: &Spanned<DeValue<'_>>, path: &str, offset: usize) -> Option<String> {
    let inner = match value.as_ref() {
        DeValue::Table(table) => in_table(table, path, offset),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(index, value)| in_value(value, &format!("{path}[{index}]"), offset)),
        _ => None,
    };
    inner.or_else(|| value.span().contains(&offset).then(|| path.to_owned()))
}

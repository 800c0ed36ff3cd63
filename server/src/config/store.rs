//! Where the decisions of operators are kept: the section `store`.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use toml::Spanned;

use super::{
    error::{Error, Placed, Problem},
    raw,
    text::Text,
};

/// Where decisions are kept.
#[derive(Clone, Debug)]
pub(crate) enum StoreSettings {
    /// In this process only: gone with it.
    Memory,
    /// In the state directory of this node.
    Sled(Database),
    /// In etcd, which a fleet shares, with a copy on this node.
    Etcd(Box<EtcdSettings>),
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory: gone with the process"),
            Self::Sled(database) => write!(f, "sled in {}", database.state_directory.display()),
            Self::Etcd(etcd) => {
                let (prefix, copy) = (&etcd.prefix, etcd.copy.state_directory.display());
                write!(f, "etcd at {}, under {prefix}, with a copy in {copy}", etcd.endpoints.join(" "))
            }
        }
    }
}

/// A database in the state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) state_directory: PathBuf,
    /// Of all keys and values together.
    pub(crate) max_bytes: u64,
}

/// How etcd is reached.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "etcd"),
    expect(dead_code, reason = "an altsd without etcd checks it and refuses it")
)]
pub(crate) struct EtcdSettings {
    pub(crate) endpoints: Vec<String>,
    /// What the keys of this fleet begin with.
    pub(crate) prefix: String,
    pub(crate) ca_certificates: Option<Placed<PathBuf>>,
    /// Certificate and key.
    pub(crate) client: Option<(Placed<PathBuf>, Placed<PathBuf>)>,
    /// Name, and the file with the password.
    pub(crate) user: Option<(String, Placed<PathBuf>)>,
    pub(crate) request_timeout: Duration,
    /// How long this node goes by its copy when etcd does not answer.
    pub(crate) max_offline: Duration,
    pub(crate) copy: Database,
}

/// Room for some hundred thousand peers and revocations; more is a mistake, or an attack.
const DEFAULT_MEBIBYTES: u64 = 256;

/// An operator who is called at night can mend etcd in the morning.
const DEFAULT_MAX_OFFLINE: Duration = Duration::from_secs(12 * 3_600);

/// A month. Who is offline for longer has not heard of revocations for too long.
const MAX_OFFLINE_SECONDS: u64 = 31 * 24 * 3_600;

/// A leader is elected within a second or two.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

const DEFAULT_PREFIX: &str = "/altsd/";

impl Text<'_> {
    /// Without the section it is the state directory, if there is one; nothing is kept otherwise.
    pub(super) fn store(&self, raw: &raw::Config) -> Result<Option<StoreSettings>, Error> {
        let Some(table) = &raw.store else {
            let database = self.database(raw, DEFAULT_MEBIBYTES);
            return Ok(database.map(StoreSettings::Sled));
        };
        let at = table.span().start;
        let table = table.as_ref();
        let mebibytes = self.number(&table.max_mebibytes, "store.max_mebibytes".to_owned(), 1, 1 << 20)?;
        let database = || {
            let database = self.database(raw, mebibytes.unwrap_or(DEFAULT_MEBIBYTES));
            database.ok_or_else(|| {
                self.place(at, "state_directory")
                    .refuse(Problem::StateDirectoryMissing("the store keeps its database"))
            })
        };
        let engine = table.engine.as_ref().map_or("sled", |engine| engine.as_ref());
        if let (Some(etcd), "sled" | "memory") = (&table.etcd, engine) {
            return Err(self.at(etcd, "store.etcd").refuse(Problem::EtcdNotUsed));
        }
        match engine {
            "memory" => Ok(Some(StoreSettings::Memory)),
            "sled" => Ok(Some(StoreSettings::Sled(database()?))),
            "etcd" => Ok(Some(StoreSettings::Etcd(Box::new(self.etcd(table, at, database()?)?)))),
            other => {
                let place = table.engine.as_ref().map(|engine| self.at(engine, "store.engine"));
                let problem = Problem::EngineUnknown(other.to_owned());
                Err(place.unwrap_or_else(|| self.place(at, "store.engine")).refuse(problem))
            }
        }
    }

    fn database(&self, raw: &raw::Config, mebibytes: u64) -> Option<Database> {
        let directory = raw.state_directory.as_ref()?;
        let state_directory = self.relative(self.placed(directory, "state_directory")).value;
        Some(Database { state_directory, max_bytes: mebibytes << 20 })
    }

    fn etcd(&self, store: &raw::Store, at: usize, copy: Database) -> Result<EtcdSettings, Error> {
        if !cfg!(feature = "etcd") {
            return Err(self.place(at, "store.engine").refuse(Problem::EtcdNotBuilt));
        }
        let key = |name: &str| format!("store.etcd.{name}");
        let Some(table) = &store.etcd else {
            return Err(self.place(at, key("endpoints")).refuse(Problem::Missing));
        };
        let at = table.span().start;
        let table = table.as_ref();
        let endpoints = self.required(&table.endpoints, at, key("endpoints"))?;
        if endpoints.value.is_empty() {
            return Err(endpoints.place.refuse(Problem::NoEndpoints));
        }
        let one = |(number, url): (usize, &Spanned<String>)| {
            let placed = self.placed(url, format!("{}[{number}]", key("endpoints")));
            Ok(placed.map(|url| endpoint(url))?.value)
        };
        let file = |path: &Option<Spanned<PathBuf>>, name: &str| {
            path.as_ref().map(|path| self.relative(self.placed(path, key(name))))
        };
        let pair = |one: Option<Placed<PathBuf>>, other: Option<Placed<PathBuf>>, missing: &str| match (
            one, other,
        ) {
            (Some(one), Some(other)) => Ok(Some((one, other))),
            (None, None) => Ok(None),
            (Some(alone), None) | (None, Some(alone)) => {
                Err(alone.place.refuse(Problem::Alone(key(missing))))
            }
        };
        let certificate = file(&table.client_certificate, "client_certificate");
        let client_key = file(&table.client_key, "client_key");
        let missing = if certificate.is_some() { "client_key" } else { "client_certificate" };
        let seconds = |value, name, least, most, default| {
            let number = self.number(value, key(name), least, most);
            number.map(|number| number.map_or(default, Duration::from_secs))
        };
        let members = endpoints.value.iter().enumerate().map(one).collect::<Result<Vec<_>, _>>()?;
        let user = self.user(table)?;
        if let (Some(plain), Some(_)) = (members.iter().find(|member| is_in_clear(member)), &user) {
            return Err(endpoints.place.refuse(Problem::PasswordInClear(plain.clone())));
        }
        Ok(EtcdSettings {
            endpoints: members,
            prefix: self.prefix(table.prefix.as_ref())?,
            ca_certificates: file(&table.ca_certificates, "ca_certificates"),
            client: pair(certificate, client_key, missing)?,
            user,
            request_timeout: seconds(
                &table.request_timeout_seconds,
                "request_timeout_seconds",
                1,
                60,
                DEFAULT_REQUEST_TIMEOUT,
            )?,
            max_offline: seconds(
                &table.max_offline_seconds,
                "max_offline_seconds",
                1,
                MAX_OFFLINE_SECONDS,
                DEFAULT_MAX_OFFLINE,
            )?,
            copy,
        })
    }

    fn prefix(&self, prefix: Option<&Spanned<String>>) -> Result<String, Error> {
        let Some(prefix) = prefix else { return Ok(DEFAULT_PREFIX.to_owned()) };
        let checked = self.placed(prefix, "store.etcd.prefix").map(|text| {
            let good = text.starts_with('/') && text.ends_with('/') && (2..=256).contains(&text.len());
            if good { Ok(text.clone()) } else { Err(Problem::EtcdPrefix(text.clone())) }
        })?;
        Ok(checked.value)
    }

    fn user(&self, table: &raw::Etcd) -> Result<Option<(String, Placed<PathBuf>)>, Error> {
        match (&table.username, &table.password_file) {
            (None, None) => Ok(None),
            (Some(name), Some(file)) => {
                let file = self.relative(self.placed(file, "store.etcd.password_file"));
                Ok(Some((name.as_ref().clone(), file)))
            }
            (Some(name), None) => {
                let problem = Problem::Alone("store.etcd.password_file".to_owned());
                Err(self.at(name, "store.etcd.username").refuse(problem))
            }
            (None, Some(file)) => {
                let problem = Problem::Alone("store.etcd.username".to_owned());
                Err(self.at(file, "store.etcd.password_file").refuse(problem))
            }
        }
    }
}

/// Whether what goes to this member can be read on the way.
fn is_in_clear(endpoint: &str) -> bool {
    let Some(host_and_port) = endpoint.strip_prefix("http://") else { return false };
    let host = host_and_port.rsplit_once(':').map_or(host_and_port, |(host, _)| host);
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host != "localhost" && !address.is_ok_and(|address| address.is_loopback())
}

/// `http://HOST:PORT` or `https://HOST:PORT`, without a user: passwords do not belong into a configuration.
fn endpoint(url: &str) -> Result<String, Problem> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host_and_port = rest.map(|rest| rest.trim_end_matches('/'));
    let good = host_and_port.is_some_and(|rest| {
        let port = rest.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
        port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
            && !rest.contains(['/', '@', '?', '#', ' '])
    });
    if good {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    // What stands before an @ may be a password.
    let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("…@{host}"));
    Err(Problem::EtcdEndpoint(shown))
}

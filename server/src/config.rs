//! The configuration file, read into values that cannot be invalid.
//!
//! `raw` is the file as it is written; [`read`] checks it against itself and gives a [`Launch`]. Whether the files
//! it names hold what they should is for `identity::files`. The first problem in the order of the sections ends the
//! reading; every problem says file, line and key.

mod address;
mod error;
mod raw;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alts_handshake::{Authority, Identity};
use toml::Spanned;

pub(crate) use self::{
    address::{Address, AddressProblem, is_local},
    error::{Error, Place, Placed, Problem},
};

/// What a start of the daemon needs to know.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) limits: Limits,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) source: Source,
}

/// How much the daemon takes on at once, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of one listener. Further ones wait until one has closed.
    pub(crate) max_connections: usize,
    /// Of one HTTP/2 connection.
    pub(crate) max_concurrent_streams: u32,
    /// From the start message to the result.
    pub(crate) handshake_timeout: Duration,
    /// Of a stream on which no start message has come.
    pub(crate) idle_timeout: Duration,
    /// In progress, in total.
    pub(crate) max_handshakes: usize,
    /// In progress, of one caller. For now a caller is a listener.
    pub(crate) max_handshakes_per_caller: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // gRPC core opens one for nearly every handshake, and it is short; the others keep a few for ever.
            max_connections: 1_024,
            // One grpc-go process may hold 100 client and 100 server streams on its one connection; lower limits
            // make its two ends wait for each other.
            max_concurrent_streams: 1_024,
            // Half of the 20 s after which clients give up: they still get to read the reason.
            handshake_timeout: Duration::from_secs(10),
            // A grpc-go server opens its stream before its peer has written, and waits 30 s for that.
            idle_timeout: Duration::from_secs(40),
            // A handshake keeps at most one incomplete frame, 32 KiB: this many stay within 128 MiB. What a
            // connection has sent of incomplete requests comes on top of that.
            max_handshakes: 4_096,
            // A quarter of the total: one caller cannot keep out the others.
            max_handshakes_per_caller: 1_024,
        }
    }
}

/// The longest that a limit of time may be set to, in seconds. A longer one is a slip of the pen.
pub(crate) const MAX_SECONDS: u64 = 3_600;

/// One address to serve on, and who its callers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: Address,
    /// The account that every caller of this listener handshakes as, in its one spelling.
    pub(crate) identity: String,
}

/// Where identities and roots come from. The two never mix.
#[derive(Debug)]
pub(crate) enum Source {
    /// PEM files.
    Files(Files),
    /// A signing service in memory, which makes one identity for this user.
    Dev { user: String },
}

/// The files of a configuration, each with the place that named it.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) identities: Vec<IdentityFiles>,
    pub(crate) trust: Vec<TrustFiles>,
}

#[derive(Clone, Debug)]
pub(crate) struct IdentityFiles {
    pub(crate) account: Placed<Identity>,
    pub(crate) certificate_chain: Placed<PathBuf>,
    pub(crate) private_key: Placed<PathBuf>,
}

#[derive(Clone, Debug)]
pub(crate) struct TrustFiles {
    pub(crate) authority: Placed<Authority>,
    pub(crate) roots: Vec<Placed<PathBuf>>,
    /// With the first of them, every leaf of the authority must be covered by one.
    pub(crate) crls: Vec<Placed<PathBuf>>,
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
    let identities = source.identities(&raw.identity)?;
    let listeners = source.listeners(&raw.handshaker.listener, &identities)?;
    let trust = source.trust(&raw.trust)?;
    Ok(Launch { limits, listeners, source: Source::Files(Files { identities, trust }) })
}

/// The text of a configuration file, which knows where in it something stands.
struct Text<'a> {
    file: Arc<Path>,
    text: &'a str,
}

impl Text<'_> {
    fn deserialize(&self) -> Result<raw::Config, Error> {
        toml::from_str(self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let key = raw::key_at(self.text, span.start).unwrap_or_default();
            // The library may say in several lines what it expected; ours is one.
            let mut problem = error.message().trim_end().replace('\n', ", ");
            let found = self.text.get(span.clone()).unwrap_or_default();
            // Without a key, as of a key that comes twice, it helps to read what stands there.
            if key.is_empty() && !found.trim().is_empty() && !found.contains('\n') {
                problem += &format!(": `{found}`");
            }
            self.place(span.start, key).refuse(Problem::Toml(problem))
        })
    }

    fn place(&self, offset: usize, key: impl Into<String>) -> Place {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Place { file: self.file.clone(), line, key: key.into() }
    }

    /// The value of a key that must be there. `table` is where it is missed.
    fn required<'v, T>(
        &self,
        value: &'v Option<Spanned<T>>,
        table: usize,
        key: String,
    ) -> Result<Placed<&'v T>, Error> {
        match value {
            Some(value) => Ok(Placed { value: value.as_ref(), place: self.place(value.span().start, key) }),
            None => Err(self.place(table, key).refuse(Problem::Missing)),
        }
    }

    fn limits(&self, raw: &raw::Handshaker) -> Result<Limits, Error> {
        let default = Limits::default();
        let number = |name: &str, value: &Option<Spanned<u64>>, most: u64| match value {
            None => Ok(None),
            Some(value) if (1..=most).contains(value.as_ref()) => Ok(Some(*value.as_ref())),
            Some(value) => {
                let problem = Problem::OutOfRange { value: *value.as_ref(), most };
                Err(self.place(value.span().start, format!("handshaker.{name}")).refuse(problem))
            }
        };
        // All of them are at most u32::MAX, so that no conversion loses anything.
        let count = |name, value, default: usize| {
            number(name, value, u32::MAX.into()).map(|value| value.map_or(default, |value| value as usize))
        };
        let seconds = |name, value, default| {
            number(name, value, MAX_SECONDS).map(|value| value.map_or(default, Duration::from_secs))
        };
        Ok(Limits {
            max_connections: count("max_connections", &raw.max_connections, default.max_connections)?,
            max_concurrent_streams: count(
                "max_concurrent_streams",
                &raw.max_concurrent_streams,
                default.max_concurrent_streams as usize,
            )? as u32,
            handshake_timeout: seconds(
                "handshake_timeout_seconds",
                &raw.handshake_timeout_seconds,
                default.handshake_timeout,
            )?,
            idle_timeout: seconds("idle_timeout_seconds", &raw.idle_timeout_seconds, default.idle_timeout)?,
            max_handshakes: count("max_handshakes", &raw.max_handshakes, default.max_handshakes)?,
            max_handshakes_per_caller: count(
                "max_handshakes_per_caller",
                &raw.max_handshakes_per_caller,
                default.max_handshakes_per_caller,
            )?,
        })
    }

    fn identities(&self, raw: &[Spanned<raw::Identity>]) -> Result<Vec<IdentityFiles>, Error> {
        let mut seen = HashMap::new();
        let mut identities = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            let at = table.span().start;
            let table = table.as_ref();
            let key = |name: &str| format!("identity[{index}].{name}");
            let name = self.required(&table.account, at, key("account"))?;
            let account = name.map(|name| {
                let invalid = |problem| Problem::AccountInvalid { name: name.clone(), problem };
                Identity::parse(name).map_err(invalid)
            })?;
            if let Some(line) = seen.insert(account.value.clone(), account.place.line) {
                let problem = Problem::AccountTwice { account: account.value.to_string(), line };
                return Err(account.place.refuse(problem));
            }
            let chain = self.required(&table.certificate_chain, at, key("certificate_chain"))?;
            let private_key = self.required(&table.private_key, at, key("private_key"))?;
            identities.push(IdentityFiles {
                account,
                certificate_chain: self.relative(chain),
                private_key: self.relative(private_key),
            });
        }
        Ok(identities)
    }

    fn listeners(
        &self,
        raw: &[Spanned<raw::Listener>],
        identities: &[IdentityFiles],
    ) -> Result<Vec<Listener>, Error> {
        if raw.is_empty() {
            return Err(self.place(0, "handshaker.listener").refuse(Problem::NoListener));
        }
        let mut listeners: Vec<Listener> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            let at = table.span().start;
            let table = table.as_ref();
            let key = |name: &str| format!("handshaker.listener[{index}].{name}");
            let place = |value: &Spanned<String>, name| self.place(value.span().start, key(name));
            let text = self.required(&table.address, at, key("address"))?;
            let mut address = text.map(|text| Address::parse(text).map_err(Problem::Address))?;
            if let Some(mode) = &table.mode {
                let refuse = |problem| place(mode, "mode").refuse(Problem::Address(problem));
                address.value = address.value.with_mode(mode.as_ref()).map_err(refuse)?;
            }
            if let Some(other) = listeners.iter().position(|other| other.address.same_place(&address.value)) {
                let line = lines[other];
                let problem = Problem::AddressTwice { address: address.value.to_string(), line };
                return Err(address.place.refuse(problem));
            }
            let identity = self.required(&table.identity, at, key("identity"))?;
            let identity = identity.map(|name| defined(name, identities))?;
            lines.push(address.place.line);
            listeners.push(Listener { address: address.value, identity: identity.value });
        }
        Ok(listeners)
    }

    fn trust(&self, raw: &[Spanned<raw::Trust>]) -> Result<Vec<TrustFiles>, Error> {
        let mut lines: HashMap<Authority, usize> = HashMap::new();
        let mut trust = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            let at = table.span().start;
            let table = table.as_ref();
            let key = |name: &str| format!("trust[{index}].{name}");
            let name = self.required(&table.authority, at, key("authority"))?;
            let authority = name.map(|name| Authority::parse(name).map_err(Problem::Credentials))?;
            if let Some(line) = lines.insert(authority.value.clone(), authority.place.line) {
                let problem = Problem::AuthorityTwice { authority: authority.value.to_string(), line };
                return Err(authority.place.refuse(problem));
            }
            let roots = self.required(&table.roots, at, key("roots"))?;
            if roots.value.is_empty() {
                return Err(roots.place.refuse(Problem::NoRoots));
            }
            let files = |name: &str, paths: &[Spanned<PathBuf>]| {
                let file = |(number, path): (usize, &Spanned<PathBuf>)| {
                    let place = self.place(path.span().start, format!("{}[{number}]", key(name)));
                    self.relative(Placed { value: path.as_ref(), place })
                };
                paths.iter().enumerate().map(file).collect()
            };
            let roots = files("roots", roots.value);
            trust.push(TrustFiles { authority, roots, crls: files("crls", &table.crls) });
        }
        Ok(trust)
    }

    /// Paths are relative to the file that names them, wherever the daemon is started.
    fn relative(&self, path: Placed<&PathBuf>) -> Placed<PathBuf> {
        let directory = self.file.parent().unwrap_or(Path::new(""));
        Placed { value: directory.join(path.value), place: path.place }
    }
}

/// The one spelling of `name`, which must be the account of an identity.
fn defined(name: &str, identities: &[IdentityFiles]) -> Result<String, Problem> {
    let invalid = |problem| Problem::AccountInvalid { name: name.to_owned(), problem };
    let wanted = Identity::parse(name).map_err(invalid)?;
    if identities.iter().any(|identity| identity.account.value == wanted) {
        return Ok(wanted.account().to_owned());
    }
    Err(Problem::IdentityUndefined { account: wanted.to_string() })
}

#[cfg(test)]
mod tests;

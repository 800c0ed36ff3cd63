//! The keys of this node on its disk: one file for each, with its private half as long as that is needed and all that
//! this node must know to go on with it.

use std::path::{Path, PathBuf};

use alts_request_auth::{Algorithm, PublicKey, SigningKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use pki_types::{PrivatePkcs8KeyDer, pem, pem::PemObject};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use zeroize::Zeroizing;

use super::own::{Held, Private};
use crate::{
    config::Problem,
    identity::{StateDirectory, StateProblem, files::secret},
    token::keys::{Key, Origin},
};

/// The directory below the state directory.
const DIRECTORY: &str = "token-keys";

/// How names of files end; before it is the `kid`.
const SUFFIX: &str = ".json";

/// The version of the form of a file.
const SCHEMA: u64 = 1;

/// Room for the largest file: an RSA key of 4096 bits in base64, and what stands around it.
const ROOM: usize = 16 << 10;

/// Why keys cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Directory(#[from] StateProblem),
    #[error(
        "{} is no signing key of altsd: {problem}; put it back from a backup, or delete it: then another key is made, and \
         tokens that this one has signed are refused once verifiers read the keys again",
        path.display()
    )]
    Damaged { path: PathBuf, problem: String },
    #[error(transparent)]
    Unreadable(Problem),
    #[error("{} is no private key that tokens can be signed with: {problem}", path.display())]
    NotImported { path: PathBuf, problem: String },
}

impl Error {
    /// Its stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Directory(_) => "token_keys_unwritable",
            Self::Damaged { .. } => "token_key_damaged",
            Self::Unreadable(problem) => crate::identity::files::code(problem),
            Self::NotImported { .. } => "token_key_not_imported",
        }
    }
}

/// Where the files are. Without a state directory nothing is kept.
pub(super) struct KeyFiles(Option<StateDirectory>);

impl KeyFiles {
    /// Opens the directory, and makes it if it is not there.
    pub(super) fn open(state_directory: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = state_directory else { return Ok(Self(None)) };
        StateDirectory::open(path, true)?;
        Ok(Self(Some(StateDirectory::open(&path.join(DIRECTORY), true)?)))
    }

    /// All keys. The first file that holds none is the error: whoever makes a new key in its place must have meant it.
    pub(super) fn load(&self) -> Result<Vec<Held>, Error> {
        let Some(directory) = &self.0 else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for name in directory.names()? {
            let damaged = |problem| Error::Damaged { path: directory.path(&name), problem };
            let Some(kid) = name.strip_suffix(SUFFIX) else {
                return Err(damaged(format!("its name does not end with {SUFFIX}")));
            };
            // Another process may just have deleted it.
            let Some(text) = directory.read(&name)? else { continue };
            keys.push(FileForm::read(kid, &text).map_err(damaged)?);
        }
        Ok(keys)
    }

    /// Writes the file of a key.
    pub(super) fn write(&self, form: &FileForm) -> Result<(), Error> {
        let Some(directory) = &self.0 else { return Ok(()) };
        let name = format!("{}{SUFFIX}", form.key.kid());
        let mut text = Zeroizing::new(Vec::with_capacity(ROOM));
        serde_json::to_writer_pretty(&mut *text, form).map_err(|problem| Error::Damaged {
            path: directory.path(&name),
            problem: problem.to_string(),
        })?;
        let lock = directory.lock()?;
        Ok(directory.write(&name, &text, &lock)?)
    }

    /// Deletes the file of a key.
    pub(super) fn remove(&self, kid: &str) -> Result<(), Error> {
        let Some(directory) = &self.0 else { return Ok(()) };
        let lock = directory.lock()?;
        Ok(directory.remove(&format!("{kid}{SUFFIX}"), &lock)?)
    }
}

/// Reads all keys that there are, and makes no directory.
pub(super) fn check(state_directory: Option<&Path>) -> Result<(), Error> {
    let Some(path) = state_directory.map(|path| path.join(DIRECTORY)) else { return Ok(()) };
    // What is not there is made at the start.
    if path.try_exists().unwrap_or(true) {
        KeyFiles(Some(StateDirectory::open(&path, false)?)).load()?;
    }
    Ok(())
}

/// Reads the key that an operator has put into a file, PKCS#8 in PEM.
pub(super) fn import(path: &Path, algorithm: Algorithm) -> Result<Private, Error> {
    let text = secret(path).map_err(|problem| {
        Error::Unreadable(match problem {
            Problem::SecretExposed { file, mode } => Problem::KeyExposed { file, mode },
            problem => problem,
        })
    })?;
    let refused = |problem| Error::NotImported { path: path.to_owned(), problem };
    let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|problem| {
        // The library may quote what it does not understand, and that is a secret.
        refused(match problem {
            pem::Error::NoItemsFound => "it has no section PRIVATE KEY (PKCS#8 in PEM)".to_owned(),
            _ => "it is no PEM".to_owned(),
        })
    })?;
    let der = Zeroizing::new(der);
    let der = Zeroizing::new(der.secret_pkcs8_der().to_vec());
    let key = SigningKey::from_pkcs8(algorithm, &der).map_err(|problem| refused(problem.to_string()))?;
    Ok(Private { key: key.into(), der: der.into() })
}

/// A key as it stands in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileForm {
    schema: u64,
    origin: Origin,
    key: PublicKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    private_key: Option<Der>,
    created: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published: Option<u64>,
    /// Until when the store says that it may sign.
    promised: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activated: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retired: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withdrawn: Option<u64>,
    used: u64,
    kept: u64,
    at_once: bool,
    soon: bool,
}

impl FileForm {
    pub(super) fn of(held: &Held) -> Self {
        let Key { created, published, promised, activated, retired, withdrawn, .. } = held.facts;
        let Key { used, kept, at_once, soon, .. } = held.facts;
        Self {
            schema: SCHEMA,
            origin: held.origin,
            key: held.public.clone(),
            private_key: held.private.as_ref().map(|private| Der(private.der.to_vec().into())),
            created,
            published,
            promised,
            activated,
            retired,
            withdrawn,
            used,
            kept,
            at_once,
            soon,
        }
    }

    /// The key under the name `kid`.
    fn read(kid: &str, text: &[u8]) -> Result<Held, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: u64,
        }
        // Where a text is cut or changed the library tells line and column, and quotes nothing of a value that is one
        // of our types.
        let problem =
            |error: serde_json::Error| format!("line {}, column {} is wrong", error.line(), error.column());
        let Head { schema } = serde_json::from_slice(text).map_err(problem)?;
        if schema != SCHEMA {
            return Err(format!(
                "it has schema {schema}, and schema {SCHEMA} is known here; if it was written by a newer altsd, start that one"
            ));
        }
        let form: Self = serde_json::from_slice(text).map_err(problem)?;
        form.checked(kid)
    }

    fn checked(self, kid: &str) -> Result<Held, String> {
        if self.key.kid() != kid {
            return Err(format!("its key is {}, and its name says another", self.key.kid()));
        }
        let has_ended = self.retired.or(self.withdrawn).is_some();
        let private = match (self.private_key, has_ended) {
            (Some(Der(der)), false) => {
                let key =
                    SigningKey::from_pkcs8(self.key.algorithm(), &der).map_err(|error| error.to_string())?;
                if *key.public() != self.key {
                    return Err("its private key belongs to another public key".to_owned());
                }
                Some(Private { key: key.into(), der: der.into() })
            }
            (None, false) => return Err("its private key is missing".to_owned()),
            (_, true) => None,
        };
        let facts = Key {
            kid: kid.to_owned(),
            created: self.created,
            published: self.published,
            promised: self.promised,
            activated: self.activated,
            retired: self.retired,
            withdrawn: self.withdrawn,
            used: self.used,
            kept: self.kept,
            at_once: self.at_once,
            soon: self.soon,
            fits: true,
            in_store: false,
        };
        let (origin, public) = (self.origin, self.key);
        let used = std::sync::Arc::new(self.used.into());
        Ok(Held {
            facts,
            origin,
            public,
            private,
            published_at: None,
            ended_at: None,
            used,
            is_dirty: false,
            is_forgotten: false,
        })
    }
}

/// PKCS#8 DER, in base64 where it is written.
struct Der(Zeroizing<Vec<u8>>);

impl Serialize for Der {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&**self.0)))
    }
}

impl<'de> Deserialize<'de> for Der {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let der =
            STANDARD.decode(text.as_bytes()).map_err(|_| D::Error::custom("a private key is base64"))?;
        Ok(Self(der.into()))
    }
}

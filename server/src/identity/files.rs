//! Identities, roots and CRLs from PEM files. Everything is read and checked before anything is used.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alts_handshake::{Credentials, Identity, SecureRandom, SetupError, Trust};
use async_trait::async_trait;
use nix::fcntl::OFlag;
use pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer, UnixTime,
    pem::{self, PemObject},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{
    Origin, Random, Source, SourceError, install,
    install::Refused,
    watch::{Fingerprint, TrustFolder, TrustSettings},
};
use crate::{
    config::{Error, Files, IdentityFiles, Place, Problem},
    snapshot::Snapshot,
};

/// Largest file that is read, in bytes: more than any chain, bundle of roots or usual CRL has.
const MAX_FILE: u64 = 1 << 20;

/// Permission bits that let somebody other than the owner at a file.
const NOT_THE_OWNER: u32 = 0o077;

/// Reads all files. The first that does not hold what it should is the error.
pub(crate) fn load(files: &Files, now: UnixTime, random: &dyn SecureRandom) -> Result<Snapshot, Error> {
    let settings =
        TrustSettings { files: files.trust.clone(), fixed: Vec::new(), skew_allowance: Duration::ZERO };
    let (_, trust) = TrustFolder::load(settings)?;
    let checked = |entry| checked(entry, &trust, now, random);
    let credentials = files.identities.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    Ok(Snapshot::new(credentials, trust))
}

/// The credentials of one identity, good under these roots.
pub(crate) fn checked(
    files: &IdentityFiles,
    trust: &Trust,
    now: UnixTime,
    random: &dyn SecureRandom,
) -> Result<Credentials, Error> {
    let credentials = credentials(files, random)?;
    install::check(&credentials, &files.account.value, Origin::Files, trust, now)
        .map_err(|refused| located(files, refused))?;
    Ok(credentials)
}

/// The stable code of what is wrong with a file.
pub(crate) fn code(problem: &Problem) -> &'static str {
    match problem {
        Problem::FileUnreadable { .. } => "file_unreadable",
        Problem::FileIsNone { .. } => "file_is_none",
        Problem::FileTooLarge { .. } => "file_too_large",
        Problem::KeyExposed { .. } | Problem::SecretExposed { .. } => "key_exposed",
        Problem::PemInvalid { .. } => "pem_invalid",
        Problem::CertificateMissing { .. } => "certificate_missing",
        Problem::CrlMissing { .. } => "crl_missing",
        Problem::KeyMissing { .. } => "key_missing",
        Problem::AccountForeign { .. } => "certificate_foreign",
        Problem::Credentials(problem) => install::code(problem),
        _ => "configuration_invalid",
    }
}

/// The chain and key of one identity, which somebody else renews.
pub(crate) struct FileSource {
    files: Arc<IdentityFiles>,
    random: Random,
    /// Held while they are read. A reading that hangs, as on a file system that has gone, cannot be broken off: it
    /// must not be joined by another with each try.
    reading: Arc<Semaphore>,
}

impl FileSource {
    pub(crate) fn new(files: IdentityFiles, random: Random) -> Self {
        Self { files: Arc::new(files), random, reading: Arc::new(Semaphore::new(1)) }
    }
}

#[async_trait]
impl Source for FileSource {
    fn origin(&self) -> Origin {
        Origin::Files
    }

    async fn obtain(&self, identity: &Identity, _now: UnixTime) -> Result<Credentials, SourceError> {
        let (files, random) = (self.files.clone(), self.random.clone());
        let account = || identity.account().to_owned();
        // It is never closed.
        let permit = self.reading.clone().acquire_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let paths = paths(&files);
            let before = Fingerprint::of(&paths);
            let read = credentials(&files, &*random);
            (read, before == Fingerprint::of(&paths))
        });
        let (read, unchanged) = read.await.map_err(|_| SourceError::Panicked { account: account() })?;
        // What was read may be half of the old and half of the new.
        if unchanged { Ok(read?) } else { Err(SourceError::Changing { account: account() }) }
    }

    fn locate(&self, refused: Refused) -> SourceError {
        SourceError::Files(located(&self.files, refused))
    }
}

/// The files of one identity.
pub(crate) fn paths(files: &IdentityFiles) -> Vec<PathBuf> {
    vec![files.certificate_chain.value.clone(), files.private_key.value.clone()]
}

fn credentials(files: &IdentityFiles, random: &dyn SecureRandom) -> Result<Credentials, Error> {
    let IdentityFiles { certificate_chain, private_key, .. } = files;
    let chain =
        certificates(&certificate_chain.value).map_err(|problem| certificate_chain.place.refuse(problem))?;
    let key = private_key_of(&private_key.value).map_err(|problem| private_key.place.refuse(problem))?;
    let refuse = |error| at_fault(&error, files).refuse(Problem::Credentials(error));
    Credentials::new(&chain, &key, random).map_err(refuse)
}

/// What was refused, at the place that the operator wrote it.
fn located(files: &IdentityFiles, refused: Refused) -> Error {
    match refused {
        Refused::Foreign { expected, found } => {
            let (account, named) = (expected.to_string(), found.account().to_owned());
            files.account.place.refuse(Problem::AccountForeign { account, named })
        }
        Refused::Unusable { problem, .. } => at_fault(&problem, files).refuse(Problem::Credentials(problem)),
        // These are not asked of files.
        Refused::TooShort { .. } | Refused::Stale { .. } => {
            files.certificate_chain.place.refuse(Problem::Toml(refused.to_string()))
        }
    }
}

/// Which of the two files an error is about.
fn at_fault<'f>(error: &SetupError, files: &'f IdentityFiles) -> &'f Place {
    match error {
        SetupError::OwnKeyUnusable | SetupError::OwnKeyForeign { .. } => &files.private_key.place,
        _ => &files.certificate_chain.place,
    }
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let (file, _) = open(path)?;
    let text = read(path, file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|problem| not_pem(path, &problem))?;
    if certificates.is_empty() {
        return Err(Problem::CertificateMissing { file: path.to_owned() });
    }
    Ok(certificates)
}

pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let (file, _) = open(path)?;
    let text = read(path, file)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|problem| not_pem(path, &problem))?;
    if lists.is_empty() { Err(Problem::CrlMissing { file: path.to_owned() }) } else { Ok(lists) }
}

fn private_key_of(path: &Path) -> Result<Zeroizing<PrivatePkcs8KeyDer<'static>>, Problem> {
    let text = secret(path).map_err(|problem| match problem {
        Problem::SecretExposed { file, mode } => Problem::KeyExposed { file, mode },
        other => other,
    })?;
    PrivatePkcs8KeyDer::from_pem_slice(&text).map(Zeroizing::new).map_err(|problem| match problem {
        pem::Error::NoItemsFound => Problem::KeyMissing { file: path.to_owned() },
        problem => not_pem(path, &problem),
    })
}

fn not_pem(path: &Path, problem: &pem::Error) -> Problem {
    // The library may quote the line that it does not understand, and in a key file that is a secret.
    let problem = match problem {
        pem::Error::MissingSectionEnd { .. } => "a section has no END line",
        pem::Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be decoded",
    };
    Problem::PemInvalid { file: path.to_owned(), problem }
}

/// What a file holds, if that is at most `limit` bytes.
pub(crate) fn content(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (file, _) = open_up_to(path, limit)?;
    read_up_to(path, file, limit)
}

/// The same of a secret, at which nobody but its owner may get.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let (file, mode) = open(path)?;
    if mode & NOT_THE_OWNER != 0 {
        return Err(Problem::SecretExposed { file: path.to_owned(), mode });
    }
    read(path, file)
}

fn open(path: &Path) -> Result<(File, u32), Problem> {
    open_up_to(path, MAX_FILE)
}

/// Opens a file; its permission bits are those of what was opened, whatever its name comes to mean.
fn open_up_to(path: &Path, limit: u64) -> Result<(File, u32), Problem> {
    let unreadable = |problem| unreadable(path, problem);
    // Without waiting: a pipe has nobody at its other end.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::FileIsNone { file: path.to_owned() });
    }
    if metadata.len() > limit {
        let (file, length) = (path.to_owned(), metadata.len());
        return Err(Problem::FileTooLarge { file, length, limit });
    }
    Ok((file, metadata.permissions().mode() & 0o7777))
}

fn read(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, Problem> {
    read_up_to(path, file, MAX_FILE)
}

fn read_up_to(path: &Path, file: File, limit: u64) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let unreadable = |problem| unreadable(path, problem);
    // Room for all of it from the start, so that growing leaves no copies of a key behind. What is appended now
    // changes the file, and then it is read again.
    let length = file.metadata().map_err(unreadable)?.len().min(limit);
    let mut text = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(length).read_to_end(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn unreadable(path: &Path, problem: io::Error) -> Problem {
    Problem::FileUnreadable { file: path.to_owned(), problem }
}

#[cfg(test)]
mod tests;

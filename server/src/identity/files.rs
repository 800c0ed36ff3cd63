//! Identities and roots from PEM files. Everything is read and checked before anything is used.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use alts_handshake::{Credentials, SecureRandom, SetupError, Trust};
use nix::fcntl::OFlag;
use pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, UnixTime,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use crate::{
    config::{Error, Files, IdentityFiles, Place, Problem},
    snapshot::Snapshot,
};

/// Largest file that is read, in bytes: more than any chain or bundle of roots has.
const MAX_FILE: u64 = 1 << 20;

/// Permission bits that let somebody other than the owner at a file.
const NOT_THE_OWNER: u32 = 0o077;

/// Reads all files. The first that does not hold what it should is the error.
pub(crate) fn load(files: &Files, now: UnixTime, random: &dyn SecureRandom) -> Result<Snapshot, Error> {
    let mut trust = Trust::default();
    for entry in &files.trust {
        for path in &entry.roots {
            let refuse = |problem| path.place.refuse(problem);
            let roots = certificates(&path.value).map_err(refuse)?;
            let added = trust.add(entry.authority.value.clone(), &roots);
            added.map_err(|error| refuse(Problem::Credentials(error)))?;
        }
    }
    let credentials = files
        .identities
        .iter()
        .map(|entry| credentials(entry, &trust, now, random))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Snapshot::new(credentials, trust))
}

fn credentials(
    files: &IdentityFiles,
    trust: &Trust,
    now: UnixTime,
    random: &dyn SecureRandom,
) -> Result<Credentials, Error> {
    let IdentityFiles { account, certificate_chain, private_key } = files;
    let chain =
        certificates(&certificate_chain.value).map_err(|problem| certificate_chain.place.refuse(problem))?;
    let key = private_key_of(&private_key.value).map_err(|problem| private_key.place.refuse(problem))?;
    let refuse = |error| at_fault(&error, files).refuse(Problem::Credentials(error));
    let credentials = Credentials::new(&chain, &key, random).map_err(refuse)?;
    let named = credentials.identity().account();
    if named != account.value.account() {
        let problem = Problem::AccountForeign { account: account.value.to_string(), named: named.to_owned() };
        return Err(account.place.refuse(problem));
    }
    trust.check_own(&credentials, now).map_err(refuse)?;
    Ok(credentials)
}

/// Which of the two files an error is about.
fn at_fault<'f>(error: &SetupError, files: &'f IdentityFiles) -> &'f Place {
    match error {
        SetupError::OwnKeyUnusable | SetupError::OwnKeyForeign { .. } => &files.private_key.place,
        _ => &files.certificate_chain.place,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
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

fn private_key_of(path: &Path) -> Result<Zeroizing<PrivatePkcs8KeyDer<'static>>, Problem> {
    let (file, mode) = open(path)?;
    if mode & NOT_THE_OWNER != 0 {
        return Err(Problem::KeyExposed { file: path.to_owned(), mode });
    }
    let text = read(path, file)?;
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

/// Opens a file; its permission bits are those of what was opened, whatever its name comes to mean.
fn open(path: &Path) -> Result<(File, u32), Problem> {
    let unreadable = |problem| unreadable(path, problem);
    // Without waiting: a pipe has nobody at its other end.
    let flags = OFlag::O_NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::FileIsNone { file: path.to_owned() });
    }
    if metadata.len() > MAX_FILE {
        let (file, length) = (path.to_owned(), metadata.len());
        return Err(Problem::FileTooLarge { file, length, limit: MAX_FILE });
    }
    Ok((file, metadata.permissions().mode() & 0o7777))
}

fn read(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, Problem> {
    // Room for the largest file from the start, so that growing leaves no copies of a key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE as usize + 1));
    file.take(MAX_FILE).read_to_end(&mut text).map_err(|problem| unreadable(path, problem))?;
    Ok(text)
}

fn unreadable(path: &Path, problem: io::Error) -> Problem {
    Problem::FileUnreadable { file: path.to_owned(), problem }
}

#[cfg(test)]
mod tests;

//! Certificates of files that an operator names. They are spoken of, and not trusted.

use std::{fs::File, io::Read, path::Path};

use alts_handshake::CertificateFacts;
use pki_types::{CertificateDer, pem::PemObject};

/// Largest file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What names each certificate of a file in PEM, in its order; there is one at least.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateFacts>, String> {
    let mut content = Vec::new();
    let opened = File::open(file).map_err(|error| error.to_string())?;
    opened.take(MAX_FILE + 1).read_to_end(&mut content).map_err(|error| error.to_string())?;
    if content.len() as u64 > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    let read = |der: Result<CertificateDer<'_>, _>| match der {
        Ok(der) => CertificateFacts::of_der(&der).map_err(str::to_owned),
        Err(error) => Err(format!("it is not PEM: {error}")),
    };
    let facts = CertificateDer::pem_slice_iter(&content).map(read).collect::<Result<Vec<_>, String>>()?;
    if facts.is_empty() { Err("it has no certificate in PEM".to_owned()) } else { Ok(facts) }
}

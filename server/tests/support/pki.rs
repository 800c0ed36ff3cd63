//! Certificates for tests: a root, and leaves with one thing wrong.

#![allow(dead_code, reason = "each user of this file uses its part")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use alts_handshake::{Authority, Credentials, SystemRandom, Trust};
use pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SanType, date_time_ymd,
};

/// An authority that can issue from 2020 to 2100.
pub(crate) struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    root_key: String,
}

/// A certificate and its key, as PEM and as the engine takes them.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = key();
        let root_key = key.serialize_pem();
        Self { root: CertifiedIssuer::self_signed(params, key).expect("the root is valid"), root_key }
    }

    pub(crate) fn root(&self) -> String {
        self.root.pem()
    }

    /// For programs that issue in its name.
    pub(crate) fn root_key(&self) -> &str {
        &self.root_key
    }

    /// A leaf for a mail account, good in everything.
    pub(crate) fn leaf(&self, account: &str) -> Issued {
        self.leaf_with(account, |_| {})
    }

    /// The same, with a serial number of the test's own.
    pub(crate) fn numbered(&self, account: &str, serial: u64) -> Issued {
        self.leaf_with(account, |params| params.serial_number = Some(serial.into()))
    }

    /// A leaf for a mail account, with what `spoil` makes of it.
    pub(crate) fn leaf_with(&self, account: &str, spoil: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = params();
        params.subject_alt_names = vec![SanType::Rfc822Name(account.try_into().expect("it is ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        spoil(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.root).expect("the leaf is valid");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A revocation list, in PEM, of the certificates with these serial numbers.
    pub(crate) fn crl(&self, serials: &[u64]) -> String {
        self.crl_until(2100, serials)
    }

    /// The same, for which a newer one should have been there at the beginning of this year.
    pub(crate) fn crl_until(&self, year: i32, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.root).expect("the list is valid");
        list.pem().expect("it can be written")
    }

    /// This root, for the domain of the accounts that a test uses.
    pub(crate) fn trust(&self, authority: &str) -> Trust {
        let mut trust = Trust::default();
        let authority = Authority::parse(authority).expect("it is an authority");
        trust.add(authority, &[self.root.der().clone()]).expect("the root is usable");
        trust
    }
}

impl Issued {
    pub(crate) fn credentials(&self) -> Credentials {
        let chain = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("it is PEM");
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.key.as_bytes()).expect("it is PEM");
        Credentials::new(&[chain], &key, &SystemRandom::new()).expect("the credentials are usable")
    }
}

/// Writes a file of a configuration. Keys are their owner's alone.
pub(crate) fn write(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::write(&path, text).expect("the directory can be written");
    let mode = if [".key", ".password"].iter().any(|end| name.ends_with(end)) { 0o600 } else { 0o644 };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("the system has randomness")
}

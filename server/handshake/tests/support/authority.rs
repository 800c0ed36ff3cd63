//! A certificate authority of the test's own, for chains that no vector has.

#![allow(dead_code, reason = "each user of this file uses its part")]

use std::{sync::Arc, time::Duration};

use alts_handshake::{
    Authority, ClientSetup, Credentials, ExpectedPeers, Handshake, Preferences, RpcVersions, ServerSetup,
    Setup, SystemRandom, Trust,
};
use pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};

/// The time of every test that does not move its clock: 2026-06-01.
pub(crate) const NOW: u64 = 1_780_272_000;

pub(crate) fn now() -> UnixTime {
    at(NOW)
}

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// An authority that vouches for `prod.example` and `spiffe://prod.example`.
pub(crate) struct Ca {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A root with what `change` makes of it.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key can be made");
        let mut params = ca_params("test root");
        change(&mut params);
        let certificate = params.self_signed(&key).expect("a root can be made");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_with(name, |_| ())
    }

    /// An authority below this one, with what `change` makes of it.
    pub(crate) fn intermediate_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key can be made");
        let mut params = ca_params(name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("an intermediate can be made");
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// This root's certificate once more, with the same key and with what `change` makes of it.
    pub(crate) fn renewed(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = ca_params("test root");
        change(&mut params);
        params.self_signed(self.issuer.key()).expect("a root can be made").der().clone()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        let mut trust = Trust::default();
        for authority in ["prod.example", "spiffe://prod.example"] {
            let authority = Authority::parse(authority).expect("it is an authority");
            trust.add(authority, &[self.der()]).expect("the root is usable");
        }
        Arc::new(trust)
    }

    /// What a good leaf for `account` is made of, for a test to spoil.
    pub(crate) fn leaf(account: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from(7_u64));
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![san(account)];
        params
    }

    /// Issues a leaf, and returns its chain and key without looking at them.
    pub(crate) fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("a leaf can be made");
        Issued { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// Issues a leaf for a public key of any kind.
    pub(crate) fn issue_for(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> CertificateDer<'static> {
        params.signed_by(key, &self.issuer).expect("a leaf can be made").der().clone()
    }

    pub(crate) fn credentials(&self, account: &str) -> Arc<Credentials> {
        self.issue(&Self::leaf(account)).credentials()
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

pub(crate) fn san(account: &str) -> SanType {
    let name = account.try_into().expect("it is ASCII");
    if account.starts_with("spiffe:") { SanType::URI(name) } else { SanType::Rfc822Name(name) }
}

/// A chain and the PKCS#8 of its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

impl Issued {
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        Arc::new(
            Credentials::new(&self.chain, &key, &SystemRandom::new()).expect("the credentials are usable"),
        )
    }
}

pub(crate) const CLIENT: &str = "frontend@prod.example";
pub(crate) const SERVER: &str = "cart@prod.example";

/// A setup as gRPC programs ask for it.
pub(crate) fn setup(credentials: Arc<Credentials>, trust: Arc<Trust>, accept: &[&str]) -> Setup {
    Setup { credentials, trust, expected: ExpectedPeers::new(accept), preferences: preferences() }
}

pub(crate) fn preferences() -> Preferences {
    let versions = RpcVersions { max: (2, 1), min: (2, 1) };
    Preferences::new(&["ALTSRP_GCM_AES128_REKEY"], &["grpc"], &[], versions, 16_384).expect("they are valid")
}

pub(crate) fn client(setup: Setup) -> (Handshake, Vec<u8>) {
    let setup = ClientSetup { common: setup, ticket: None, grease: None };
    Handshake::client(setup, now(), &SystemRandom::new()).expect("a client can begin")
}

pub(crate) fn server(setup: Setup) -> Handshake {
    Handshake::server(ServerSetup { common: setup, resumption: None })
}

//! A certificate authority of the test's own, for chains that no vector has.

#![allow(dead_code, reason = "each user of this file uses its part")]

use std::{sync::Arc, time::Duration};

use alts_handshake::{
    AdmitAll, Authority, ClientSetup, Credentials, Error, Established, ExpectedPeers, Handshake, Outcome,
    Preferences, RpcVersions, ServerSetup, Setup, SystemRandom, Trust,
};
use pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer, UnixTime};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519,
    PublicKeyData, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// The time of every test that does not move its clock: 2026-06-01.
pub(crate) const NOW: u64 = 1_780_272_000;

pub(crate) fn now() -> UnixTime {
    at(NOW)
}

pub(crate) fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// Whom the roots here vouch for.
pub(crate) const AUTHORITIES: [&str; 2] = ["prod.example", "spiffe://prod.example"];

/// An authority that vouches for `prod.example` and `spiffe://prod.example`.
pub(crate) struct Ca {
    name: String,
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
        Self { name: "test root".to_owned(), certificate, issuer: Issuer::new(params, key) }
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
        Self { name: name.to_owned(), certificate, issuer: Issuer::new(params, key) }
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
        self.trust_with(0, &[])
    }

    /// The trust of who allows for so many seconds of clock skew, and has these CRLs for both authorities.
    pub(crate) fn trust_with(&self, allowance: u64, crls: &[CertificateRevocationListDer<'_>]) -> Arc<Trust> {
        self.trust_of(allowance, &AUTHORITIES.map(|authority| (authority, crls)))
    }

    /// The same, with the CRLs of each authority.
    pub(crate) fn trust_of(
        &self,
        allowance: u64,
        crls: &[(&str, &[CertificateRevocationListDer<'_>])],
    ) -> Arc<Trust> {
        let authority = |name| Authority::parse(name).expect("it is an authority");
        let mut trust = Trust::new(Duration::from_secs(allowance));
        for name in AUTHORITIES {
            trust.add(authority(name), &[self.der()]).expect("the root is usable");
        }
        for (name, crls) in crls {
            trust.add_crls(authority(name), crls).expect("the CRLs are usable");
        }
        Arc::new(trust)
    }

    /// A CRL of this authority with these serial numbers, good until long after `NOW`.
    pub(crate) fn crl(&self, revoked: &[u64]) -> CertificateRevocationListDer<'static> {
        self.crl_with(revoked, |_| ())
    }

    /// The same, whose next one is due at this second since 1970.
    pub(crate) fn crl_until(
        &self,
        next_update: u64,
        revoked: &[u64],
    ) -> CertificateRevocationListDer<'static> {
        let epoch = date_time_ymd(1970, 1, 1);
        self.crl_with(revoked, |crl| crl.next_update = epoch + Duration::from_secs(next_update))
    }

    /// The same, with what `change` makes of it.
    pub(crate) fn crl_with(
        &self,
        revoked: &[u64],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationListDer<'static> {
        self.crl_signed_by(self, revoked, change)
    }

    /// A CRL under the name of this authority, signed by `signer`.
    pub(crate) fn crl_signed_by(
        &self,
        signer: &Self,
        revoked: &[u64],
        change: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> CertificateRevocationListDer<'static> {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let mut crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2026, 12, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut crl);
        // The library would keep an authority without cRLSign from signing one.
        let mut params = ca_params(&self.name);
        params.key_usages.push(KeyUsagePurpose::CrlSign);
        let issuer = Issuer::from_params(&params, signer.issuer.key());
        crl.signed_by(&issuer).expect("a CRL can be made").into()
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
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
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
    Setup {
        credentials,
        trust,
        expected: ExpectedPeers::new(accept),
        admission: Arc::new(AdmitAll),
        preferences: preferences(),
    }
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

/// What a client with this trust makes, at this time, of a server with this chain.
pub(crate) fn meet(
    root: &Ca,
    trust: &Arc<Trust>,
    issued: &Issued,
    time: u64,
) -> Result<Box<Established>, Error> {
    let (mut client, client_init) = client(setup(root.credentials(CLIENT), trust.clone(), &[]));
    let mut server = server(setup(issued.credentials(), root.trust(), &[]));
    let flight = server.step(&client_init, now(), &SystemRandom::new()).out_frames;
    match client.step(&flight, at(time), &SystemRandom::new()).outcome {
        Outcome::Done(established) => Ok(established),
        Outcome::Failed(error) => Err(error),
        Outcome::NeedsInput => panic!("it wants more input"),
    }
}

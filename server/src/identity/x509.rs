//! Making certificates: the only file that names the library for it.

use std::time::Duration;

use alts_handshake::{Identity, SecureRandom};
use pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, UnixTime,
    pem::{self, PemObject},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// Certificates begin this much earlier than now, for machines whose clock is a little behind.
pub(crate) const CUSHION: Duration = Duration::from_secs(60);

/// Why a certificate or request cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("a certificate cannot be made: {0}")]
    Making(#[from] rcgen::Error),
    #[error("no certificate can hold the time {0} s since 1970; set the clock")]
    Time(u64),
    #[error("the system has no randomness")]
    Random,
}

/// First and last second since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Window {
    /// From a little before now, for so long.
    pub(crate) fn starting(now: UnixTime, lifetime: Duration) -> Self {
        Self {
            not_before: now.as_secs().saturating_sub(CUSHION.as_secs()),
            not_after: now.as_secs().saturating_add(lifetime.as_secs()),
        }
    }

    /// The part of it in which `other` is valid too.
    pub(crate) fn within(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    pub(crate) fn contains(self, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&now.as_secs())
    }

    /// Whether half of it has gone by, or it has not begun.
    pub(crate) fn half_gone(self, now: UnixTime) -> bool {
        let half = self.not_before + self.not_after.saturating_sub(self.not_before) / 2;
        now.as_secs() >= half || now.as_secs() < self.not_before
    }
}

/// A certificate that issues others, and its key. It has no `Debug`.
pub(crate) struct Ca {
    der: CertificateDer<'static>,
    pem: String,
    name: String,
    window: Window,
    issuer: Issuer<'static, Key>,
}

/// A key that is wiped at its end, as far as it is in the hands of the library that makes certificates.
struct Key(Zeroizing<KeyPair>);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

/// A leaf certificate and its key.
pub(crate) struct Leaf {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Zeroizing<PrivatePkcs8KeyDer<'static>>,
}

/// A signing request and the key that it is for.
pub(crate) struct Request {
    pub(crate) pem: String,
    pub(crate) key: Zeroizing<PrivatePkcs8KeyDer<'static>>,
}

impl Ca {
    /// A root, with at most one kind of issuer below it.
    pub(crate) fn root(window: Window, random: &dyn SecureRandom) -> Result<Self, Error> {
        let (params, name) = authority("altsd root", 1, window, random)?;
        let key = new_key()?;
        let certificate = params.self_signed(&key)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { der, pem, name, window, issuer: Issuer::new(params, key) })
    }

    /// An issuer of leaves below this root. It does not outlive the root.
    pub(crate) fn issuer(&self, window: Window, random: &dyn SecureRandom) -> Result<Self, Error> {
        let window = window.within(self.window);
        let (mut params, name) = authority("altsd node issuer", 0, window, random)?;
        params.use_authority_key_identifier_extension = true;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { der, pem, name, window, issuer: Issuer::new(params, key) })
    }

    /// A leaf of all names of `identity`, with a new key. It does not outlive this issuer.
    pub(crate) fn leaf(
        &self,
        identity: &Identity,
        window: Window,
        random: &dyn SecureRandom,
    ) -> Result<Leaf, Error> {
        let mut params = params("altsd workload", window.within(self.window), random)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = names(identity)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        Ok(Leaf { certificate, key: pkcs8(&key) })
    }

    /// Its certificate.
    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Its certificate, for a file.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// The common name of its subject.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// Whether it was signed under the name of `root`. The signature is for the path validator.
    pub(crate) fn is_below(&self, root: &Self) -> bool {
        let (Some(own), Some(other)) = (parse(&self.der), parse(&root.der)) else { return false };
        own.issuer().as_raw() == other.subject().as_raw()
    }

    /// Certificate and key, as [`Ca::from_pem`] reads them.
    pub(crate) fn to_pem(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(self.issuer.key().0.serialize_pem());
        // With room for both, so that growing leaves no copies behind.
        let mut text = Zeroizing::new(String::with_capacity(self.pem.len() + key.len()));
        text.push_str(&self.pem);
        text.push_str(&key);
        text
    }

    /// Reads a certificate and its key. The reason is for an operator.
    pub(crate) fn from_pem(text: &[u8]) -> Result<Self, &'static str> {
        let der = match CertificateDer::from_pem_slice(text) {
            Ok(der) => der,
            Err(pem::Error::NoItemsFound) => return Err("it holds no certificate"),
            Err(_) => return Err("its certificate is no PEM"),
        };
        let pem = certificate_section(text).ok_or("its certificate is no PEM")?;
        let key = match PrivatePkcs8KeyDer::from_pem_slice(text) {
            Ok(key) => Zeroizing::new(key),
            Err(pem::Error::NoItemsFound) => return Err("it holds no key"),
            Err(_) => return Err("its key is no PEM"),
        };
        let certificate = parse(&der).ok_or("its certificate does not parse")?;
        if !certificate.is_ca() {
            return Err("its certificate is no CA certificate");
        }
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| "its key is no PKCS#8 key for P-256")?;
        let key = Key(Zeroizing::new(key));
        if key.der_bytes() != &*certificate.public_key().subject_public_key.data {
            return Err("its key does not belong to its certificate");
        }
        let name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        let name = name.ok_or("its certificate has no common name")?.to_owned();
        let seconds = |time: i64| u64::try_from(time).map_err(|_| "its certificate has a date before 1970");
        let window = Window {
            not_before: seconds(certificate.validity().not_before.timestamp())?,
            not_after: seconds(certificate.validity().not_after.timestamp())?,
        };
        let issuer =
            Issuer::from_ca_cert_der(&der, key).map_err(|_| "its certificate cannot be used to issue")?;
        Ok(Self { name, window, issuer, pem, der })
    }
}

/// A request for a certificate of all names of `identity`, with a new key.
pub(crate) fn request(identity: &Identity) -> Result<Request, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("altsd workload");
    params.subject_alt_names = names(identity)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = new_key()?;
    Ok(Request { pem: params.serialize_request(&key)?.pem()?, key: pkcs8(&key) })
}

/// The lines of the first certificate in a text that holds one.
fn certificate_section(text: &[u8]) -> Option<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = std::str::from_utf8(text).ok()?;
    let start = text.find("-----BEGIN CERTIFICATE-----")?;
    let end = start + text[start..].find(END)? + END.len();
    Some(format!("{}\n", &text[start..end]))
}

fn new_key() -> Result<Key, Error> {
    Ok(Key(Zeroizing::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)))
}

fn pkcs8(key: &Key) -> Zeroizing<PrivatePkcs8KeyDer<'static>> {
    Zeroizing::new(PrivatePkcs8KeyDer::from(key.0.serialize_der()))
}

fn authority(
    kind: &str,
    path_len: u8,
    window: Window,
    random: &dyn SecureRandom,
) -> Result<(CertificateParams, String), Error> {
    // Each has a name of its own, so that a path is never tried through another of the same name.
    let name = format!("{kind} {:08x}", u32::from_be_bytes(random_bytes(random)?));
    let mut params = params(&name, window, random)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok((params, name))
}

fn params(name: &str, window: Window, random: &dyn SecureRandom) -> Result<CertificateParams, Error> {
    let date = |seconds: u64| {
        let date =
            i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        // X.509 has no year of five digits.
        date.filter(|date| (1970..=9_999).contains(&date.year())).ok_or(Error::Time(seconds))
    };
    let mut serial = random_bytes::<16>(random)?;
    // Positive and of one length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = date(window.not_before)?;
    params.not_after = date(window.not_after)?;
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn names(identity: &Identity) -> Result<Vec<SanType>, Error> {
    let spiffe_id = identity.spiffe_id().map(|id| id.as_str());
    let mail = Some(identity.account()).filter(|account| Some(*account) != spiffe_id);
    let mail = mail.map(|mail| Ok(SanType::Rfc822Name(mail.try_into()?)));
    let uri = spiffe_id.map(|uri| Ok(SanType::URI(uri.try_into()?)));
    mail.into_iter().chain(uri).collect()
}

fn random_bytes<const N: usize>(random: &dyn SecureRandom) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    random.fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

fn parse<'d>(der: &'d CertificateDer<'_>) -> Option<X509Certificate<'d>> {
    X509Certificate::from_der(der)
        .ok()
        .filter(|(rest, _)| rest.is_empty())
        .map(|(_, certificate)| certificate)
}

/// SHA-256 of a certificate, in hexadecimal digits.
pub(crate) fn fingerprint(der: &CertificateDer<'_>) -> String {
    hex::encode(alts_handshake::sha256(der))
}

//! One key of a set (RFC 7517, RFC 7518 section 6, RFC 8037), and whether it can verify tokens.

use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{algorithm::Algorithm, base64url};

/// Bits of RSA keys: shorter ones can be broken, longer ones the crypto library does not take.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Members that only private keys have (RFC 7518, sections 6.2.2 and 6.3.2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Why a key is left out of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is no JSON object.
    #[error("it is no object")]
    NotAnObject,
    /// A member is missing, or has another type than a string.
    #[error("its [{0}] is missing or no string")]
    NotString(&'static str),
    /// A member is no strict base64url, or empty.
    #[error("its [{0}] is no base64url")]
    NotBase64(&'static str),
    /// `kty` is none of RSA, EC, OKP and oct.
    #[error("its [kty] is not supported")]
    Type,
    /// `crv` is none of P-256, P-384 (EC) and Ed25519 (OKP).
    #[error("its [crv] is not supported")]
    Curve,
    /// `alg` is none of [`Algorithm`], or not for keys of this kind.
    #[error("its [alg] is not supported, or not for its [kty] and [crv]")]
    Algorithm,
    /// `use` is there and neither `sig` nor `jwt-svid`.
    #[error("its [use] is not for signatures of tokens")]
    Use,
    /// `key_ops` is there and not a list with `verify`.
    #[error("its [key_ops] does not allow to verify")]
    Operations,
    /// It is a private key. Whoever has published it has lost it.
    #[error("it is a private key, which everybody can sign with now")]
    Private,
    /// A coordinate or an Ed25519 key has another length than the curve.
    #[error("its [{0}] has another length than keys of its curve")]
    Length(&'static str),
    /// The modulus has less than 2048 or more than 8192 bits.
    #[error("it has less than 2048 or more than 8192 bits")]
    RsaBits,
    /// The exponent is neither 3 nor 65537.
    #[error("its [e] is neither 3 nor 65537")]
    RsaExponent,
    /// The modulus was made by a flawed library (ROCA, CVE-2017-15361): its factors can be computed.
    #[error("its [n] is of a kind that can be factored (ROCA)")]
    Roca,
    /// A symmetric key has less octets than the hash of its algorithm (RFC 7518, section 3.2).
    #[error("it is shorter than the hash of its algorithm")]
    Short,
}

impl Unusable {
    /// Whether it is no fault of the key: it is for something that is not done here.
    pub(crate) fn is_other_purpose(self) -> bool {
        matches!(self, Self::Type | Self::Curve | Self::Algorithm | Self::Use | Self::Operations)
    }
}

/// What a key is, which decides what it can be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
    /// Of so many octets.
    Symmetric(usize),
}

/// A key that can verify.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    pub(crate) key: DecodingKey,
    algorithm: Option<Algorithm>,
    kind: Kind,
}

impl Key {
    pub(crate) fn read(jwk: &Value) -> Result<Self, Unusable> {
        let jwk = jwk.as_object().ok_or(Unusable::NotAnObject)?;
        let kid = optional(jwk, "kid")?.filter(|kid| !kid.is_empty()).map(str::to_owned);
        let key_type = required(jwk, "kty")?;
        if key_type != "oct" && PRIVATE.iter().any(|member| jwk.contains_key(*member)) {
            return Err(Unusable::Private);
        }
        check_purpose(jwk)?;
        let named = optional(jwk, "alg")?.filter(|name| !name.is_empty());
        let (kind, key) = match key_type {
            "RSA" => rsa(jwk)?,
            "EC" => elliptic(jwk, named)?,
            "OKP" => edwards(jwk)?,
            "oct" => symmetric(jwk)?,
            _ => return Err(Unusable::Type),
        };
        let algorithm = named.map(str::parse::<Algorithm>).transpose().map_err(|_| Unusable::Algorithm)?;
        match (kind, algorithm) {
            (_, Some(algorithm)) if kind.fits(algorithm) => {}
            (Kind::Symmetric(_), Some(algorithm)) if algorithm.hash_len().is_some() => {
                return Err(Unusable::Short);
            }
            (_, Some(_)) => return Err(Unusable::Algorithm),
            (Kind::Symmetric(_), None) if !kind.fits(Algorithm::Hs256) => return Err(Unusable::Short),
            (_, None) => {}
        }
        Ok(Self { kid, key, algorithm, kind })
    }

    /// Whether a token of this `alg` may be verified with it.
    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.kind.fits(algorithm)
    }

    pub(crate) fn is_symmetric(&self) -> bool {
        matches!(self.kind, Kind::Symmetric(_))
    }
}

impl Kind {
    fn fits(self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDSA, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match self {
            Self::Rsa => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Self::P256 => algorithm == Es256,
            Self::P384 => algorithm == Es384,
            Self::Ed25519 => algorithm == EdDSA,
            Self::Symmetric(octets) => algorithm.hash_len().is_some_and(|least| octets >= least),
        }
    }
}

impl Algorithm {
    /// Octets of the hash of an HMAC.
    fn hash_len(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            _ => None,
        }
    }
}

/// SPIFFE marks keys for tokens with `jwt-svid`, and puts others, for certificates, into the same set.
fn check_purpose(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    match jwk.get("use").map(Value::as_str) {
        None | Some(Some("sig" | "jwt-svid")) => {}
        Some(_) => return Err(Unusable::Use),
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => Ok(()),
        Some(_) => Err(Unusable::Operations),
    }
}

fn rsa(jwk: &Map<String, Value>) -> Result<(Kind, DecodingKey), Unusable> {
    let (n, e) = (octets(jwk, "n")?, octets(jwk, "e")?);
    let (n, e) = (without_zeros(&n), without_zeros(&e));
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(Unusable::RsaBits);
    }
    if !matches!(e, [3] | [1, 0, 1]) {
        return Err(Unusable::RsaExponent);
    }
    if is_roca(n) {
        return Err(Unusable::Roca);
    }
    Ok((Kind::Rsa, DecodingKey::from_rsa_raw_components(n, e)))
}

/// Whether the modulus is a power of 65537 modulo each of these primes. Of random ones, 4 in 1,000,000,000 are.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, octet| (rest * 256 + u32::from(*octet)) % prime);
        let mut power = 1;
        (0..*prime).any(|_| {
            power = power * 65_537 % prime;
            power == rest
        })
    })
}

/// A key that does not say its curve has that of its algorithm, else P-256, as Envoy has it. Coordinates without their
/// leading zeros get them back: such keys are in the field, and stand for no other point.
fn elliptic(jwk: &Map<String, Value>, named: Option<&str>) -> Result<(Kind, DecodingKey), Unusable> {
    let (kind, len): (_, usize) = match (optional(jwk, "crv")?, named) {
        (Some("P-256"), _) | (None, Some("ES256") | None) => (Kind::P256, 32),
        (Some("P-384"), _) | (None, Some("ES384")) => (Kind::P384, 48),
        _ => return Err(Unusable::Curve),
    };
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = octets(jwk, name)?;
        let missing = len.checked_sub(coordinate.len()).ok_or(Unusable::Length(name))?;
        point.resize(point.len() + missing, 0);
        point.extend_from_slice(&coordinate);
    }
    Ok((kind, DecodingKey::from_ec_der(&point)))
}

fn edwards(jwk: &Map<String, Value>) -> Result<(Kind, DecodingKey), Unusable> {
    if required(jwk, "crv")? != "Ed25519" {
        return Err(Unusable::Curve);
    }
    let x = octets(jwk, "x")?;
    if x.len() != 32 {
        return Err(Unusable::Length("x"));
    }
    Ok((Kind::Ed25519, DecodingKey::from_ed_der(&x)))
}

fn symmetric(jwk: &Map<String, Value>) -> Result<(Kind, DecodingKey), Unusable> {
    let secret = octets(jwk, "k")?;
    Ok((Kind::Symmetric(secret.len()), DecodingKey::from_secret(&secret)))
}

fn required<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, Unusable> {
    optional(jwk, name)?.ok_or(Unusable::NotString(name))
}

fn optional<'a>(jwk: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, Unusable> {
    let value = jwk.get(name).map(|value| value.as_str().ok_or(Unusable::NotString(name)));
    value.transpose()
}

fn octets(jwk: &Map<String, Value>, name: &'static str) -> Result<Zeroizing<Vec<u8>>, Unusable> {
    let decoded = base64url::decode(required(jwk, name)?).filter(|octets| !octets.is_empty());
    decoded.map(Zeroizing::new).ok_or(Unusable::NotBase64(name))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

//! What the certificates of a chain must be, each and one to the next (specification section 10). `x509-parser` reads
//! them; whether they lead to a root is for `path.rs`.

use std::sync::Arc;

use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519},
    prelude::{FromDer, X509Certificate, X509Version},
};

use crate::{
    certificate_info::CertificateFacts,
    crypto::SignatureScheme,
    error::Error,
    identity::{Identity, MailAccount, SpiffeId},
    validity::Validity,
};

/// Largest certificate, in bytes.
const MAX_CERTIFICATE: usize = 8_192;

/// Bytes of an uncompressed point on P-256, the only form that is taken.
const P256_POINT_LEN: usize = 65;

/// A chain that was read and keeps every rule that needs neither roots nor a clock.
pub(crate) struct Chain {
    pub(crate) identity: Identity,
    pub(crate) scheme: SignatureScheme,
    /// As `SignatureScheme::verify` wants it.
    pub(crate) public_key: Vec<u8>,
    /// Of each certificate.
    pub(crate) facts: Arc<[CertificateFacts]>,
    /// Of each certificate.
    validities: Vec<Validity>,
}

impl Chain {
    /// Reads a chain, leaf first, each certificate issued by the next.
    pub(crate) fn read(certificates: &[Vec<u8>]) -> Result<Self, Error> {
        Self::read_naming(certificates, identity)
    }

    /// The same, with another idea of whom a leaf names: data of others has no identities.
    pub(crate) fn read_naming(
        certificates: &[Vec<u8>],
        identity: fn(&X509Certificate<'_>) -> Result<Identity, Error>,
    ) -> Result<Self, Error> {
        let parsed = certificates
            .iter()
            .enumerate()
            .map(|(position, der)| parse(position, der))
            .collect::<Result<Vec<_>, _>>()?;
        let Some((leaf, issuers)) = parsed.split_first() else {
            return Err(malformed(0, "there is none"));
        };
        check_leaf(leaf)?;
        for (position, pair) in parsed.windows(2).enumerate() {
            if pair[0].issuer().as_raw() != pair[1].subject().as_raw() {
                return Err(Error::PeerCertificateChainBroken { position });
            }
        }
        for (position, issuer) in issuers.iter().enumerate() {
            check_issuer(position + 1, issuer)?;
        }
        let (scheme, public_key) = leaf_key(leaf)?;
        let facts =
            parsed.iter().zip(certificates).map(|(one, der)| CertificateFacts::of(one, der)).collect();
        Ok(Self { identity: identity(leaf)?, scheme, public_key, facts, validities: validities(&parsed)? })
    }

    /// The time in which the first so many certificates are valid.
    pub(crate) fn validity_of(&self, count: usize) -> Validity {
        self.validities.iter().take(count).fold(Validity::ALWAYS, |all, one| all.and(*one))
    }

    /// The time in which all certificates are valid.
    pub(crate) fn validity(&self) -> Validity {
        self.validity_of(self.validities.len())
    }
}

pub(crate) fn malformed(position: usize, problem: impl ToString) -> Error {
    Error::PeerCertificateMalformed { position, problem: problem.to_string() }
}

pub(crate) fn parse(position: usize, der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    if der.len() > MAX_CERTIFICATE {
        return Err(Error::PeerCertificateTooLarge { position, length: der.len() });
    }
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|_| malformed(position, "it is not an X.509 certificate"))?;
    if !rest.is_empty() {
        return Err(malformed(position, "bytes behind its end"));
    }
    if certificate.version() != X509Version::V3 {
        return Err(malformed(position, "it is not of version 3"));
    }
    // Refuses extensions that come twice.
    certificate.tbs_certificate.extensions_map().map_err(|error| malformed(position, error))?;
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => {
                return Err(malformed(position, "an extension that cannot be read"));
            }
            // The path validator counts it as understood, but nobody reads it.
            ParsedExtension::CRLDistributionPoints(_) if extension.critical => {
                return Err(malformed(position, "a critical extension that is not understood"));
            }
            // They must be critical, and then the path validator refuses them; who forgot that meant them as well.
            ParsedExtension::PolicyConstraints(_) | ParsedExtension::InhibitAnyPolicy(_) => {
                return Err(malformed(position, "constraints of policies, which are not evaluated"));
            }
            _ => {}
        }
    }
    Ok(certificate)
}

fn check_leaf(leaf: &X509Certificate<'_>) -> Result<(), Error> {
    if is_ca(0, leaf)? {
        return Err(Error::PeerCertificateIsCa);
    }
    let wrong = |problem| Err(Error::PeerCertificateKeyUsageWrong { problem });
    let Some(usage) = leaf.key_usage().map_err(|error| malformed(0, error))? else {
        return wrong("it has none");
    };
    if !usage.value.digital_signature() {
        return wrong("it lacks digitalSignature");
    }
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return wrong("it has keyCertSign or cRLSign");
    }
    // Only those of a CA mean something.
    match leaf.name_constraints().map_err(|error| malformed(0, error))? {
        Some(_) => Err(Error::PeerCertificateNameConstrained { position: 0 }),
        None => Ok(()),
    }
}

pub(crate) fn check_issuer(position: usize, issuer: &X509Certificate<'_>) -> Result<(), Error> {
    let wrong = |problem| Err(Error::PeerCertificateIssuerInvalid { position, problem });
    if !is_ca(position, issuer)? {
        return wrong("it is not a CA certificate");
    }
    if issuer.subject().iter().next().is_none() {
        return wrong("it has no name");
    }
    match issuer.key_usage().map_err(|error| malformed(position, error))? {
        Some(usage) if usage.value.key_cert_sign() => {}
        _ => return wrong("its keyUsage lacks keyCertSign"),
    }
    if constrains_identities(position, issuer)? {
        return Err(Error::PeerCertificateNameConstrained { position });
    }
    Ok(())
}

fn is_ca(position: usize, certificate: &X509Certificate<'_>) -> Result<bool, Error> {
    let constraints = certificate.basic_constraints().map_err(|error| malformed(position, error))?;
    Ok(constraints.is_some_and(|constraints| constraints.value.ca))
}

/// Whether a certificate has name constraints of the kinds that identities are made of. They are not evaluated,
/// so that a chain with them must be refused. The path validator evaluates or refuses the other kinds.
fn constrains_identities(position: usize, certificate: &X509Certificate<'_>) -> Result<bool, Error> {
    let Some(constraints) = certificate.name_constraints().map_err(|error| malformed(position, error))?
    else {
        return Ok(false);
    };
    let left_to_the_validator = |name: &GeneralName<'_>| {
        matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_) | GeneralName::DirectoryName(_))
    };
    let subtrees = [&constraints.value.permitted_subtrees, &constraints.value.excluded_subtrees];
    let mut names = subtrees.into_iter().flatten().flatten().map(|subtree| &subtree.base).peekable();
    if names.peek().is_none() {
        return Err(malformed(position, "name constraints without a name"));
    }
    Ok(names.any(|name| !left_to_the_validator(name)))
}

fn leaf_key(leaf: &X509Certificate<'_>) -> Result<(SignatureScheme, Vec<u8>), Error> {
    let info = leaf.public_key();
    let key: &[u8] = &info.subject_public_key.data;
    let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let scheme = if info.algorithm.algorithm == OID_SIG_ED25519 && key.len() == 32 {
        SignatureScheme::Ed25519
    } else if info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY
        && curve.is_some_and(|curve| curve == OID_EC_P256)
        && key.len() == P256_POINT_LEN
    {
        SignatureScheme::EcdsaP256Sha256
    } else {
        return Err(Error::PeerCertificateKeyUnsupported);
    };
    Ok((scheme, key.to_vec()))
}

/// The identity in the subjectAltName. The subject is never read.
fn identity(leaf: &X509Certificate<'_>) -> Result<Identity, Error> {
    let names = leaf.subject_alternative_name().map_err(|error| malformed(0, error))?;
    let (mut mail, mut spiffe_id) = (None, None);
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::RFC822Name(name) => {
                once(
                    &mut mail,
                    "mail name",
                    MailAccount::parse(name).map_err(|problem| invalid(name, problem))?,
                )?;
            }
            GeneralName::URI(uri) => {
                once(&mut spiffe_id, "URI", SpiffeId::parse(uri).map_err(|problem| invalid(uri, problem))?)?;
            }
            GeneralName::Invalid(..) => return Err(malformed(0, "a subjectAltName of an invalid form")),
            _ => {}
        }
    }
    Identity::new(mail, spiffe_id).ok_or(Error::PeerCertificateWithoutIdentity)
}

fn once<T>(place: &mut Option<T>, kind: &'static str, value: T) -> Result<(), Error> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::PeerCertificateAmbiguous { kind }),
    }
}

fn invalid(name: &str, problem: &'static str) -> Error {
    Error::PeerCertificateNameInvalid { name: name.to_owned(), problem }
}

fn validities(chain: &[X509Certificate<'_>]) -> Result<Vec<Validity>, Error> {
    let read = |(position, certificate): (usize, &X509Certificate<'_>)| {
        // A date before 1970 is no date that a certificate of today may have.
        let seconds = |time: i64| u64::try_from(time).map_err(|_| malformed(position, "a date before 1970"));
        let validity = certificate.validity();
        Ok(Validity {
            not_before: seconds(validity.not_before.timestamp())?,
            not_after: seconds(validity.not_after.timestamp())?,
        })
    };
    chain.iter().enumerate().map(read).collect()
}

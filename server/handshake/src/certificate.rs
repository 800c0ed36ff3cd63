//! What a chain of certificates must be (specification section 10). `x509-parser` reads names and uses,
//! `rustls-webpki` validates the path; rules that neither knows are checked here.

use std::ptr;

use pki_types::{CertificateDer, TrustAnchor};
use webpki::{Cert, EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::{
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519},
    prelude::{FromDer, X509Certificate, X509Version},
};

use crate::{
    Role,
    crypto::{CERTIFICATE_ALGORITHMS, SignatureScheme},
    error::Error,
    identity::{Identity, MailAccount, SpiffeId},
    revocation::{AuthorityCrls, RevocationCheck},
    validity::{Clock, Validity},
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
        Ok(Self { identity: identity(leaf)?, scheme, public_key, validities: validities(&parsed)? })
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

fn malformed(position: usize, problem: impl ToString) -> Error {
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
    Ok(())
}

fn check_issuer(position: usize, issuer: &X509Certificate<'_>) -> Result<(), Error> {
    let wrong = |problem| Err(Error::PeerCertificateIssuerInvalid { position, problem });
    if !is_ca(position, issuer)? {
        return wrong("it is not a CA certificate");
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
    Ok(subtrees.into_iter().flatten().flatten().any(|subtree| !left_to_the_validator(&subtree.base)))
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

/// A root.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    /// Most certificates between it and a leaf, where it says so.
    path_len: Option<u32>,
    signs_crls: bool,
}

/// What a path is validated against.
pub(crate) struct PathRules<'a> {
    pub(crate) roots: &'a [Root],
    /// Of every authority that must vouch for the leaf and has any.
    pub(crate) crls: &'a [AuthorityCrls<'a>],
    /// Which end the chain belongs to.
    pub(crate) peer: Role,
    /// Who must vouch for the leaf, for the text of a refusal.
    pub(crate) authority: &'a dyn Fn() -> String,
    pub(crate) clock: Clock,
}

/// A path that was found good.
pub(crate) struct GoodPath {
    /// The time in which its certificates are valid.
    pub(crate) certificates: Validity,
    /// The time in which the CRLs that it was held against count.
    pub(crate) crls: Validity,
}

impl PathRules<'_> {
    /// Validates the path from the leaf to one of the roots (RFC 5280 section 6), and holds it against the CRLs. On
    /// it are all of the certificates, or all but the root.
    pub(crate) fn validate(&self, chain: &Chain, certificates: &[Vec<u8>]) -> Result<GoodPath, Error> {
        let der: Vec<_> = certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let Some((leaf, issuers)) = der.split_first() else {
            return Err(malformed(0, "there is none"));
        };
        let (usage, needed) = match self.peer {
            Role::Server => (KeyUsage::server_auth(), "serverAuth"),
            Role::Client => (KeyUsage::client_auth(), "clientAuth"),
        };
        let refuse = |error| refusal(error, needed, self.authority);
        let at = self.clock.time_for(chain.validity_of(self.without_root(&der)));
        let anchors: Vec<_> = self.roots.iter().map(|root| root.anchor.clone()).collect();
        let leaf = EndEntityCert::try_from(leaf).map_err(refuse)?;
        let path = leaf
            .verify_for_usage(CERTIFICATE_ALGORITHMS, &anchors, issuers, at, usage, None, None)
            .map_err(refuse)?;
        let on_path = 1 + path.intermediate_certificates().count();
        let used = anchors.iter().position(|anchor| ptr::eq(anchor, path.anchor()));
        let Some(root) = used.and_then(|used| self.roots.get(used)) else {
            return Err(Error::PeerCertificateUntrusted { authority: (self.authority)() });
        };
        check_rest(&path, root, &der, on_path)?;
        check_path_len(&path, root, on_path)?;
        let root_signs_crls = root.signs_crls;
        let issuers = &issuers[..on_path - 1];
        let clock = self.clock;
        let revocation = RevocationCheck { path: &path, issuers, root_signs_crls, usage, at, clock };
        let mut crls = Validity::ALWAYS;
        for lists in self.crls {
            crls = crls.and(revocation.by(lists)?);
        }
        Ok(GoodPath { certificates: chain.validity_of(on_path), crls })
    }

    /// How many certificates there are but for a root at the end, whose dates do not count.
    fn without_root(&self, certificates: &[CertificateDer<'_>]) -> usize {
        match certificates {
            [_, .., last] if self.roots.iter().any(|root| root.is(last)) => certificates.len() - 1,
            all => all.len(),
        }
    }
}

/// Every certificate is on the path, in its order; only the root itself may stand behind it.
fn check_rest(
    path: &VerifiedPath<'_>,
    root: &Root,
    certificates: &[CertificateDer<'_>],
    on_path: usize,
) -> Result<(), Error> {
    let mut issuers = path.intermediate_certificates().zip(&certificates[1..]);
    if let Some(position) = issuers.position(|(used, sent)| used.der() != *sent) {
        return Err(Error::PeerCertificateChainBroken { position });
    }
    match &certificates[on_path..] {
        [] => Ok(()),
        [last] if root.is(last) => Ok(()),
        _ => Err(Error::PeerCertificateChainBroken { position: on_path - 1 }),
    }
}

/// The path validator keeps no constraint of an anchor but its names.
fn check_path_len(path: &VerifiedPath<'_>, root: &Root, on_path: usize) -> Result<(), Error> {
    let Some(path_len) = root.path_len else { return Ok(()) };
    let self_issued = |issuer: &Cert<'_>| issuer.issuer() == issuer.subject();
    let below = path.intermediate_certificates().filter(|issuer| !self_issued(issuer)).count();
    if below as u64 > path_len.into() {
        let problem = "the root allows fewer certificates below it";
        return Err(Error::PeerCertificateIssuerInvalid { position: on_path - 1, problem });
    }
    Ok(())
}

fn refusal(error: webpki::Error, needed: &'static str, authority: &dyn Fn() -> String) -> Error {
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => {
            Error::PeerCertificateExpired { not_after: not_after.as_secs(), now: time.as_secs() }
        }
        E::CertNotValidYet { time, not_before } => {
            Error::PeerCertificateNotYetValid { not_before: not_before.as_secs(), now: time.as_secs() }
        }
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => {
            Error::PeerCertificateUntrusted { authority: authority() }
        }
        E::RequiredEkuNotFoundContext(_) => Error::PeerCertificatePurposeWrong { needed },
        // These would print the bytes that the peer chose.
        E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            let problem = "it is signed with an algorithm that is not taken".to_owned();
            Error::PeerCertificateInvalid { problem }
        }
        // Variants without content, whose name says it all.
        other => Error::PeerCertificateInvalid { problem: format!("{other:?}").chars().take(64).collect() },
    }
}

impl Root {
    /// Reads a root. The reason is for an operator.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let certificate = parse(0, der).map_err(|error| error.to_string())?;
        check_issuer(0, &certificate).map_err(|error| match error {
            Error::PeerCertificateIssuerInvalid { problem, .. } => problem.to_owned(),
            other => other.to_string(),
        })?;
        let constraints = certificate.basic_constraints().map_err(|error| error.to_string())?;
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| error.to_string())?;
        let usage = certificate.key_usage().map_err(|error| error.to_string())?;
        Ok(Self {
            anchor: anchor.to_owned(),
            path_len: constraints.and_then(|constraints| constraints.value.path_len_constraint),
            signs_crls: usage.is_some_and(|usage| usage.value.crl_sign()),
            der: der.clone().into_owned(),
        })
    }

    /// Whether this is a certificate of the root: its name and its key.
    fn is(&self, der: &CertificateDer<'_>) -> bool {
        webpki::anchor_from_trusted_cert(der).is_ok_and(|other| {
            other.subject == self.anchor.subject
                && other.subject_public_key_info == self.anchor.subject_public_key_info
        })
    }
}

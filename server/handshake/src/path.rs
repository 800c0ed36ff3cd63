//! How a chain leads to a root (specification section 10). `rustls-webpki` validates the path; what it leaves out of
//! the rules is checked here.

use std::ptr;

use pki_types::{CertificateDer, TrustAnchor};
use webpki::{Cert, EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{X509Certificate, X509Extension},
};

use crate::{
    Role,
    certificate::{self, Chain},
    certificate_info::CertificateFacts,
    crypto::CERTIFICATE_ALGORITHMS,
    error::Error,
    revocation::{AuthorityCrls, RevocationCheck, together},
    validity::{Clock, Validity},
};

/// A root.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) der: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
    /// Most certificates between it and a leaf, where it says so.
    path_len: Option<u32>,
    signs_crls: bool,
    facts: CertificateFacts,
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
    /// The root that it leads to. Of several with one name and key, one of them.
    pub(crate) root: CertificateFacts,
}

impl PathRules<'_> {
    /// Validates the path from the leaf to one of the roots (RFC 5280 section 6), and holds it against the CRLs. On
    /// it are all of the certificates, or all but the root.
    pub(crate) fn validate(&self, chain: &Chain, certificates: &[Vec<u8>]) -> Result<GoodPath, Error> {
        let der: Vec<_> = certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let Some((leaf, issuers)) = der.split_first() else {
            return Err(certificate::malformed(0, "there is none"));
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
        // Another certificate of the same root may say so, such as one that it was renewed with.
        let root_signs_crls = self.roots.iter().any(|other| other.signs_crls && root.is(&other.der));
        let issuers = &issuers[..on_path - 1];
        let clock = self.clock;
        let revocation = RevocationCheck { path: &path, issuers, root_signs_crls, usage, at, clock };
        let said = self.crls.iter().map(|lists| revocation.by(lists));
        let crls = said.fold(Ok(Validity::ALWAYS), together)?;
        Ok(GoodPath { certificates: chain.validity_of(on_path), crls, root: root.facts.clone() })
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
        let certificate = certificate::parse(0, der).map_err(|error| error.to_string())?;
        certificate::check_issuer(0, &certificate).map_err(|error| match error {
            Error::PeerCertificateIssuerInvalid { problem, .. } => problem.to_owned(),
            other => other.to_string(),
        })?;
        check_root(&certificate)?;
        let constraints = certificate.basic_constraints().map_err(|error| error.to_string())?;
        let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| error.to_string())?;
        let usage = certificate.key_usage().map_err(|error| error.to_string())?;
        Ok(Self {
            anchor: anchor.to_owned(),
            path_len: constraints.and_then(|constraints| constraints.value.path_len_constraint),
            signs_crls: usage.is_some_and(|usage| usage.value.crl_sign()),
            facts: CertificateFacts::of(&certificate, der),
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

/// The path validator takes any critical extension of a root for understood.
fn check_root(root: &X509Certificate<'_>) -> Result<(), &'static str> {
    let evaluated = |extension: &X509Extension<'_>| {
        matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::NameConstraints(_)
                | ParsedExtension::SubjectAlternativeName(_)
        )
    };
    match root.extensions().iter().find(|extension| extension.critical && !evaluated(extension)) {
        Some(_) => Err("a critical extension that is not understood"),
        None => Ok(()),
    }
}

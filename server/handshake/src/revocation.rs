//! Certificate revocation lists (RFC 5280 sections 5 and 6.3): what a list must be, and what it says of a path.

use std::{iter, slice};

use pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{
    Cert, CertRevocationList, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::{
    oid_registry::OID_X509_EXT_CRL_NUMBER, prelude::FromDer, revocation_list::CertificateRevocationList,
};

use crate::{
    certificate_info,
    crypto::CERTIFICATE_ALGORITHMS,
    error::Error,
    identity::Authority,
    validity::{Clock, Validity},
};

/// A list that can be used: complete, direct, and with an end.
pub(crate) struct Crl {
    list: CertRevocationList<'static>,
    next_update: u64,
}

/// The lists of one authority; there is at least one.
pub(crate) struct AuthorityCrls<'a> {
    pub(crate) authority: Authority,
    pub(crate) crls: &'a [Crl],
}

impl Crl {
    /// Reads a list. The reason is for an operator.
    pub(crate) fn read(der: &CertificateRevocationListDer<'_>) -> Result<Self, String> {
        let list = OwnedCertRevocationList::from_der(der).map_err(problem)?;
        let (_, parsed) = CertificateRevocationList::from_der(der).map_err(|_| "it is no CRL".to_owned())?;
        // The path validator does not ask for what RFC 5280 sections 5.1.2.5 and 5.2.3 demand.
        match parsed.extensions().iter().find(|extension| extension.oid == OID_X509_EXT_CRL_NUMBER) {
            None => return Err("it has no cRLNumber".to_owned()),
            Some(number) if number.critical => return Err("its cRLNumber is critical".to_owned()),
            Some(_) => {}
        }
        let next_update = parsed.next_update().ok_or("it has no nextUpdate")?;
        if next_update < parsed.last_update() {
            return Err("its nextUpdate is before its thisUpdate".to_owned());
        }
        let next_update =
            u64::try_from(next_update.timestamp()).map_err(|_| "its nextUpdate is before 1970")?;
        Ok(Self { list: list.into(), next_update })
    }

    /// When the next list is due, in seconds since 1970. This list does not count from then on.
    pub(crate) fn next_update(&self) -> u64 {
        self.next_update
    }
}

fn problem(error: webpki::Error) -> String {
    use webpki::Error as E;
    match error {
        E::UnsupportedDeltaCrl => "it is a delta CRL; only complete ones are taken".to_owned(),
        E::UnsupportedIndirectCrl => {
            "it is an indirect CRL; only those of the issuer itself are taken".to_owned()
        }
        E::UnsupportedRevocationReasonsPartitioning => {
            "it holds some reasons only; only complete ones are taken".to_owned()
        }
        E::BadDer | E::TrailingData(_) => "it is no CRL in DER".to_owned(),
        E::UnsupportedCrlVersion => "it is not of version 2".to_owned(),
        // Variants whose name says it all.
        other => format!("{other:?}").chars().take(64).collect(),
    }
}

/// Holds a path that was found valid against lists.
pub(crate) struct RevocationCheck<'a> {
    pub(crate) path: &'a VerifiedPath<'a>,
    /// The certificates between leaf and anchor, as they were sent.
    pub(crate) issuers: &'a [CertificateDer<'a>],
    /// Whether the root's keyUsage has cRLSign. The path validator does not know it.
    pub(crate) root_signs_crls: bool,
    pub(crate) usage: KeyUsage,
    /// The time at which the path is valid.
    pub(crate) at: UnixTime,
    pub(crate) clock: Clock,
}

impl RevocationCheck<'_> {
    /// By the lists of one authority, the leaf must be covered, and nothing that is covered may be revoked. Returns
    /// the time in which these lists count.
    ///
    /// The validator consults one list for each certificate, the first that covers it, and takes a missing list the
    /// same way at every depth. Hence one pass for each list, so that none hides what another says, and one pass more
    /// that only asks whether the leaf is covered at all.
    pub(crate) fn by(&self, lists: &AuthorityCrls<'_>) -> Result<Validity, Error> {
        let certificates: Vec<_> = iter::once::<&Cert<'_>>(self.path.end_entity())
            .chain(self.path.intermediate_certificates())
            .collect();
        let mut found = Ok(Validity::ALWAYS);
        for crl in lists.crls {
            if certificates.iter().any(|certificate| certificate.issuer() == crl.list.issuer()) {
                found = together(found, self.by_one(crl, &certificates));
            }
        }
        let all: Vec<_> = lists.crls.iter().map(|crl| &crl.list).collect();
        let asked = RevocationOptionsBuilder::new(&all).map(|asked| {
            asked
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .build()
        });
        if asked.is_ok_and(|asked| self.pass(asked).is_ok()) {
            return found;
        }
        let authority = lists.authority.to_string();
        together(found, Err(Error::PeerCertificateRevocationUnknown { authority }))
    }

    fn by_one(&self, crl: &Crl, certificates: &[&Cert<'_>]) -> Result<Validity, Error> {
        let list = [&crl.list];
        let pass = |expiration| {
            let asked = RevocationOptionsBuilder::new(&list)
                .map_err(|_| invalid("there is none"))?
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(expiration)
                .build();
            self.pass(asked).map_err(|error| self.refusal(error, crl, certificates))
        };
        // Also one that is over knows what was revoked before.
        pass(ExpirationPolicy::Ignore)?;
        if !self.root_signs_crls && crl.list.issuer() == self.path.anchor().subject.as_ref() {
            return Err(invalid("its issuer, the root, lacks cRLSign"));
        }
        // The allowance counts from now, which the validator does not know: it is told a time at which the path is
        // valid. That is nearer than the allowance, so that a list which is over now is so at that time, too.
        let is_over = self.clock.now.as_secs() >= crl.next_update.saturating_add(self.clock.allowance);
        if is_over {
            pass(ExpirationPolicy::Enforce)?;
        }
        // One that is over and was no hindrance covers other certificates of its issuer.
        let not_after = crl.next_update.saturating_add(self.clock.allowance).saturating_sub(1);
        Ok(if is_over { Validity::ALWAYS } else { Validity { not_after, ..Validity::ALWAYS } })
    }

    /// Validates this very path once more, and asks for revocation.
    fn pass(&self, asked: RevocationOptions<'_>) -> Result<(), webpki::Error> {
        let anchors = slice::from_ref(self.path.anchor());
        let leaf = self.path.end_entity();
        let (at, usage) = (self.at, self.usage);
        leaf.verify_for_usage(CERTIFICATE_ALGORITHMS, anchors, self.issuers, at, usage, Some(asked), None)
            .map(|_| ())
    }

    fn refusal(&self, error: webpki::Error, crl: &Crl, certificates: &[&Cert<'_>]) -> Error {
        use webpki::Error as E;
        match error {
            E::CertRevoked => {
                let revoked = |certificate: &&Cert<'_>| {
                    certificate.issuer() == crl.list.issuer()
                        && crl.list.find_serial(certificate.serial()).is_ok_and(|entry| entry.is_some())
                };
                let position = certificates.iter().position(revoked).unwrap_or_default();
                let serial = certificate_info::serial(certificates[position].serial());
                Error::PeerCertificateRevoked { position, serial }
            }
            E::CrlExpired { .. } => {
                let now = self.clock.now.as_secs();
                Error::PeerCertificateCrlExpired { next_update: crl.next_update, now }
            }
            E::InvalidCrlSignatureForPublicKey => {
                invalid("it is not signed with the key that the certificate it covers is signed with")
            }
            E::IssuerNotCrlSigner => invalid("its issuer lacks cRLSign"),
            E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
                invalid("it is signed with an algorithm that is not taken")
            }
            other => invalid(&problem(other)),
        }
    }
}

/// What several lists say. A revocation comes before all else: what is wrong with other lists does not undo it.
pub(crate) fn together(
    one: Result<Validity, Error>,
    other: Result<Validity, Error>,
) -> Result<Validity, Error> {
    use Error::PeerCertificateRevoked as Revoked;
    match (one, other) {
        (Err(revoked @ Revoked { .. }), _) | (_, Err(revoked @ Revoked { .. })) => Err(revoked),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(one), Ok(other)) => Ok(one.and(other)),
    }
}

fn invalid(problem: &str) -> Error {
    Error::PeerCertificateCrlInvalid { problem: problem.to_owned() }
}

//! Names of workloads (specification section 10): mail-like service accounts and SPIFFE IDs, parsed once.

use std::fmt;

use crate::error::SetupError;

/// Longest SPIFFE ID, in bytes.
const MAX_SPIFFE_ID: usize = 2_048;

const SPIFFE_SCHEME: &str = "spiffe://";

/// A service account in the form of a mail address. Its domain is in lower case, its local part as it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MailAccount(String);

impl MailAccount {
    /// Parses `name`; the error says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        let (local, domain) = name.split_once('@').ok_or("it has no @")?;
        let local_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
        if !(1..=64).contains(&local.len()) || !local.bytes().all(local_byte) {
            return Err("before the @ must be 1 to 64 of A-Z a-z 0-9 . _ + -");
        }
        let domain = parse_domain(domain)?;
        Ok(Self(format!("{local}@{domain}")))
    }

    /// The part behind the @.
    pub fn domain(&self) -> &str {
        // parse() let nothing in without an @.
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A domain of LDH labels, folded to lower case.
fn parse_domain(domain: &str) -> Result<String, &'static str> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.len() > 253 || !domain.split('.').all(label) {
        return Err("its domain must be labels of letters, digits and inner hyphens, at most 253 bytes");
    }
    Ok(domain.to_ascii_lowercase())
}

/// A SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Parses `uri`; the error says what is wrong with it.
    pub fn parse(uri: &str) -> Result<Self, &'static str> {
        if uri.len() > MAX_SPIFFE_ID {
            return Err("a SPIFFE ID has at most 2048 bytes");
        }
        let rest = uri.strip_prefix(SPIFFE_SCHEME).ok_or("a SPIFFE ID begins with spiffe://")?;
        let (trust_domain, path) = rest.split_once('/').ok_or("a SPIFFE ID has a path")?;
        parse_trust_domain(trust_domain)?;
        let segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if !path.split('/').all(segment) {
            return Err("each segment of the path must be some of A-Z a-z 0-9 . - _, and not . or ..");
        }
        Ok(Self(uri.to_owned()))
    }

    /// The part between the scheme and the path.
    pub fn trust_domain(&self) -> &str {
        // parse() let nothing in without a scheme and a path.
        self.0[SPIFFE_SCHEME.len()..].split_once('/').map_or("", |(trust_domain, _)| trust_domain)
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parse_trust_domain(name: &str) -> Result<(), &'static str> {
    let byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    if (1..=255).contains(&name.len()) && name.bytes().all(byte) {
        Ok(())
    } else {
        Err("a trust domain is 1 to 255 of a-z 0-9 . - _")
    }
}

/// Who a workload is, by its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity(Names);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Names {
    Mail(MailAccount),
    Spiffe(SpiffeId),
    Both(MailAccount, SpiffeId),
}

impl Identity {
    /// An identity of these names; `None` if there is no name at all.
    pub fn new(mail: Option<MailAccount>, spiffe_id: Option<SpiffeId>) -> Option<Self> {
        Some(Self(match (mail, spiffe_id) {
            (Some(mail), Some(spiffe_id)) => Names::Both(mail, spiffe_id),
            (Some(mail), None) => Names::Mail(mail),
            (None, Some(spiffe_id)) => Names::Spiffe(spiffe_id),
            (None, None) => return None,
        }))
    }

    /// Reads an account name as an operator or a caller writes it: a mail account or a SPIFFE ID.
    pub fn parse(account: &str) -> Result<Self, &'static str> {
        if account.starts_with(SPIFFE_SCHEME) {
            return SpiffeId::parse(account).map(|id| Self(Names::Spiffe(id)));
        }
        MailAccount::parse(account).map(|mail| Self(Names::Mail(mail)))
    }

    /// What a program is told: the mail account if there is one, else the SPIFFE ID.
    pub fn account(&self) -> &str {
        match &self.0 {
            Names::Mail(mail) | Names::Both(mail, _) => mail.as_str(),
            Names::Spiffe(spiffe_id) => spiffe_id.as_str(),
        }
    }

    /// The SPIFFE ID, if the certificate names one.
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        match &self.0 {
            Names::Mail(_) => None,
            Names::Spiffe(spiffe_id) | Names::Both(_, spiffe_id) => Some(spiffe_id),
        }
    }

    /// Every authority that must vouch for it, one for each of its names.
    pub fn authorities(&self) -> impl Iterator<Item = Authority> {
        let mail = match &self.0 {
            Names::Mail(mail) | Names::Both(mail, _) => Some(Authority::MailDomain(mail.domain().to_owned())),
            Names::Spiffe(_) => None,
        };
        let spiffe_id = self.spiffe_id().map(|id| Authority::TrustDomain(id.trust_domain().to_owned()));
        mail.into_iter().chain(spiffe_id)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.account())?;
        match &self.0 {
            Names::Both(_, spiffe_id) => write!(f, " ({})", spiffe_id.as_str()),
            _ => Ok(()),
        }
    }
}

/// Who may vouch for a name: the domain of a mail account, the trust domain of a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// A mail domain, such as `prod.example.com`.
    MailDomain(String),
    /// A trust domain, such as `spiffe://prod.example.com`.
    TrustDomain(String),
}

impl Authority {
    /// Reads `prod.example.com` or `spiffe://prod.example.com`.
    pub fn parse(name: &str) -> Result<Self, SetupError> {
        let invalid = |problem| SetupError::AuthorityInvalid { name: name.to_owned(), problem };
        match name.strip_prefix(SPIFFE_SCHEME) {
            Some(trust_domain) => {
                parse_trust_domain(trust_domain).map_err(invalid)?;
                Ok(Self::TrustDomain(trust_domain.to_owned()))
            }
            None => parse_domain(name).map(Self::MailDomain).map_err(invalid),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MailDomain(domain) => f.write_str(domain),
            Self::TrustDomain(domain) => write!(f, "{SPIFFE_SCHEME}{domain}"),
        }
    }
}

/// The peers that a request accepts. With none named, it accepts every authenticated peer.
#[derive(Clone, Debug, Default)]
pub struct ExpectedPeers(Vec<String>);

impl ExpectedPeers {
    /// Takes over the names. One that no certificate can hold never matches, and still counts as a name.
    pub fn new<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(|name| fold(name.as_ref())).collect())
    }

    /// Whether `peer` is one of them, under its account or its SPIFFE ID.
    pub fn accept(&self, peer: &Identity) -> bool {
        let named = |name: &String| {
            name == peer.account() || peer.spiffe_id().is_some_and(|spiffe_id| name == spiffe_id.as_str())
        };
        self.0.is_empty() || self.0.iter().any(named)
    }
}

impl fmt::Display for ExpectedPeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// The one spelling under which names are compared: the domain of a mail name in lower case.
fn fold(name: &str) -> String {
    match name.split_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_account_keeps_its_local_part_and_folds_its_domain() {
        let account = MailAccount::parse("Front.End+1@Prod.EXAMPLE").expect("it is valid");
        assert_eq!(account.as_str(), "Front.End+1@prod.example");
        assert_eq!(account.domain(), "prod.example");
    }

    #[test]
    fn names_that_are_no_identity_are_refused() {
        let long_label = format!("a@{}.example", "x".repeat(64));
        let long_domain = format!("a@{}", vec!["x".repeat(60); 5].join("."));
        let long_local = format!("{}@x", "a".repeat(65));
        let long_path = format!("spiffe://d/{}", "p".repeat(2_048));
        let long_trust_domain = format!("spiffe://{}/p", "d".repeat(256));
        let refused = [
            "",
            "@",
            "a@",
            "@a",
            "a b@c",
            "a@@c",
            "a@b@c",
            "a@-b",
            "a@b-",
            "a@b..c",
            "a@b.",
            "a@.b",
            "ä@b",
            "a@ü",
            "a@b c",
            "a@b_c",
            "spiffe://",
            "spiffe://d",
            "spiffe://d/",
            "spiffe://d//p",
            "spiffe:///p",
            "spiffe://D/p",
            "spiffe://d:1/p",
            "spiffe://u@d/p",
            "spiffe://d/p?q",
            "spiffe://d/p#f",
            "spiffe://d/%41",
            "spiffe://d/.",
            "spiffe://d/../p",
            "spiffe://d/p/",
            "SPIFFE://d/p",
            "https://d/p",
            &long_label,
            &long_domain,
            &long_local,
            &long_path,
            &long_trust_domain,
        ];
        let wrongly_taken: Vec<_> = refused.iter().filter(|name| Identity::parse(name).is_ok()).collect();
        assert!(wrongly_taken.is_empty(), "{wrongly_taken:?}");
    }

    #[test]
    fn names_may_have_their_largest_size() {
        let domain = [&["x".repeat(63).as_str(); 3].join("."), "x".repeat(61).as_str()].join(".");
        assert_eq!(domain.len(), 253);
        let path = "p".repeat(MAX_SPIFFE_ID - "spiffe://d/".len());
        let taken = [
            format!("{}@x", "a".repeat(64)),
            format!("a@{domain}"),
            format!("spiffe://d/{path}"),
            format!("spiffe://{}/p", "d".repeat(255)),
            "spiffe://a.b-c_9/A.b-c_9/...".to_owned(),
        ];
        for name in taken {
            assert_eq!(Identity::parse(&name).map(|identity| identity.account().to_owned()), Ok(name));
        }
        assert!(Identity::parse(&format!("a@x{domain}")).is_err());
    }

    #[test]
    fn identities_and_authorities_are_shown_as_they_are_written() {
        let mail = MailAccount::parse("cart@shop.example").ok();
        let id = SpiffeId::parse("spiffe://shop.example/sa/cart").ok();
        let both = Identity::new(mail.clone(), id.clone()).expect("it has names");
        assert_eq!(both.to_string(), "cart@shop.example (spiffe://shop.example/sa/cart)");
        assert_eq!(Identity::new(mail, None).expect("it has a name").to_string(), "cart@shop.example");
        let alone = Identity::new(None, id).expect("it has a name");
        assert_eq!(alone.to_string(), "spiffe://shop.example/sa/cart");
        for authority in ["shop.example", "spiffe://shop.example"] {
            assert_eq!(
                Authority::parse(authority).map(|authority| authority.to_string()),
                Ok(authority.to_owned())
            );
        }
    }

    #[test]
    fn a_peer_is_expected_only_under_its_whole_name() {
        let mail = MailAccount::parse("Cart@shop.example").expect("it is valid");
        let id = SpiffeId::parse("spiffe://shop.example/sa/cart").expect("it is valid");
        let peer = Identity::new(Some(mail), Some(id)).expect("it has names");
        let cases: [(&[&str], bool); 10] = [
            (&[], true),
            (&["Cart@shop.example"], true),
            (&["Cart@SHOP.Example"], true),
            (&["other@shop.example", "spiffe://shop.example/sa/cart"], true),
            (&["cart@shop.example"], false),
            (&["art@shop.example"], false),
            (&["Cart@shop.example.org"], false),
            (&["spiffe://shop.example/sa"], false),
            (&["spiffe://shop.example/sa/*"], false),
            (&[""], false),
        ];
        for (names, expected) in cases {
            assert_eq!(ExpectedPeers::new(names).accept(&peer), expected, "{names:?}");
        }
    }
}

//! What is kept in the store and written in files: plain texts, which become values of the model or are refused.

use serde::{Deserialize, Serialize};

use super::{
    model::{Action, Mode, PeerList, Rule, RuleParts, Side},
    name::{AccountName, Name},
    pattern::{AccountPattern, PeerMatch, parse_sha256},
    problem::{Problem, Refused, shortened},
    revocation::{Revocation, Revoked, Serial, Times},
    target::{TargetKey, TargetName},
};

/// `[[peer_list]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerListRecord {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    /// Must be there, even if it is empty: a misspelt key shall not empty a list.
    pub(crate) peers: Vec<String>,
}

/// `[[rule]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleRecord {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) local: String,
    pub(crate) side: String,
    pub(crate) action: String,
    /// `enforce` if it is not said: a rule that is written is meant.
    #[serde(default = "enforce")]
    pub(crate) mode: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) peer_lists: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) peers: Vec<String>,
}

/// `[[target_name]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetNameRecord {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
    pub(crate) accounts: Vec<String>,
}

/// A revocation, in the store alone. Either `account`, or `issuer` and `serial`, or `key_sha256`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevocationRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_sha256: Option<String>,
    pub(crate) reason: String,
    /// Seconds since 1970.
    pub(crate) create_time: u64,
    /// Seconds since 1970, the first that is not revoked any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expire_time: Option<u64>,
}

fn enforce() -> String {
    Mode::Enforce.as_str().to_owned()
}

impl TryFrom<PeerListRecord> for PeerList {
    type Error = Refused;

    fn try_from(record: PeerListRecord) -> Result<Self, Refused> {
        let name = field("name", &record.name, Name::parse)?;
        Self::new(name, &record.description, each("peers", &record.peers, PeerMatch::parse)?)
    }
}

impl TryFrom<RuleRecord> for Rule {
    type Error = Refused;

    fn try_from(record: RuleRecord) -> Result<Self, Refused> {
        Self::new(RuleParts {
            name: field("name", &record.name, Name::parse)?,
            local: field("local", &record.local, AccountPattern::parse)?,
            side: field("side", &record.side, Side::parse)?,
            action: field("action", &record.action, Action::parse)?,
            mode: field("mode", &record.mode, Mode::parse)?,
            peer_lists: each("peer_lists", &record.peer_lists, Name::parse)?,
            peers: each("peers", &record.peers, PeerMatch::parse)?,
            description: record.description,
        })
    }
}

impl TryFrom<TargetNameRecord> for TargetName {
    type Error = Refused;

    fn try_from(record: TargetNameRecord) -> Result<Self, Refused> {
        let name = field("name", &record.name, TargetKey::parse)?;
        Self::new(name, &record.description, each("accounts", &record.accounts, AccountName::parse)?)
    }
}

impl TryFrom<RevocationRecord> for Revocation {
    type Error = Refused;

    fn try_from(record: RevocationRecord) -> Result<Self, Refused> {
        let RevocationRecord { account, issuer, serial, key_sha256, reason, create_time, expire_time } =
            record;
        let times = Times { create_time, expire_time };
        match (account, issuer, serial, key_sha256) {
            (Some(account), None, None, None) => {
                Self::of_account(field("account", &account, AccountName::parse)?, &reason, times)
            }
            (None, Some(issuer), Some(serial), None) => {
                Self::of_certificate(&issuer, field("serial", &serial, Serial::parse)?, &reason, times)
            }
            (None, None, None, Some(key)) => {
                let read =
                    |text: &str| parse_sha256(text).map_err(|_| Problem::Sha256 { text: shortened(text) });
                Self::of_key(field("key_sha256", &key, read)?, &reason, times)
            }
            _ => Err(Problem::Subject.at("account")),
        }
    }
}

impl From<&PeerList> for PeerListRecord {
    fn from(list: &PeerList) -> Self {
        Self {
            name: list.name().to_string(),
            description: list.description().to_owned(),
            peers: texts(list.peers()),
        }
    }
}

impl From<&Rule> for RuleRecord {
    fn from(rule: &Rule) -> Self {
        Self {
            name: rule.name().to_string(),
            description: rule.description().to_owned(),
            local: rule.local().to_string(),
            side: rule.side().to_string(),
            action: rule.action().to_string(),
            mode: rule.mode().to_string(),
            peer_lists: texts(rule.peer_lists()),
            peers: texts(rule.peers()),
        }
    }
}

impl From<&TargetName> for TargetNameRecord {
    fn from(target: &TargetName) -> Self {
        Self {
            name: target.name().to_string(),
            description: target.description().to_owned(),
            accounts: texts(target.accounts()),
        }
    }
}

impl From<&Revocation> for RevocationRecord {
    fn from(revocation: &Revocation) -> Self {
        let mut record = Self {
            account: None,
            issuer: revocation.issuer().map(str::to_owned),
            serial: None,
            key_sha256: None,
            reason: revocation.reason().to_owned(),
            create_time: revocation.create_time(),
            expire_time: revocation.expire_time(),
        };
        match revocation.revoked() {
            Revoked::Account(account) => record.account = Some(account.to_string()),
            Revoked::Certificate { serial, .. } => record.serial = Some(serial.to_string()),
            Revoked::Key(hash) => record.key_sha256 = Some(hex::encode(hash)),
        }
        record
    }
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn field<T>(name: &str, text: &str, parse: impl Fn(&str) -> Result<T, Problem>) -> Result<T, Refused> {
    parse(text).map_err(|problem| problem.at(name))
}

fn each<T>(
    name: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Vec<T>, Refused> {
    let one = |(number, text): (usize, &String)| {
        parse(text).map_err(|problem| problem.at(format!("{name}[{number}]")))
    };
    texts.iter().enumerate().map(one).collect()
}

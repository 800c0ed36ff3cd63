//! x509-limbo: the cases that a public suite has for validators of certificate paths. They go through everything that
//! the chain of a peer goes through but for the identity, which certificates of TLS servers do not have.
//!
//! The suite is the data of another project and no part of this one: it is read where `ALTSD_VECTORS` says.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime, pem::PemObject};
use rcgen::date_time_ymd;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

const FILE: &str = "x509-limbo/limbo-without-bettertls.json.xz";

/// What is not compared, and why.
const SKIPPED: &str = include_str!("../../tests/limbo-skipped.toml");

/// Most selections of certificates that are tried for one case. The sender of a chain chooses what to send; here the
/// cases give certificates without order.
const MAX_SELECTIONS: usize = 1_000;

/// A time within the validity of all that the suite has generated: 2024-01-01.
const ANY_TIME: u64 = 1_704_067_200;

#[derive(Deserialize)]
struct Suite {
    testcases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    validation_kind: String,
    trusted_certs: Vec<String>,
    untrusted_intermediates: Vec<String>,
    peer_certificate: String,
    validation_time: Option<String>,
    expected_result: String,
    #[serde(default)]
    crls: Vec<String>,
}

#[derive(Deserialize)]
struct Skipped {
    group: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// Whether all of these cases are taken here, against the suite, or refused.
    taken: bool,
    reason: String,
    ids: Vec<String>,
}

#[test]
fn every_case_of_limbo_has_its_result_but_for_those_with_a_reason() {
    let Some(suite) = suite() else { return };
    let mut skipped = BTreeMap::new();
    let groups: Skipped = toml::from_str(SKIPPED).expect("the list of skipped cases is TOML");
    for group in groups.group {
        assert!(!group.reason.is_empty());
        for id in group.ids {
            assert!(skipped.insert(id.clone(), group.taken).is_none(), "{id} is listed twice");
        }
    }
    let ids: BTreeSet<_> = suite.testcases.iter().map(|case| &case.id).collect();
    let mut problems: Vec<_> =
        skipped.keys().filter(|id| !ids.contains(id)).map(|id| format!("{id} is unknown")).collect();
    let mut agreeing = 0;
    for case in &suite.testcases {
        let outcome = case.outcome();
        let taken = outcome.is_ok();
        let expected = case.expected_result == "SUCCESS";
        agreeing += usize::from(taken == expected);
        let found = outcome.err().unwrap_or_else(|| "taken".to_owned());
        match skipped.get(&case.id) {
            None if taken != expected => {
                problems.push(format!("{}: expected {}, found: {found}", case.id, case.expected_result));
            }
            Some(_) if taken == expected => problems.push(format!("{} is listed without need", case.id)),
            Some(listed) if *listed != taken => problems.push(format!("{}: found: {found}", case.id)),
            _ => {}
        }
    }
    println!("{agreeing} of {} cases agree, {} have a reason not to", suite.testcases.len(), skipped.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(agreeing > 100, "{agreeing}");
}

/// Nothing where nobody says where the suite is. Where somebody does, it must be there.
#[expect(clippy::disallowed_methods, reason = "a test is told by the environment where its data are")]
fn suite() -> Option<Suite> {
    let Some(directory) = std::env::var_os("ALTSD_VECTORS") else {
        println!("skipped: ALTSD_VECTORS is not set, so that there is no x509-limbo");
        return None;
    };
    // Tests run in the directory of their crate; the variable may count from that of the repository.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join(directory).join(FILE);
    let output = Command::new("xz").arg("-dc").arg(&file).output().expect("xz can be run");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("it is the suite"))
}

impl Case {
    /// Whether some selection of the certificates is taken; else what is wrong with a longest one.
    fn outcome(&self) -> Result<(), String> {
        let leaf = der(&self.peer_certificate)?;
        let trust = self.trust()?;
        let issuers: Vec<_> = self.untrusted_intermediates.iter().filter_map(|pem| der(pem).ok()).collect();
        let peer = match &*self.validation_kind {
            "SERVER" => Role::Server,
            _ => Role::Client,
        };
        let clock = Clock::strict(self.time());
        let mut left = vec![vec![leaf]];
        let mut longest = (0, String::new());
        for _ in 0..MAX_SELECTIONS {
            let Some(chain) = left.pop() else { break };
            let read = Chain::read_naming(&chain, |_| Ok(stand_in()));
            match read.and_then(|read| trust.validate_chain(read, &chain, peer, clock)) {
                Ok(_) => return Ok(()),
                Err(error) if chain.len() > longest.0 => longest = (chain.len(), error.to_string()),
                Err(_) => {}
            }
            if chain.len() < crate::message::MAX_CHAIN {
                left.extend(longer(&chain, &issuers));
            }
        }
        Err(longest.1)
    }

    /// Roots that cannot be configured are none; CRLs must be as good as those of a configuration.
    fn trust(&self) -> Result<Trust, String> {
        let authority = || stand_in().authorities().next().expect("it has an authority");
        let mut trust = Trust::default();
        let mut refused = String::new();
        for pem in &self.trusted_certs {
            let root = CertificateDer::from(der(pem)?);
            if let Err(error) = trust.add(authority(), &[root]) {
                refused = error.to_string();
            }
        }
        let crls = self.crls.iter().map(|pem| CertificateRevocationListDer::from_pem_slice(pem.as_bytes()));
        let crls = crls.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        trust.add_crls(authority(), &crls).map_err(|error| error.to_string())?;
        if trust.roots.is_empty() { Err(refused) } else { Ok(trust) }
    }

    /// In whole seconds, as the engine has it.
    fn time(&self) -> UnixTime {
        let seconds = self.validation_time.as_deref().map_or(ANY_TIME, seconds);
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }
}

/// The identity that the certificates lack.
fn stand_in() -> Identity {
    Identity::parse("limbo@limbo.example").expect("it is an identity")
}

fn der(pem: &str) -> Result<Vec<u8>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map(|der| der.to_vec()).map_err(|error| error.to_string())
}

/// The chain with one certificate more, in every way in which that may have issued the last.
fn longer<'a>(chain: &'a [Vec<u8>], issuers: &'a [Vec<u8>]) -> impl Iterator<Item = Vec<Vec<u8>>> + 'a {
    let name = chain.last().and_then(|last| names(last)).map(|(issuer, _)| issuer);
    let fits = move |issuer: &&Vec<u8>| {
        !chain.contains(issuer) && name.is_some() && names(issuer).map(|(_, subject)| subject) == name
    };
    issuers.iter().filter(fits).map(move |issuer| [chain, std::slice::from_ref(issuer)].concat())
}

/// Issuer and subject.
fn names(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some((certificate.issuer().as_raw().to_vec(), certificate.subject().as_raw().to_vec()))
}

/// Of a time such as `2024-03-01T00:00:00.999+00:00`; the fraction is cut off.
fn seconds(time: &str) -> u64 {
    assert!(time.ends_with("+00:00"), "{time} is no UTC");
    let number = |from: usize, to: usize| time[from..to].parse::<u64>().expect("it is a number");
    let day = date_time_ymd(number(0, 4) as i32, number(5, 7) as u8, number(8, 10) as u8);
    let midnight = u64::try_from(day.unix_timestamp()).expect("it is after 1970");
    midnight + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19)
}

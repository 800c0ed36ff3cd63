//! Who the workloads of this node are, where their certificates come from, and which roots vouch for peers.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    time::Duration,
};

use alts_handshake::{Authority, Identity, MailAccount, SpiffeId};
use toml::Spanned;

use super::{
    error::{Error, Placed, Problem},
    raw,
    text::Text,
};
use crate::{
    attest::{Selector, Workload, Workloads},
    identity::{
        external::{self, ExecSettings},
        signing::{DEFAULT_LIFETIME, LIFETIMES, SigningSettings},
    },
};

/// What a configuration file says of identities.
#[derive(Debug)]
pub(crate) struct Configured {
    pub(crate) files: Files,
    /// Identities without files of their own: `ca` issues their certificates.
    pub(crate) issued: Vec<Identity>,
    pub(crate) ca: Option<Ca>,
}

/// The files of a configuration, each with the place that named it.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) identities: Vec<IdentityFiles>,
    pub(crate) trust: Vec<TrustFiles>,
}

#[derive(Clone, Debug)]
pub(crate) struct IdentityFiles {
    pub(crate) account: Placed<Identity>,
    pub(crate) certificate_chain: Placed<PathBuf>,
    pub(crate) private_key: Placed<PathBuf>,
}

#[derive(Clone, Debug)]
pub(crate) struct TrustFiles {
    pub(crate) authority: Placed<Authority>,
    pub(crate) roots: Vec<Placed<PathBuf>>,
    pub(crate) crls: Vec<Placed<PathBuf>>,
}

/// Who issues certificates to this node.
#[derive(Clone, Debug)]
pub(crate) enum Ca {
    /// The signing service inside the daemon.
    SigningService(SigningSettings),
    /// A program that turns a certificate request into a chain.
    External(ExecSettings),
}

/// Identities while they are read: each account has one definition.
pub(super) struct Identities {
    accounts: HashMap<String, (Identity, usize)>,
    files: Vec<IdentityFiles>,
    issued: Vec<Placed<Identity>>,
    workloads: Workloads,
}

impl Identities {
    pub(super) fn get(&self, account: &str) -> Option<&Identity> {
        self.accounts.get(account).map(|(identity, _)| identity)
    }

    /// Adds an account that there is not. No two may share a SPIFFE ID: who looks only at that takes one for the other.
    fn define(&mut self, identity: &Placed<Identity>) -> Result<(), Error> {
        let Placed { value, place } = identity;
        if let Some(spiffe_id) = value.spiffe_id()
            && let Some((other, line)) =
                self.accounts.values().find(|(other, _)| other.spiffe_id() == Some(spiffe_id))
        {
            let (spiffe_id, account) = (spiffe_id.as_str().to_owned(), other.account().to_owned());
            return Err(place.refuse(Problem::SpiffeIdOfAnother { spiffe_id, account, line: *line }));
        }
        self.accounts.insert(value.account().to_owned(), (value.clone(), place.line));
        Ok(())
    }

    pub(super) fn has_workloads(&self) -> bool {
        self.workloads.iter().next().is_some()
    }
}

impl Text<'_> {
    pub(super) fn identities(&self, raw: &raw::Config) -> Result<Identities, Error> {
        let mut identities = Identities {
            accounts: HashMap::new(),
            files: Vec::new(),
            issued: Vec::new(),
            workloads: Workloads::default(),
        };
        for (index, table) in raw.identity.iter().enumerate() {
            self.identity(&mut identities, index, table)?;
        }
        let (mut workloads, mut places) = (Vec::new(), Vec::new());
        for (index, table) in raw.workload.iter().enumerate() {
            workloads.push(self.workload(&mut identities, index, table)?);
            places.push(self.at(table, format!("workload[{index}]")));
        }
        identities.workloads = Workloads::new(workloads).map_err(|tie| {
            let problem = Problem::WorkloadTie { line: places[tie.first].line };
            places[tie.second].refuse(problem)
        })?;
        Ok(identities)
    }

    /// With what issues them, if there is anything to issue.
    pub(super) fn configured(
        &self,
        raw: &raw::Config,
        identities: Identities,
    ) -> Result<(Configured, Workloads), Error> {
        let ca = self.ca(raw)?;
        let trust = self.trust(&raw.trust)?;
        check_crls(&trust, ca.as_ref())?;
        let Identities { files, issued, workloads, .. } = identities;
        for identity in &issued {
            let refuse = |problem| Err(identity.place.refuse(problem));
            match &ca {
                None => return refuse(Problem::NobodyIssues { account: identity.value.to_string() }),
                Some(Ca::SigningService(SigningSettings { authorities, .. })) => {
                    if let Some(foreign) = identity.value.authorities().find(|one| !authorities.contains(one))
                    {
                        return refuse(Problem::AuthorityNotServed { authority: foreign.to_string() });
                    }
                }
                // What a program issues leads to roots that must be configured.
                Some(Ca::External(_)) => {
                    let known = |one: &Authority| trust.iter().any(|entry| entry.authority.value == *one);
                    if let Some(foreign) = identity.value.authorities().find(|one| !known(one)) {
                        return refuse(Problem::AuthorityWithoutRoots { authority: foreign.to_string() });
                    }
                }
            }
        }
        let issued = issued.into_iter().map(|identity| identity.value).collect();
        Ok((Configured { files: Files { identities: files, trust }, issued, ca }, workloads))
    }

    fn identity(
        &self,
        identities: &mut Identities,
        index: usize,
        table: &Spanned<raw::Identity>,
    ) -> Result<(), Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let key = |name: &str| format!("identity[{index}].{name}");
        let account = self.required(&table.account, at, key("account"))?.map(|name| account(name))?;
        let identity = self.with_spiffe_id(account, table.spiffe_id.as_ref(), key("spiffe_id"))?;
        if let Some((_, line)) = identities.accounts.get(identity.value.account()) {
            let problem = Problem::AccountTwice { account: identity.value.account().to_owned(), line: *line };
            return Err(identity.place.refuse(problem));
        }
        identities.define(&identity)?;
        if table.certificate_chain.is_none() && table.private_key.is_none() {
            identities.issued.push(identity);
            return Ok(());
        }
        let chain = self.required(&table.certificate_chain, at, key("certificate_chain"))?;
        let private_key = self.required(&table.private_key, at, key("private_key"))?;
        identities.files.push(IdentityFiles {
            account: identity,
            certificate_chain: self.relative(chain),
            private_key: self.relative(private_key),
        });
        Ok(())
    }

    /// The account, and beside it the SPIFFE ID if there is one.
    fn with_spiffe_id(
        &self,
        account: Placed<Identity>,
        spiffe_id: Option<&Spanned<String>>,
        key: String,
    ) -> Result<Placed<Identity>, Error> {
        let Some(spiffe_id) = spiffe_id else { return Ok(account) };
        let spiffe_id = self.placed(spiffe_id, key);
        let both = spiffe_id.map(|text| {
            let invalid = |problem| Problem::AccountInvalid { name: text.clone(), problem };
            let spiffe_id = SpiffeId::parse(text).map_err(invalid)?;
            // An account that is a SPIFFE ID is the only name of its certificate.
            let mail = MailAccount::parse(account.value.account())
                .map_err(|_| Problem::SpiffeIdTwice { account: account.value.account().to_owned() })?;
            Ok(Identity::new(Some(mail), Some(spiffe_id)))
        })?;
        // There are two names.
        Ok(Placed { value: both.value.unwrap_or(account.value), place: account.place })
    }

    fn workload(
        &self,
        identities: &mut Identities,
        index: usize,
        table: &Spanned<raw::Workload>,
    ) -> Result<Workload, Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let key = |name: &str| format!("workload[{index}].{name}");
        let mut granted = Vec::new();
        for identity in self.granted(table, at, key)? {
            granted.push(self.register(identities, identity)?);
        }
        let list = self.required(&table.selectors, at, key("selectors"))?;
        let mut selectors = BTreeSet::new();
        for (number, text) in list.value.iter().enumerate() {
            let selector = self.placed(text, format!("{}[{number}]", key("selectors")));
            let selector = selector.map(|text| Selector::parse(text).map_err(Problem::Selector))?;
            selectors.insert(selector.value);
        }
        Workload::new(granted, selectors).map_err(|problem| list.place.refuse(Problem::Workload(problem)))
    }

    /// The identities that an entry names, the one first that a caller gets who asks for none.
    fn granted(
        &self,
        table: &raw::Workload,
        at: usize,
        key: impl Fn(&str) -> String,
    ) -> Result<Vec<Placed<Identity>>, Error> {
        match (&table.service_account, &table.service_accounts, &table.spiffe_id) {
            (Some(name), None, spiffe_id) => {
                let account = self.placed(name, key("service_account")).map(|name| account(name))?;
                Ok(vec![self.with_spiffe_id(account, spiffe_id.as_ref(), key("spiffe_id"))?])
            }
            (None, Some(names), None) if !names.as_ref().is_empty() => {
                let one = |(number, name)| {
                    let place = format!("{}[{number}]", key("service_accounts"));
                    self.placed(name, place).map(|name: &String| account(name))
                };
                names.as_ref().iter().enumerate().map(one).collect()
            }
            (None, None, Some(spiffe_id)) => {
                Ok(vec![self.placed(spiffe_id, key("spiffe_id")).map(|name| account(name))?])
            }
            _ => Err(self.place(at, key("service_account")).refuse(Problem::WorkloadNames)),
        }
    }

    /// The definition of an identity that a workload gets: the one there is, or that of an issued one.
    fn register(&self, identities: &mut Identities, wanted: Placed<Identity>) -> Result<Identity, Error> {
        match identities.accounts.get(wanted.value.account()) {
            Some((known, line)) => {
                if wanted.value.spiffe_id().is_some() && wanted.value != *known {
                    let problem = Problem::SpiffeIdDiffers { known: known.to_string(), line: *line };
                    return Err(wanted.place.refuse(problem));
                }
                Ok(known.clone())
            }
            None => {
                let identity = wanted.value.clone();
                identities.define(&wanted)?;
                identities.issued.push(wanted);
                Ok(identity)
            }
        }
    }

    fn ca(&self, raw: &raw::Config) -> Result<Option<Ca>, Error> {
        match (&raw.signing_service, &raw.external_ca) {
            (None, None) => Ok(None),
            (Some(table), None) => self.signing_service(table, raw.state_directory.as_ref()).map(Some),
            (None, Some(table)) => self.external_ca(table).map(Some),
            (Some(_), Some(table)) => Err(self.at(table, "external_ca").refuse(Problem::TwoIssuers)),
        }
    }

    fn signing_service(
        &self,
        table: &Spanned<raw::SigningService>,
        state_directory: Option<&Spanned<PathBuf>>,
    ) -> Result<Ca, Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let key = |name: &str| format!("signing_service.{name}");
        let Some(directory) = state_directory else {
            return Err(self
                .place(at, "state_directory")
                .refuse(Problem::StateDirectoryMissing("the signing service keeps its keys")));
        };
        let names = self.required(&table.authorities, at, key("authorities"))?;
        if names.value.is_empty() {
            return Err(names.place.refuse(Problem::NoAuthorities));
        }
        let authority = |(number, name)| {
            let placed: Placed<&String> = self.placed(name, format!("{}[{number}]", key("authorities")));
            placed.map(|name| Authority::parse(name).map_err(Problem::Credentials)).map(|placed| placed.value)
        };
        Ok(Ca::SigningService(SigningSettings {
            directory: self.relative(self.placed(directory, "state_directory")).value,
            authorities: names.value.iter().enumerate().map(authority).collect::<Result<_, _>>()?,
            lifetime: self.lifetime(&table.certificate_lifetime_seconds, key)?,
        }))
    }

    fn external_ca(&self, table: &Spanned<raw::ExternalCa>) -> Result<Ca, Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let key = |name: &str| format!("external_ca.{name}");
        let command = self.required(&table.command, at, key("command"))?.map(|words| {
            let words: Vec<_> = words.iter().map(|word| word.as_ref().clone()).collect();
            match words.split_first() {
                Some((program, arguments)) if program.starts_with('/') => {
                    Ok((PathBuf::from(program), arguments.to_vec()))
                }
                _ => Err(Problem::CommandNotAbsolute),
            }
        })?;
        let (program, arguments) = command.value;
        let timeout =
            self.number(&table.timeout_seconds, key("timeout_seconds"), 1, external::MAX_TIMEOUT.as_secs())?;
        Ok(Ca::External(ExecSettings {
            program,
            arguments,
            timeout: timeout.map_or(external::DEFAULT_TIMEOUT, Duration::from_secs),
            lifetime: self.lifetime(&table.certificate_lifetime_seconds, key)?,
            search_path: external::DEFAULT_SEARCH_PATH.into(),
        }))
    }

    fn lifetime(
        &self,
        value: &Option<Spanned<u64>>,
        key: impl Fn(&str) -> String,
    ) -> Result<Duration, Error> {
        let (least, most) = (LIFETIMES.start().as_secs(), LIFETIMES.end().as_secs());
        let seconds = self.number(value, key("certificate_lifetime_seconds"), least, most)?;
        Ok(seconds.map_or(DEFAULT_LIFETIME, Duration::from_secs))
    }

    fn trust(&self, raw: &[Spanned<raw::Trust>]) -> Result<Vec<TrustFiles>, Error> {
        let mut lines: HashMap<Authority, usize> = HashMap::new();
        let mut trust = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            let at = table.span().start;
            let table = table.as_ref();
            let key = |name: &str| format!("trust[{index}].{name}");
            let name = self.required(&table.authority, at, key("authority"))?;
            let authority = name.map(|name| Authority::parse(name).map_err(Problem::Credentials))?;
            if let Some(line) = lines.insert(authority.value.clone(), authority.place.line) {
                let problem = Problem::AuthorityTwice { authority: authority.value.to_string(), line };
                return Err(authority.place.refuse(problem));
            }
            let roots = self.required(&table.roots, at, key("roots"))?;
            if roots.value.is_empty() {
                return Err(roots.place.refuse(Problem::NoRoots));
            }
            trust.push(TrustFiles {
                authority,
                roots: self.relatives(roots.value, &key("roots")),
                crls: self.relatives(&table.crls, &key("crls")),
            });
        }
        Ok(trust)
    }
}

/// A list of an authority has to cover every certificate of it, and none covers those of the signing service.
fn check_crls(trust: &[TrustFiles], ca: Option<&Ca>) -> Result<(), Error> {
    let Some(Ca::SigningService(settings)) = ca else { return Ok(()) };
    for entry in trust {
        if let Some(list) = entry.crls.first()
            && settings.authorities.contains(&entry.authority.value)
        {
            let authority = entry.authority.value.to_string();
            return Err(list.place.refuse(Problem::CrlOfSigningService { authority }));
        }
    }
    Ok(())
}

/// An account as it is written in a configuration.
pub(super) fn account(name: &str) -> Result<Identity, Problem> {
    Identity::parse(name).map_err(|problem| Problem::AccountInvalid { name: name.to_owned(), problem })
}

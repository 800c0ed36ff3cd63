//! The addresses that programs call on, and who their callers are.

use std::fmt;

use alts_handshake::Identity;
use toml::Spanned;

use super::{
    address::Address,
    error::{Error, Problem},
    identities::{Identities, account},
    raw,
    text::Text,
};

/// One address to serve on, and who its callers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: Address,
    pub(crate) callers: Callers,
}

/// Who the callers of a listener are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// Each is the workload that the kernel says it is.
    Attested,
    /// All of them are this one: only one workload can reach the socket.
    Fixed(Identity),
}

impl fmt::Display for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attested => f.write_str("attested"),
            Self::Fixed(identity) => f.write_str(identity.account()),
        }
    }
}

impl Text<'_> {
    pub(super) fn listeners(
        &self,
        raw: &[Spanned<raw::Listener>],
        identities: &Identities,
    ) -> Result<Vec<Listener>, Error> {
        if raw.is_empty() {
            return Err(self.place(0, "handshaker.listener").refuse(Problem::NoListener));
        }
        let mut listeners: Vec<Listener> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            let at = table.span().start;
            let table = table.as_ref();
            let key = |name: &str| format!("handshaker.listener[{index}].{name}");
            let text = self.required(&table.address, at, key("address"))?;
            let mut address = text.map(|text| Address::parse(text).map_err(Problem::Address))?;
            if let Some(mode) = &table.mode {
                let refuse = |problem| self.at(mode, key("mode")).refuse(Problem::Address(problem));
                address.value = address.value.with_mode(mode.as_ref()).map_err(refuse)?;
            }
            if let Some(other) = listeners.iter().position(|other| other.address.same_place(&address.value)) {
                let line = lines[other];
                let problem = Problem::AddressTwice { address: address.value.to_string(), line };
                return Err(address.place.refuse(problem));
            }
            let callers = match &table.identity {
                Some(name) => {
                    let name = self.placed(name, key("identity"));
                    Callers::Fixed(name.map(|name| defined(name, identities))?.value)
                }
                None if identities.has_workloads() => Callers::Attested,
                None => return Err(self.place(at, key("identity")).refuse(Problem::NobodyToAttest)),
            };
            lines.push(address.place.line);
            listeners.push(Listener { address: address.value, callers });
        }
        Ok(listeners)
    }
}

/// The identity whose account is `name`, in any spelling.
fn defined(name: &str, identities: &Identities) -> Result<Identity, Problem> {
    let wanted = account(name)?;
    let defined = identities.get(wanted.account()).cloned();
    defined.ok_or_else(|| Problem::IdentityUndefined { account: wanted.to_string() })
}

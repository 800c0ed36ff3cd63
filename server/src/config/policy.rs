//! Who may talk to whom: the section `policy`.

use std::path::PathBuf;

use toml::Spanned;

use super::{
    error::{Error, Placed, Problem},
    raw,
    text::Text,
};
use crate::policy::Action;

/// Where peer lists come from, beside the store, and what holds where they say nothing.
#[derive(Clone, Debug)]
pub(crate) struct PolicySettings {
    pub(crate) default: Action,
    /// Documents of lists, rules and target names.
    pub(crate) files: Vec<Placed<PathBuf>>,
}

impl Text<'_> {
    /// There is no default of the default: an operator says whether strangers are let in.
    pub(super) fn policy(&self, table: Option<&Spanned<raw::Policy>>) -> Result<PolicySettings, Error> {
        let Some(table) = table else {
            return Err(self.place(0, "policy.default").refuse(Problem::PolicyMissing));
        };
        let at = table.span().start;
        let table = table.as_ref();
        let default = match &table.default {
            Some(default) => self.placed(default, "policy.default").map(|word| match word.as_str() {
                "allow" => Ok(Action::Allow),
                "deny" => Ok(Action::Deny),
                other => Err(Problem::PolicyDefault(other.to_owned())),
            })?,
            None => return Err(self.place(at, "policy.default").refuse(Problem::PolicyMissing)),
        };
        Ok(PolicySettings { default: default.value, files: self.relatives(&table.files, "policy.files") })
    }
}

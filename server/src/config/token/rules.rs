//! Who gets which tokens: the sections `token.rule`.

use toml::Spanned;

use super::{IssuerSettings, plain_name};
use crate::{
    config::{
        error::{Error, Problem},
        raw,
        text::Text,
    },
    token::{
        pattern::Pattern,
        rule::{Rule, Rules},
        subject::{ALTS, LOCAL, OWN, Origin},
    },
};

/// Most rules of a node, and most entries of one list.
const MAX_RULES: usize = 4_096;
const MAX_ENTRIES: usize = 1_024;

type Strings = Option<Spanned<Vec<Spanned<String>>>>;

impl Text<'_> {
    pub(super) fn token_rules(
        &self,
        raw: &[Spanned<raw::TokenRule>],
        issuers: &[IssuerSettings],
        max_lifetime: u64,
    ) -> Result<Rules, Error> {
        let mut rules = Vec::new();
        for (index, table) in raw.iter().enumerate() {
            if index == MAX_RULES {
                return Err(self.at(table, "token.rule").refuse(Problem::TooMany { limit: MAX_RULES }));
            }
            rules.push(
                self.token_rule(table, issuers, max_lifetime, &|name| format!("token.rule[{index}].{name}"))?,
            );
        }
        Ok(Rules::new(rules))
    }

    fn token_rule(
        &self,
        table: &Spanned<raw::TokenRule>,
        issuers: &[IssuerSettings],
        max_lifetime: u64,
        key: &dyn Fn(&str) -> String,
    ) -> Result<Rule, Error> {
        let at = table.span().start;
        let table = table.as_ref();
        let required = |list: &Strings, name: &str| self.required(list, at, key(name)).map(drop);
        required(&table.issuers, "issuers")?;
        required(&table.subjects, "subjects")?;
        required(&table.audiences, "audiences")?;
        let origin = |text: &str| origin(text, issuers);
        let audiences = self.each(&table.audiences, key("audiences"), plain_name)?;
        let default_audience = match &table.default_audience {
            Some(text) => Some(self.placed(text, key("default_audience")).map(|text| {
                let known = audiences.contains(text);
                known.then(|| text.clone()).ok_or_else(|| Problem::DefaultAudience(text.clone()))
            })?),
            None => None,
        };
        let drops_scopes = match &table.unknown_scopes {
            Some(word) => {
                self.placed(word, key("unknown_scopes"))
                    .map(|word| match word.as_str() {
                        "drop" => Ok(true),
                        "refuse" => Ok(false),
                        other => Err(Problem::UnknownScopes(other.to_owned())),
                    })?
                    .value
            }
            None => true,
        };
        let lifetime =
            self.number(&table.max_lifetime_seconds, key("max_lifetime_seconds"), 60, max_lifetime)?;
        let actor_origins = match &table.actor_issuers {
            Some(_) => self.each(&table.actor_issuers, key("actor_issuers"), origin)?,
            None => vec![Origin::Local],
        };
        Ok(Rule {
            origins: self.each(&table.issuers, key("issuers"), origin)?,
            subjects: self.each(&table.subjects, key("subjects"), pattern)?,
            callers: self.each(&table.callers, key("callers"), pattern)?,
            actors: self.each(&table.actors, key("actors"), pattern)?,
            actor_origins,
            impersonation: table.impersonation,
            audiences,
            default_audience: default_audience.map(|placed| placed.value),
            many_audiences: table.many_audiences,
            scopes: self.each(&table.scopes, key("scopes"), scope)?,
            drops_scopes,
            max_lifetime: lifetime.unwrap_or(max_lifetime),
            one_time: table.one_time,
        })
    }

    /// What each entry of a list means. A list that is there is not empty.
    fn each<T>(
        &self,
        list: &Strings,
        key: String,
        read: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Error> {
        let Some(list) = list else { return Ok(Vec::new()) };
        match list.as_ref().len() {
            0 => return Err(self.at(list, key).refuse(Problem::ListEmpty)),
            length if length > MAX_ENTRIES => {
                return Err(self.at(list, key).refuse(Problem::TooMany { limit: MAX_ENTRIES }));
            }
            _ => {}
        }
        let one = |(number, text): (usize, &Spanned<String>)| {
            Ok(self.placed(text, format!("{key}[{number}]")).map(|text| read(text))?.value)
        };
        list.as_ref().iter().enumerate().map(one).collect()
    }
}

fn origin(text: &str, issuers: &[IssuerSettings]) -> Result<Origin, Problem> {
    match text {
        LOCAL => Ok(Origin::Local),
        ALTS => Ok(Origin::Alts),
        OWN => Ok(Origin::Own),
        name if issuers.iter().any(|issuer| issuer.issuer.value == name) => {
            Ok(Origin::Issuer(name.to_owned()))
        }
        name => Err(Problem::IssuerUndefined(name.chars().take(80).collect())),
    }
}

fn pattern(text: &str) -> Result<Pattern, Problem> {
    let name = plain_name(text)?;
    Pattern::parse(&name).ok_or(Problem::NamePattern(name))
}

/// A scope token of RFC 6749, section 3.3.
fn scope(text: &str) -> Result<String, Problem> {
    let plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let good = !text.is_empty() && text.len() <= super::MAX_NAME && text.bytes().all(plain);
    good.then(|| text.to_owned()).ok_or_else(|| Problem::Scope(text.chars().take(80).collect()))
}

//! The part of Google's metadata server that programs ask for tokens: paths and answers, as values.
//!
//! A program with a library of Google's finds here, unchanged, who it is and a token that says so. There is nothing
//! else of that server: no project, no zone, no attributes. A request is read by [`Question::read`], answered for the
//! accounts of its caller by [`Question::of`], and where that takes a token, by [`Order::filled`].

mod answer;
mod query;

pub(crate) use self::answer::Answer;
use self::query::{Form, Query, unescaped};

/// The header that a request must have, and each answer has, and its only value.
pub(crate) const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");

/// What programs call their first account by.
const DEFAULT: &str = "default";

/// What there is of each account, as listings have it.
const LEAVES: [&str; 5] = ["aliases", "email", "identity", "scopes", "token"];

/// A request, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// As it was sent, with its escapes.
    pub(crate) path: &'a str,
    /// What follows the `?`, as it was sent.
    pub(crate) query: &'a str,
    /// Whether it has [`FLAVOR`].
    pub(crate) has_flavor: bool,
    /// Whether it says that it was passed on for somebody else.
    pub(crate) is_forwarded: bool,
}

/// An account of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// What tokens may allow it.
    pub(crate) scopes: Vec<String>,
}

/// A request that only needs to know who calls.
#[derive(Debug)]
pub(crate) struct Question {
    place: Place,
    query: Query,
}

/// Where in the tree of names a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// A directory above the accounts.
    Above(&'static Directory),
    /// What follows `service-accounts/`, without its escapes; empty for all of them.
    Accounts(String),
}

/// A directory with one entry, and how JSON calls what is in it, from itself down to the accounts.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    path: &'static str,
    entry: &'static str,
    /// How all that is below it is called, if that can be asked for at once.
    keys: Option<&'static [&'static str]>,
}

const DIRECTORIES: [Directory; 4] = [
    Directory { path: "/", entry: "computeMetadata/", keys: None },
    Directory { path: "/computeMetadata/", entry: "v1/", keys: None },
    Directory {
        path: "/computeMetadata/v1/",
        entry: "instance/",
        keys: Some(&["instance", "serviceAccounts"]),
    },
    Directory {
        path: "/computeMetadata/v1/instance/",
        entry: "service-accounts/",
        keys: Some(&["serviceAccounts"]),
    },
];

const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts/";

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Answer(Answer),
    Issue(Order),
}

/// A token to be issued to the caller about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The account that it is to be about.
    pub(crate) account: String,
    pub(crate) kind: Kind,
}

/// What kind of token it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A JWT that says who the caller is.
    Identity { audience: String, with_email: bool },
    /// An access token for the default audience.
    Access { scopes: Vec<String> },
}

impl Question {
    /// Reads a request. `Err` is the answer to one that is refused, or that needs to know nothing of its caller.
    pub(crate) fn read(asked: &Asked<'_>) -> Result<Self, Answer> {
        if asked.method != "GET" {
            return Err(Answer::method());
        }
        if asked.is_forwarded {
            return Err(Answer::forwarded());
        }
        // Clients look whether there is a metadata server at all without the header.
        let is_free = matches!(asked.path, "/" | "/computeMetadata" | "/computeMetadata/");
        if !asked.has_flavor && !is_free {
            return Err(Answer::no_flavor());
        }
        let place = Place::of(asked.path).ok_or_else(Answer::nothing_there)?;
        let query = Query::read(asked.query).map_err(Answer::parameter)?;
        match &place {
            Place::Above(directory) if !query.recursive || directory.keys.is_none() => {
                Err(Answer::listing(&[directory.entry.to_owned()], &query))
            }
            _ => Ok(Self { place, query }),
        }
    }

    /// Whether it is a token that is asked for, whoever gets it.
    pub(crate) fn wants_token(&self) -> bool {
        let leaf = match &self.place {
            Place::Above(_) => None,
            Place::Accounts(rest) => rest.rsplit_once('/').map(|(_, leaf)| leaf),
        };
        matches!(leaf, Some("token" | "identity"))
    }

    /// The answer to a caller who has these accounts, the first of which is its default.
    pub(crate) fn of(self, accounts: &[Account]) -> Next {
        let Self { place, query } = self;
        let rest = match &place {
            Place::Above(directory) => {
                return Next::Answer(Answer::everything(
                    directory.keys.unwrap_or_default(),
                    accounts,
                    &query,
                ));
            }
            Place::Accounts(rest) if rest.is_empty() => {
                return Next::Answer(match query.recursive {
                    true => Answer::everything(&[], accounts, &query),
                    false => Answer::listing(&entries(accounts), &query),
                });
            }
            Place::Accounts(rest) => rest,
        };
        let Some((account, is_default, leaf)) = find(rest, accounts) else {
            return Next::Answer(Answer::no_such_account());
        };
        match leaf {
            "" if query.recursive => Next::Answer(Answer::account(account, is_default, &query)),
            "" => Next::Answer(Answer::listing(&LEAVES.map(str::to_owned), &query)),
            "aliases" => Next::Answer(Answer::list(&aliases(is_default), &query)),
            "email" => Next::Answer(Answer::value(&account.name, &query)),
            "scopes" => Next::Answer(Answer::list(&account.scopes, &query)),
            "identity" => identity(account, query),
            "token" => {
                let scopes = query.scopes.unwrap_or_else(|| account.scopes.clone());
                Next::Issue(Order { account: account.name.clone(), kind: Kind::Access { scopes } })
            }
            _ => Next::Answer(Answer::nothing_there()),
        }
    }
}

impl Order {
    /// The answer with a token of this kind, that ends in so many seconds.
    pub(crate) fn filled(&self, token: &str, seconds: u64) -> Answer {
        match self.kind {
            Kind::Identity { .. } => Answer::identity(token),
            Kind::Access { .. } => Answer::token(token, seconds),
        }
    }
}

impl Place {
    /// The place of a path, also if it lacks the slash at its end.
    fn of(path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix(ACCOUNTS) {
            return Some(Self::Accounts(unescaped(rest, false)?));
        }
        if ACCOUNTS.strip_suffix('/') == Some(path) {
            return Some(Self::Accounts(String::new()));
        }
        let is_it = |directory: &&Directory| {
            directory.path == path || directory.path.strip_suffix('/').is_some_and(|bare| bare == path)
        };
        DIRECTORIES.iter().find(is_it).map(Self::Above)
    }
}

fn identity(account: &Account, query: Query) -> Next {
    let Some(audience) = query.audience.filter(|audience| !audience.trim().is_empty()) else {
        return Next::Answer(Answer::no_audience());
    };
    let with_email = query.format == Form::Full;
    Next::Issue(Order { account: account.name.clone(), kind: Kind::Identity { audience, with_email } })
}

/// The account that a path means, whether it is the default, and what of it is asked for.
///
/// Names with slashes stand in paths as they are: SPIFFE IDs do, and libraries make one slash of two. The longest name
/// counts, so that `.../orders/token` is all of an account of this name, if the caller has one.
fn find<'a, 'b>(rest: &'b str, accounts: &'a [Account]) -> Option<(&'a Account, bool, &'b str)> {
    let first = accounts.first();
    let named = accounts.iter().flat_map(|account| {
        [account.name.clone(), account.name.replace("//", "/")].map(|name| (name, account))
    });
    let all = first.map(|account| (DEFAULT.to_owned(), account)).into_iter().chain(named);
    let found = all.filter_map(|(name, account)| {
        let leaf = rest.strip_prefix(&name)?;
        let leaf = if leaf.is_empty() { leaf } else { leaf.strip_prefix('/')? };
        Some((name.len(), (account, first == Some(account), leaf)))
    });
    // Of two that mean the same the first one is as good.
    found.max_by_key(|(length, _)| *length).map(|(_, found)| found)
}

/// The names under which accounts are listed.
fn entries(accounts: &[Account]) -> Vec<String> {
    let first = accounts.first().map(|_| format!("{DEFAULT}/"));
    first.into_iter().chain(accounts.iter().map(|account| format!("{}/", account.name))).collect()
}

/// How else an account is called.
fn aliases(is_default: bool) -> Vec<String> {
    is_default.then(|| DEFAULT.to_owned()).into_iter().collect()
}

#[cfg(test)]
mod tests;

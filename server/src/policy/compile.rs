//! The policy in the form that handshakes are decided by.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use alts_handshake::Identity;

use super::{
    index::{Members, PatternIndex},
    model::{Action, Mode, PeerList, Rule, Side},
    name::Name,
    pattern::AccountPattern,
    resources::{Entry, Named, Resources, effective},
    revocations::Revocations,
    target::{TargetKey, TargetName},
};

/// What a policy is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sources<'a> {
    /// For peers that no rule decides.
    pub(crate) default: Action,
    pub(crate) files: &'a Resources,
    /// Where both have a resource of a name, this one counts.
    pub(crate) store: &'a Resources,
    pub(crate) revocations: &'a Arc<Revocations>,
}

/// All rules of a node. It does not change; an [`Arc`] of it is shared.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(super) default: Action,
    pub(super) revocations: Arc<Revocations>,
    pub(super) target_names: HashMap<Box<str>, Entry<TargetName>>,
    /// In the order of their names: of two, the lower number is the lower name.
    pub(super) rules: Vec<CompiledRule>,
    server_rules: PatternIndex<Vec<u32>>,
    client_rules: PatternIndex<Vec<u32>>,
    lists: BTreeMap<Name, Arc<CompiledList>>,
    problems: Vec<PolicyProblem>,
}

/// What is not as it was meant. The policy is decided by all the same, and nobody gets anything by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyProblem {
    #[error(
        "rule {rule} names list {list}, which there is not: {}", nobody(*action)
    )]
    ListMissing { rule: Name, list: Name, action: Action },
    #[error("list {list} cannot be read: it counts as one that there is not")]
    ListUnreadable { list: Name },
    #[error("rule {rule} cannot be read: it denies everybody at every account; repair or delete it")]
    RuleUnreadable { rule: Name },
    #[error("target name {name} cannot be read: nobody can be called by it; repair or delete it")]
    TargetNameUnreadable { name: TargetKey },
}

fn nobody(action: Action) -> &'static str {
    match action {
        Action::Allow => "it allows nobody by that list",
        Action::Deny => "it denies everybody",
    }
}

/// A list, and what finds its members. It is taken over into the next policy as long as it does not change.
#[derive(Debug)]
pub(super) struct CompiledList {
    source: Arc<PeerList>,
    pub(super) members: Members,
}

#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) name: Name,
    pub(super) action: Action,
    pub(super) mode: Mode,
    /// `None` of a rule that cannot be read.
    pub(super) body: Option<RuleBody>,
}

#[derive(Debug)]
pub(super) struct RuleBody {
    pub(super) source: Arc<Rule>,
    /// Those that the rule names itself.
    pub(super) own: Arc<Members>,
    /// `None` of a list that there is not, or that cannot be read.
    pub(super) lists: Vec<(Name, Option<Arc<CompiledList>>)>,
}

impl Policy {
    /// Never fails: what is wrong with the sources is among [`Self::problems`], and closes what it concerns. What has
    /// not changed since `previous` is taken over from it.
    pub(crate) fn compile(sources: Sources<'_>, previous: Option<&Self>) -> Self {
        let Sources { default, files, store, revocations } = sources;
        let mut policy = Self {
            default,
            revocations: revocations.clone(),
            target_names: HashMap::new(),
            rules: Vec::new(),
            server_rules: PatternIndex::default(),
            client_rules: PatternIndex::default(),
            lists: BTreeMap::new(),
            problems: Vec::new(),
        };
        policy.add_lists(&files.peer_lists, &store.peer_lists, previous);
        policy.add_rules(&files.rules, &store.rules, previous);
        for (name, entry) in effective(&files.target_names, &store.target_names) {
            if matches!(entry, Entry::Unreadable) {
                policy.problems.push(PolicyProblem::TargetNameUnreadable { name: name.clone() });
            }
            policy.target_names.insert(name.as_str().into(), entry.clone());
        }
        policy
    }

    /// What is wrong with what it was made of.
    pub(crate) fn problems(&self) -> &[PolicyProblem] {
        &self.problems
    }

    /// A list as it is compiled, to be compared with that of another policy.
    #[cfg(test)]
    pub(super) fn shared_list(&self, name: &Name) -> Option<Arc<CompiledList>> {
        self.lists.get(name).cloned()
    }

    /// For peers that no rule decides.
    pub(crate) fn default_action(&self) -> Action {
        self.default
    }

    /// The rules that apply to a local account on a side, by their numbers, in no order.
    pub(super) fn applying<'a>(
        &'a self,
        side: Side,
        local: &'a Identity,
    ) -> impl Iterator<Item = (u32, &'a CompiledRule)> {
        let index = match side {
            Side::Server => &self.server_rules,
            Side::Client => &self.client_rules,
        };
        let numbers = index.matching(local).flat_map(|(_, numbers)| numbers);
        numbers.filter_map(|number| Some((*number, self.rule(*number)?)))
    }

    pub(super) fn rule(&self, number: u32) -> Option<&CompiledRule> {
        self.rules.get(usize::try_from(number).ok()?)
    }

    fn add_lists(&mut self, files: &Named<PeerList>, store: &Named<PeerList>, previous: Option<&Self>) {
        for (name, entry) in effective(files, store) {
            let Entry::Good(source) = entry else {
                self.problems.push(PolicyProblem::ListUnreadable { list: name.clone() });
                continue;
            };
            let kept = previous
                .and_then(|previous| previous.lists.get(name))
                .filter(|list| is_same(&list.source, source));
            let list = kept.cloned().unwrap_or_else(|| {
                Arc::new(CompiledList { source: source.clone(), members: Members::of(source.peers()) })
            });
            self.lists.insert(name.clone(), list);
        }
    }

    fn add_rules(&mut self, files: &Named<Rule>, store: &Named<Rule>, previous: Option<&Self>) {
        // More rules than a u32 counts do not fit into memory; those behind it would be lost, so they are not made.
        for (number, (name, entry)) in (0_u32..).zip(effective(files, store)) {
            let rule = match entry {
                Entry::Good(source) => {
                    self.numbers(source.side(), source.local()).push(number);
                    self.compile_rule(source, previous)
                }
                Entry::Unreadable => {
                    self.problems.push(PolicyProblem::RuleUnreadable { rule: name.clone() });
                    self.numbers(Side::Server, &AccountPattern::Any).push(number);
                    self.numbers(Side::Client, &AccountPattern::Any).push(number);
                    CompiledRule { name: name.clone(), action: Action::Deny, mode: Mode::Enforce, body: None }
                }
            };
            self.rules.push(rule);
        }
    }

    fn compile_rule(&mut self, source: &Arc<Rule>, previous: Option<&Self>) -> CompiledRule {
        let kept = previous
            .and_then(|previous| previous.body_of(source.name()))
            .filter(|body| is_same(&body.source, source));
        let own = kept.map_or_else(|| Arc::new(Members::of(source.peers())), |body| body.own.clone());
        let mut lists = Vec::with_capacity(source.peer_lists().len());
        for list in source.peer_lists() {
            let found = self.lists.get(list).cloned();
            if found.is_none() {
                self.problems.push(PolicyProblem::ListMissing {
                    rule: source.name().clone(),
                    list: list.clone(),
                    action: source.action(),
                });
            }
            lists.push((list.clone(), found));
        }
        let body = RuleBody { source: source.clone(), own, lists };
        CompiledRule {
            name: source.name().clone(),
            action: source.action(),
            mode: source.mode(),
            body: Some(body),
        }
    }

    fn body_of(&self, name: &Name) -> Option<&RuleBody> {
        let place = self.rules.binary_search_by(|rule| rule.name.cmp(name)).ok()?;
        self.rules[place].body.as_ref()
    }

    fn numbers(&mut self, side: Side, local: &AccountPattern) -> &mut Vec<u32> {
        match side {
            Side::Server => self.server_rules.entry(local),
            Side::Client => self.client_rules.entry(local),
        }
    }
}

fn is_same<T: PartialEq>(one: &Arc<T>, other: &Arc<T>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

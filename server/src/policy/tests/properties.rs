//! The indexed decision is the one that reading all rules one by one comes to.

use proptest::prelude::*;

use super::*;

/// Few names, so that rules and peers meet often.
fn account_pattern() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "*",
        "*@d",
        "*@e",
        "a@d",
        "b@d",
        "a@e",
        "spiffe://d/a",
        "spiffe://d/a/b",
        "spiffe://d/ab",
        "spiffe://d/*",
        "spiffe://d/a/*",
        "spiffe://d/a/b/*",
        "spiffe://e/*",
    ])
    .prop_map(str::to_owned)
}

fn peer_match() -> impl Strategy<Value = String> {
    let others = prop::sample::select(vec![
        "trust-domain:d".to_owned(),
        "trust-domain:e".to_owned(),
        format!("ca-key-sha256:{}", "81".repeat(32)),
        format!("ca-key-sha256:{}", "82".repeat(32)),
        format!("key-sha256:{}", "81".repeat(32)),
        format!("key-sha256:{}", "82".repeat(32)),
    ]);
    prop_oneof![4 => account_pattern(), 1 => others]
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a@d",
        "b@d",
        "a@e",
        "c@e",
        "spiffe://d/a",
        "spiffe://d/ab",
        "spiffe://d/a/b",
        "spiffe://d/a/b/c",
        "spiffe://e/a",
        "a@d spiffe://e/x",
        "c@f spiffe://d/a/b",
    ])
    .prop_map(str::to_owned)
}

#[derive(Clone, Debug)]
struct SomeRule {
    local: String,
    side: Side,
    action: Action,
    mode: Mode,
    peers: Vec<String>,
    lists: Vec<usize>,
}

fn some_rule() -> impl Strategy<Value = SomeRule> {
    let side = prop::sample::select(vec![Side::Server, Side::Client]);
    let action = prop::sample::select(vec![Action::Allow, Action::Deny]);
    let mode = prop::sample::select(vec![Mode::Enforce, Mode::Enforce, Mode::Shadow]);
    let peers = prop::collection::btree_set(peer_match(), 1..3);
    // The last of four lists is never there.
    let lists = prop::collection::btree_set(0_usize..4, 0..2);
    (account_pattern(), side, action, mode, peers, lists).prop_map(
        |(local, side, action, mode, peers, lists)| {
            let (peers, lists) = (peers.into_iter().collect(), lists.into_iter().collect());
            SomeRule { local, side, action, mode, peers, lists }
        },
    )
}

fn toml_of(rules: &[SomeRule], lists: &[Vec<String>]) -> String {
    let list = |(number, peers): (usize, &Vec<String>)| {
        format!("[[peer_list]]\nname = \"l{number}\"\npeers = {peers:?}\n")
    };
    let rule = |(number, rule): (usize, &SomeRule)| {
        let SomeRule { local, side, action, mode, peers, lists } = rule;
        let lists: Vec<_> = lists.iter().map(|list| format!("l{list}")).collect();
        format!(
            "[[rule]]\nname = \"r{number:02}\"\nlocal = {local:?}\nside = \"{side}\"\naction = \"{action}\"\n\
             mode = \"{mode}\"\npeers = {peers:?}\npeer_lists = {lists:?}\n"
        )
    };
    let lists: String = lists.iter().enumerate().map(list).collect();
    let rules: String = rules.iter().enumerate().map(rule).collect();
    format!("rule = []\n{lists}").replace("rule = []\n", if rules.is_empty() { "rule = []\n" } else { "" })
        + &rules
}

/// Whether a pattern is of a workload, by its text alone.
fn is_of(pattern: &str, names: &str) -> bool {
    names.split(' ').any(|name| {
        let is_id = name.starts_with("spiffe://");
        match pattern {
            "*" => true,
            _ if pattern.starts_with("*@") => !is_id && name.ends_with(&pattern[1..]),
            _ if pattern.starts_with("trust-domain:") => {
                is_id && name.starts_with(&format!("spiffe://{}/", &pattern["trust-domain:".len()..]))
            }
            _ if pattern.ends_with("/*") => name.starts_with(&pattern[..pattern.len() - 1]),
            _ => pattern == name,
        }
    })
}

/// The leaf of every peer here has the key `81…`, and its authority `82…`.
fn is_peer(pattern: &str, names: &str) -> bool {
    is_of(pattern, names) || pattern.starts_with("ca-key-sha256:82") || pattern.starts_with("key-sha256:81")
}

fn reference(
    rules: &[SomeRule],
    lists: &[Vec<String>],
    default: Action,
    (side, local, by): (Side, &str, &str),
    with_shadow: bool,
) -> (Reason, Option<String>) {
    let matches = |rule: &SomeRule| {
        let by_list = |list: &usize| match lists.get(*list) {
            Some(peers) => peers.iter().any(|peer| is_peer(peer, by)),
            None => rule.action == Action::Deny,
        };
        rule.peers.iter().any(|peer| is_peer(peer, by)) || rule.lists.iter().any(by_list)
    };
    let applying: Vec<_> = rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| rule.side == side && is_of(&rule.local, local))
        .filter(|(_, rule)| with_shadow || rule.mode == Mode::Enforce)
        .collect();
    let first = |action: Action, all: bool| {
        let found = applying.iter().find(|(_, rule)| rule.action == action && (all || matches(rule)));
        found.map(|(number, _)| format!("r{number:02}"))
    };
    if let Some(rule) = first(Action::Deny, false) {
        return (Reason::DeniedByRule, Some(rule));
    }
    if let Some(rule) = first(Action::Allow, false) {
        return (Reason::AllowedByRule, Some(rule));
    }
    match (first(Action::Allow, true), default) {
        (Some(rule), _) => (Reason::DeniedNotListed, Some(rule)),
        (None, Action::Allow) => (Reason::AllowedByDefault, None),
        (None, Action::Deny) => (Reason::DeniedByDefault, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn an_index_decides_as_reading_all_rules_does(
        rules in prop::collection::vec(some_rule(), 0..12),
        lists in prop::collection::vec(
            prop::collection::btree_set(peer_match(), 0..4).prop_map(Vec::from_iter), 3),
        default in prop::sample::select(vec![Action::Allow, Action::Deny]),
        side in prop::sample::select(vec![Side::Server, Side::Client]),
        local in names(),
        by in names(),
    ) {
        let policy = policy(default, &toml_of(&rules, &lists));
        let found = decide(&policy, side, &local, &by, "");
        let asked = (side, local.as_str(), by.as_str());
        let expected = reference(&rules, &lists, default, asked, false);
        prop_assert_eq!((found.reason, found.rule.map(|rule| rule.to_string())), expected);
        prop_assert_eq!(found.verdict.is_ok(), found.reason.allows());
        let applies = |rule: &SomeRule| rule.side == side && is_of(&rule.local, &local);
        let has_shadow = rules.iter().any(|rule| rule.mode == Mode::Shadow && applies(rule));
        let expected = has_shadow.then(|| reference(&rules, &lists, default, asked, true));
        let found = found.shadow.map(|it| (it.reason, it.rule.map(|rule| rule.to_string())));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_text_makes_a_parser_fall(text in "\\PC{0,40}", bytes in ".{0,40}") {
        for text in [text.as_str(), bytes.as_str()] {
            if let Ok(found) = PeerMatch::parse(text) {
                prop_assert_eq!(PeerMatch::parse(&found.to_string()), Ok(found));
            }
            if let Ok(found) = TargetKey::parse(text) {
                prop_assert_eq!(TargetKey::parse(found.as_str()), Ok(found.clone()));
            }
            if let Ok(found) = Key::parse(text) {
                prop_assert_eq!(found.to_text(), text);
            }
            for format in [Format::Toml, Format::Yaml] {
                if let Err(problems) = parse(text, format) {
                    prop_assert!(!problems.is_empty());
                }
            }
        }
    }
}

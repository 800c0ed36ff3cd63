//! Files and the store together, what is missing, and what is taken over.

use super::*;

const PEER: &str = "web@prod.example.com";

fn list(name: &str, peers: &[&str]) -> String {
    format!("[[peer_list]]\nname = {name:?}\npeers = {peers:?}\n")
}

fn by_list(action: &str, mode: &str, list: &str) -> String {
    rule("r", action, mode, "x@d").replace("peers = [\"x@d\"]", &format!("peer_lists = [{list:?}]"))
}

fn compiled(files: &str, store: &str, previous: Option<&Policy>) -> Policy {
    let of = |toml: &str| if toml.is_empty() { Resources::default() } else { resources(toml) };
    compile(&of(files), &of(store), previous)
}

fn compile(files: &Resources, store: &Resources, previous: Option<&Policy>) -> Policy {
    let revocations = Arc::default();
    Policy::compile(Sources { default: Action::Allow, files, store, revocations: &revocations }, previous)
}

#[test]
fn the_store_wins_over_files_by_kind_and_name() {
    let file = list("l", &[PEER]) + &by_list("allow", "enforce", "l");
    let allowed = |files: &str, store: &str| serve(&compiled(files, store, None), PEER).verdict.is_ok();
    assert!(allowed(&file, ""));
    // The list of the store is another.
    assert!(!allowed(&file, &list("l", &["other@d"])));
    assert!(allowed(&file, &list("l2", &["other@d"])));
    // The rule is; a rule of another name comes beside it.
    assert!(!allowed(&file, &rule("r", "deny", "enforce", PEER)));
    assert!(!allowed(&file, &rule("r2", "deny", "enforce", PEER)));
    assert!(allowed(&rule("r", "deny", "enforce", PEER), &rule("r", "allow", "enforce", PEER)));
    assert!(!allowed(&rule("r", "deny", "enforce", PEER), &rule("r2", "allow", "enforce", PEER)));
}

#[test]
fn a_target_name_of_the_store_wins_whatever_its_spelling() {
    let target =
        |name: &str, account: &str| format!("[[target_name]]\nname = {name:?}\naccounts = [{account:?}]\n");
    let policy = compiled(&target("T.example.", "a@d"), &target("t.EXAMPLE", "b@d"), None);
    assert!(decide(&policy, Side::Client, LOCAL, "b@d", "t.example:1").verdict.is_ok());
    assert!(decide(&policy, Side::Client, LOCAL, "a@d", "t.example:1").verdict.is_err());
}

#[test]
fn what_counts_is_in_the_order_of_names_and_the_stores_where_both_have_it() {
    let files = resources(&[list("a", &[]), list("b", &[]), list("d", &[])].concat());
    let store = resources(&[list("b", &[PEER]), list("c", &[PEER]), list("d", &[PEER])].concat());
    let found: Vec<_> = effective(&files.peer_lists, &store.peer_lists)
        .map(|(name, entry)| match entry {
            Entry::Good(list) => (name.as_str(), list.peers().len()),
            Entry::Unreadable => panic!("{name}"),
        })
        .collect();
    assert_eq!(found, [("a", 0), ("b", 1), ("c", 1), ("d", 1)]);
}

#[test]
fn a_list_that_is_missing_allows_nobody_and_denies_everybody() {
    let cases = [
        ("allow", "enforce", Reason::DeniedNotListed, None),
        ("deny", "enforce", Reason::DeniedByRule, None),
        ("allow", "shadow", Reason::AllowedByDefault, Some(Reason::DeniedNotListed)),
        ("deny", "shadow", Reason::AllowedByDefault, Some(Reason::DeniedByRule)),
    ];
    for (action, mode, reason, shadow) in cases {
        let policy = compiled(&by_list(action, mode, "gone"), "", None);
        let decision = serve(&policy, PEER);
        assert_eq!(
            (decision.reason, decision.shadow.map(|it| it.reason)),
            (reason, shadow),
            "{action} {mode}"
        );
        let [problem] = policy.problems() else { panic!("{:?}", policy.problems()) };
        assert!(problem.to_string().starts_with("rule r names list gone, which there is not"), "{problem}");
    }
}

#[test]
fn a_record_that_cannot_be_read_lets_nobody_in() {
    let name = |text: &str| Name::parse(text).expect("it is a name");
    let file = list("l", &[PEER]) + &by_list("allow", "enforce", "l");
    let files = resources(&file);
    // The list of the file does not come back in its place.
    let mut store = Resources::default();
    store.peer_lists.insert(name("l"), Entry::Unreadable);
    let policy = compile(&files, &store, None);
    assert_eq!(serve(&policy, PEER).reason, Reason::DeniedNotListed);
    assert_eq!(policy.problems().len(), 2, "{:?}", policy.problems());

    let mut store = Resources::default();
    store.rules.insert(name("z"), Entry::Unreadable);
    let policy = compile(&files, &store, None);
    for side in [Side::Server, Side::Client] {
        let decision = decide(&policy, side, "any@d", PEER, "");
        assert_eq!(why(&decision), "rule z cannot be read, and so denies everybody");
        assert_eq!(decision.rule.as_deref(), Some("z"));
    }

    let mut store = Resources::default();
    store.target_names.insert(TargetKey::parse("t:1").expect("it is a name"), Entry::Unreadable);
    let policy = compile(&Resources::default(), &store, None);
    assert_eq!(decide(&policy, Side::Client, LOCAL, PEER, "t:1").reason, Reason::TargetNameMismatch);
    assert!(decide(&policy, Side::Client, LOCAL, PEER, "t:2").verdict.is_ok());
}

#[test]
fn a_record_under_the_key_of_another_counts_as_one_that_cannot_be_read() {
    let resources = resources(&list("l", &[PEER]));
    let Some(Entry::Good(found)) = resources.peer_lists.values().next() else { panic!("{resources:?}") };
    let other = Name::parse("other").expect("it is a name");
    assert_eq!(Entry::under(&other, Some(PeerList::clone(found))), Entry::Unreadable);
    assert_eq!(Entry::under(found.name(), Some(PeerList::clone(found))), Entry::Good(found.clone()));
    assert_eq!(Entry::<PeerList>::under(&other, None), Entry::Unreadable);
}

#[test]
fn lists_that_did_not_change_are_taken_over_and_those_that_did_are_not() {
    let files = list("same", &["a@d"]) + &list("other", &["b@d"]) + &by_list("allow", "enforce", "same");
    let first = compiled(&files, "", None);
    let members = |policy: &Policy, list: &str| {
        let name = Name::parse(list).expect("it is a name");
        policy.shared_list(&name).map(|list| Arc::as_ptr(&list).addr())
    };
    let second = compiled(&files, &list("other", &["c@d"]), Some(&first));
    assert_eq!(members(&first, "same"), members(&second, "same"));
    assert_ne!(members(&first, "other"), members(&second, "other"));
    // What is taken over is what the new sources say, not what the old ones did.
    let third = compiled(&files, &list("same", &[PEER]), Some(&second));
    assert!(serve(&second, PEER).verdict.is_err() && serve(&third, PEER).verdict.is_ok());
    assert!(serve(&third, "a@d").verdict.is_err());
    // A list that goes away is not kept by the rules that named it.
    let fourth = compiled(&by_list("allow", "enforce", "same"), "", Some(&third));
    assert!(serve(&fourth, PEER).verdict.is_err());
    assert_eq!(fourth.problems().len(), 1);
}

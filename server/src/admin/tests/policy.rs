//! Peer lists, rules and target names, over a real socket, a real store and a real verifier.

use std::sync::Arc;

use alts_proto::{
    FieldMask,
    altsd::{self as api, Origin, ResourceState, apply_policy_response::change, rule},
};
use alts_store::{Expected, MAX_WRITES, MemoryStore, SledStore, Store};
use tonic::Code::{Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound};

use super::world::{World, refused};

const DOCUMENT: &str = "\
[[peer_list]]
name = 'shops'
peers = ['shop@x.example']
[[rule]]
name = 'orders-callers'
local = 'orders@x.example'
side = 'server'
action = 'allow'
peer_lists = ['shops']
";

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn list(name: &str, peers: &[&str]) -> api::PeerList {
    let name = if name.is_empty() { String::new() } else { format!("peerLists/{name}") };
    api::PeerList { name, peers: texts(peers), ..api::PeerList::default() }
}

fn create_list(id: &str, peers: &[&str]) -> api::CreatePeerListRequest {
    api::CreatePeerListRequest { peer_list_id: id.to_owned(), peer_list: Some(list("", peers)) }
}

fn rule(name: &str, lists: &[&str]) -> api::Rule {
    api::Rule {
        name: format!("rules/{name}"),
        local: "orders@x.example".to_owned(),
        side: rule::Side::Server.into(),
        action: rule::Action::Allow.into(),
        peer_lists: lists.iter().map(|list| format!("peerLists/{list}")).collect(),
        ..api::Rule::default()
    }
}

fn create_rule(id: &str, lists: &[&str]) -> api::CreateRuleRequest {
    api::CreateRuleRequest { rule_id: id.to_owned(), rule: Some(rule(id, lists)) }
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: texts(paths) })
}

fn update_list(peer_list: api::PeerList, paths: &[&str]) -> api::UpdatePeerListRequest {
    api::UpdatePeerListRequest { peer_list: Some(peer_list), update_mask: mask(paths), allow_missing: false }
}

fn get_list(name: &str) -> api::GetPeerListRequest {
    api::GetPeerListRequest { name: format!("peerLists/{name}") }
}

fn check(peer: &str) -> api::CheckPeerRequest {
    api::CheckPeerRequest {
        local: "orders@x.example".to_owned(),
        peer: peer.to_owned(),
        side: rule::Side::Server.into(),
        ..api::CheckPeerRequest::default()
    }
}

#[tokio::test]
async fn what_is_created_is_decided_by_when_the_answer_comes() {
    let directory = tempfile::tempdir().expect("there is room");
    let sled: Arc<dyn Store> = Arc::new(SledStore::open(directory.path(), 1 << 20).expect("it is new"));
    for store in [memory(), sled] {
        let world = World::of(Some(store)).await;
        let mut client = world.policy();
        let created = client.create_peer_list(create_list("web", &["web@X.example"])).await;
        let created = created.expect("it is good").into_inner();
        assert_eq!((created.state(), created.origin()), (ResourceState::Active, Origin::Store));
        assert_eq!((&*created.name, created.peers), ("peerLists/web", texts(&["web@x.example"])));
        let rule =
            client.create_rule(create_rule("callers", &["web"])).await.expect("it is good").into_inner();
        assert_eq!((rule.state(), rule.mode()), (ResourceState::Active, rule::Mode::Enforce));

        let decided = client.check_peer(check("web@x.example")).await.expect("it can be said").into_inner();
        assert_eq!(
            (decided.allowed, &*decided.reason, &*decided.rule),
            (true, "allowed_by_rule", "rules/callers")
        );
        let denied = client.check_peer(check("bad@x.example")).await.expect("it can be said").into_inner();
        assert_eq!((denied.allowed, &*denied.reason), (false, "denied_not_listed"));
        assert!(denied.message.contains("callers says who may call orders@x.example"), "{}", denied.message);
        assert!(denied.steps.len() > 2, "{:?}", denied.steps);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_reason_and_nothing_is_kept() {
    let store = memory();
    let world = World::of(Some(store.clone())).await;
    let mut client = world.policy();
    let long = "a".repeat(64);
    for (id, peers, reason) in [
        ("", &["a@x.example"][..], "name_invalid"),
        ("A", &[], "name_invalid"),
        (&long, &[], "name_invalid"),
        ("a/b", &[], "name_invalid"),
        ("a", &["nobody"], "peer_match_invalid"),
        ("a", &["a@x.example", "a@X.example"], "twice"),
        ("a", &["key-sha256:00"], "peer_match_invalid"),
    ] {
        refused(client.create_peer_list(create_list(id, peers)).await, InvalidArgument, reason);
    }
    let request = api::CreatePeerListRequest { peer_list_id: "a".to_owned(), peer_list: None };
    refused(client.create_peer_list(request).await, InvalidArgument, "field_missing");

    let good = rule("a", &[]);
    let everybody = api::Rule { peers: texts(&["*"]), ..good.clone() };
    for (rule, code, reason) in [
        (good, InvalidArgument, "peers_missing"),
        (rule("a", &["web"]), FailedPrecondition, "list_unknown"),
        (api::Rule { side: 0, ..everybody.clone() }, InvalidArgument, "choice_unknown"),
        (api::Rule { side: 7, ..everybody.clone() }, InvalidArgument, "choice_unknown"),
        (api::Rule { action: 0, ..everybody.clone() }, InvalidArgument, "choice_unknown"),
        (api::Rule { mode: 9, ..everybody.clone() }, InvalidArgument, "choice_unknown"),
        (
            api::Rule { local: "**".to_owned(), ..everybody.clone() },
            InvalidArgument,
            "account_pattern_invalid",
        ),
        (api::Rule { peer_lists: texts(&["web"]), ..everybody }, InvalidArgument, "name_invalid"),
    ] {
        let request = api::CreateRuleRequest { rule_id: "a".to_owned(), rule: Some(rule) };
        refused(client.create_rule(request).await, code, reason);
    }
    for (id, accounts, reason) in [
        ("a b", &["a@x.example"][..], "name_invalid"),
        ("a:443", &[], "accounts_missing"),
        ("a", &["*"], "account_invalid"),
    ] {
        let target_name = Some(api::TargetName { accounts: texts(accounts), ..api::TargetName::default() });
        let request = api::CreateTargetNameRequest { target_name_id: id.to_owned(), target_name };
        refused(client.create_target_name(request).await, InvalidArgument, reason);
    }
    assert!(store.list("").await.expect("it answers").entries.is_empty());
}

#[tokio::test]
async fn without_a_store_nothing_is_changed_and_the_way_out_is_told() {
    let world = World::with(None, DOCUMENT).await;
    let mut client = world.policy();
    let text =
        refused(client.create_peer_list(create_list("a", &[])).await, FailedPrecondition, "store_missing");
    assert!(text.contains("`state_directory`"), "{text}");
    refused(
        client.update_peer_list(update_list(list("shops", &[]), &[])).await,
        FailedPrecondition,
        "store_missing",
    );
    let request = api::DeletePeerListRequest { name: "peerLists/shops".to_owned(), ..Default::default() };
    refused(client.delete_peer_list(request).await, FailedPrecondition, "store_missing");
    let request = api::ApplyPolicyRequest::default();
    refused(client.apply_policy(request).await, FailedPrecondition, "store_missing");
    let shown = client.get_peer_list(get_list("shops")).await.expect("a file has it").into_inner();
    assert_eq!((shown.origin(), shown.revision), (Origin::File, 0));
}

#[tokio::test]
async fn what_files_have_is_shown_with_its_file_and_changed_there_alone() {
    let world = World::with(Some(memory()), DOCUMENT).await;
    let mut client = world.policy();
    let file = world.directory.path().join("peers.toml").display().to_string();
    let shown = client.get_peer_list(get_list("shops")).await.expect("it is there").into_inner();
    assert_eq!((shown.origin(), &shown.file, shown.state()), (Origin::File, &file, ResourceState::Active));

    let name = || "peerLists/shops".to_owned();
    let add = api::AddPeersRequest { name: name(), peers: texts(&["a@x.example"]) };
    let text = refused(client.add_peers(add).await, FailedPrecondition, "defined_in_file");
    assert!(text.contains(&file), "{text}");
    refused(
        client.update_peer_list(update_list(list("shops", &[]), &[])).await,
        FailedPrecondition,
        "defined_in_file",
    );
    let delete = api::DeletePeerListRequest { name: name(), ..Default::default() };
    refused(client.delete_peer_list(delete).await, FailedPrecondition, "defined_in_file");
    let request =
        api::DeleteRuleRequest { name: "rules/orders-callers".to_owned(), revision: 0, allow_missing: true };
    refused(client.delete_rule(request).await, FailedPrecondition, "defined_in_file");
}

#[tokio::test]
async fn the_list_of_the_store_counts_and_the_one_of_the_file_is_shown_as_overridden() {
    let world = World::with(Some(memory()), DOCUMENT).await;
    let mut client = world.policy();
    client.create_peer_list(create_list("shops", &["new@x.example"])).await.expect("it overrides");
    let all =
        client.list_peer_lists(api::ListPeerListsRequest::default()).await.expect("it answers").into_inner();
    let shown: Vec<_> =
        all.peer_lists.iter().map(|list| (list.origin(), list.state(), list.peer_count)).collect();
    let expected = [(Origin::Store, ResourceState::Active, 1), (Origin::File, ResourceState::Overridden, 1)];
    assert_eq!(shown, expected);
    assert!(all.peer_lists.iter().all(|list| list.peers.is_empty()));
    let allowed = async |client: &mut alts_proto::altsd::policy_client::PolicyClient<_>, peer| {
        client.check_peer(check(peer)).await.expect("it can be said").into_inner().allowed
    };
    assert!(allowed(&mut client, "new@x.example").await && !allowed(&mut client, "shop@x.example").await);

    // The rule of the file names it; the file has one to take its place.
    let request = api::DeletePeerListRequest { name: "peerLists/shops".to_owned(), ..Default::default() };
    assert!(client.delete_peer_list(request).await.expect("it may go").into_inner().applied);
    assert!(!allowed(&mut client, "new@x.example").await && allowed(&mut client, "shop@x.example").await);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_nothing_else() {
    let world = World::of(Some(memory())).await;
    let mut client = world.policy();
    client.create_peer_list(create_list("web", &["a@x.example"])).await.expect("it is good");
    let described = api::PeerList { description: "they call".to_owned(), ..list("web", &[]) };
    let updated = client.update_peer_list(update_list(described.clone(), &["description"])).await;
    let updated = updated.expect("it is good").into_inner();
    assert_eq!((&*updated.description, updated.peer_count), ("they call", 1));
    for paths in [&[][..], &["*"], &["description", "peers"]] {
        let whole = client.update_peer_list(update_list(list("web", &["b@x.example"]), paths)).await;
        let whole = whole.expect("it is good").into_inner();
        assert_eq!((&*whole.description, whole.peers), ("", texts(&["b@x.example"])), "{paths:?}");
    }
    for paths in [&["name"][..], &["peers", "revision"], &[""], &["*", "peers"]] {
        let answer = client.update_peer_list(update_list(described.clone(), paths)).await;
        refused(answer, InvalidArgument, "update_mask_invalid");
    }

    client.create_rule(create_rule("callers", &["web"])).await.expect("it is good");
    let shadow =
        api::Rule { name: "rules/callers".to_owned(), mode: rule::Mode::Shadow.into(), ..Default::default() };
    let request =
        api::UpdateRuleRequest { rule: Some(shadow), update_mask: mask(&["mode"]), allow_missing: false };
    let updated = client.update_rule(request.clone()).await.expect("it is good").into_inner();
    assert_eq!((updated.mode(), &*updated.peer_lists[0]), (rule::Mode::Shadow, "peerLists/web"));
    let again = client.update_rule(request).await.expect("it is the same").into_inner();
    assert_eq!(again.revision, updated.revision);
}

#[tokio::test]
async fn who_has_seen_another_revision_is_refused() {
    let world = World::of(Some(memory())).await;
    let mut client = world.policy();
    let first = client.create_peer_list(create_list("web", &[])).await.expect("it is good").into_inner();
    let seen = |revision, peers: &[&str]| api::PeerList { revision, ..list("web", peers) };
    let second = client.update_peer_list(update_list(seen(first.revision, &["a@x.example"]), &[])).await;
    let second = second.expect("nobody was first").into_inner();
    assert!(second.revision > first.revision);
    for revision in [first.revision, second.revision + 1, i64::MAX] {
        refused(
            client.update_peer_list(update_list(seen(revision, &[]), &[])).await,
            Aborted,
            "revision_conflict",
        );
        let name = "peerLists/web".to_owned();
        let request = api::DeletePeerListRequest { name, revision, allow_missing: true };
        refused(client.delete_peer_list(request).await, Aborted, "revision_conflict");
    }
    refused(
        client.update_peer_list(update_list(seen(-1, &[]), &[])).await,
        InvalidArgument,
        "revision_invalid",
    );
    refused(client.create_peer_list(create_list("web", &[])).await, AlreadyExists, "already_exists");
    let missing = api::PeerList { revision: 3, ..list("none", &[]) };
    refused(client.update_peer_list(update_list(missing, &[])).await, Aborted, "revision_conflict");
    client.update_peer_list(update_list(seen(0, &[]), &[])).await.expect("whatever is there");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_unless_that_is_allowed() {
    let world = World::of(Some(memory())).await;
    let mut client = world.policy();
    refused(client.get_peer_list(get_list("web")).await, NotFound, "peer_list_unknown");
    let request = api::GetRuleRequest { name: "rules/web".to_owned() };
    refused(client.get_rule(request).await, NotFound, "rule_unknown");
    let request = api::GetTargetNameRequest { name: "targetNames/web".to_owned() };
    refused(client.get_target_name(request).await, NotFound, "target_name_unknown");
    for name in ["", "web", "peerLists/", "rules/web", "peerLists/a/b", "peerLists/A"] {
        let request = api::GetPeerListRequest { name: name.to_owned() };
        refused(client.get_peer_list(request).await, InvalidArgument, "name_invalid");
    }
    refused(client.update_peer_list(update_list(list("web", &[]), &[])).await, NotFound, "peer_list_unknown");
    let request =
        |allow_missing| api::DeleteRuleRequest { name: "rules/web".to_owned(), revision: 0, allow_missing };
    refused(client.delete_rule(request(false)).await, NotFound, "rule_unknown");
    client.delete_rule(request(true)).await.expect("it is allowed");
    let upsert = api::UpdatePeerListRequest {
        allow_missing: true,
        ..update_list(list("web", &["*"]), &["description"])
    };
    let made = client.update_peer_list(upsert).await.expect("it is allowed").into_inner();
    assert_eq!(made.peers, texts(&["*"]));
}

#[tokio::test]
async fn a_list_that_rules_name_stays() {
    let world = World::of(Some(memory())).await;
    let mut client = world.policy();
    client.create_peer_list(create_list("web", &["a@x.example"])).await.expect("it is good");
    client.create_rule(create_rule("callers", &["web"])).await.expect("it is good");
    let request = || api::DeletePeerListRequest { name: "peerLists/web".to_owned(), ..Default::default() };
    let text = refused(client.delete_peer_list(request()).await, FailedPrecondition, "list_in_use");
    assert!(text.contains("callers"), "{text}");
    let rule = api::DeleteRuleRequest { name: "rules/callers".to_owned(), ..Default::default() };
    client.delete_rule(rule).await.expect("nothing names it");
    client.delete_peer_list(request()).await.expect("nothing names it any more");
}

#[tokio::test]
async fn peers_are_added_and_removed_whoever_else_does_so_at_once() {
    let world = World::of(Some(memory())).await;
    world.policy().create_peer_list(create_list("web", &["a@x.example"])).await.expect("it is good");
    let add = async |operator: usize| {
        let mut client = world.policy();
        for number in 0..5 {
            let peers = vec![format!("p{operator}-{number}@x.example"), "a@x.example".to_owned()];
            let request = api::AddPeersRequest { name: "peerLists/web".to_owned(), peers };
            client.add_peers(request).await.expect("it is done again as long as others are first");
        }
    };
    tokio::join!(add(0), add(1), add(2));
    let mut client = world.policy();
    let all = client.get_peer_list(get_list("web")).await.expect("it is there").into_inner();
    assert_eq!((all.peer_count, all.peers.len()), (16, 16));

    let remove = |peers: &[&str], allow_missing| api::RemovePeersRequest {
        name: "peerLists/web".to_owned(),
        peers: texts(peers),
        allow_missing,
    };
    let unknown = client.remove_peers(remove(&["a@x.example", "b@x.example"], false)).await;
    refused(unknown, NotFound, "peer_unknown");
    let rest =
        client.remove_peers(remove(&["a@X.example", "b@x.example"], true)).await.expect("it is allowed");
    assert_eq!((rest.get_ref().peer_count, rest.get_ref().peers.len()), (15, 0));
    for peers in [&[][..], &["nobody"]] {
        let reason = if peers.is_empty() { "field_missing" } else { "peer_match_invalid" };
        refused(client.remove_peers(remove(peers, true)).await, InvalidArgument, reason);
        let request = api::AddPeersRequest { name: "peerLists/web".to_owned(), peers: texts(peers) };
        refused(client.add_peers(request).await, InvalidArgument, reason);
    }
    let request = api::AddPeersRequest { name: "peerLists/none".to_owned(), peers: texts(&["*"]) };
    refused(client.add_peers(request).await, NotFound, "peer_list_unknown");
}

#[tokio::test]
async fn pages_together_are_the_whole_list_whatever_goes_between_them() {
    let world = World::with(Some(memory()), DOCUMENT).await;
    let mut client = world.policy();
    for name in ["a", "shops", "z"] {
        client.create_peer_list(create_list(name, &[])).await.expect("it is good");
    }
    let mut page = async |page_token: &str| {
        let request = api::ListPeerListsRequest { page_size: 1, page_token: page_token.to_owned() };
        client.list_peer_lists(request).await.map(tonic::Response::into_inner)
    };
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let answer = page(&token).await.expect("it is a page");
        found.extend(answer.peer_lists.into_iter().map(|list| (list.name.clone(), list.origin())));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let expected =
        [("a", Origin::Store), ("shops", Origin::Store), ("shops", Origin::File), ("z", Origin::Store)];
    assert_eq!(found, expected.map(|(name, origin)| (format!("peerLists/{name}"), origin)));
    let behind = page("peerLists/b").await.expect("it was there once").peer_lists;
    assert_eq!(behind[0].name, "peerLists/shops");
    for token in ["a", "rules/a", "peerLists/", "peerLists/A#file"] {
        refused(page(token).await, InvalidArgument, "page_token_invalid");
    }
    let request = api::ListRulesRequest { page_size: -1, ..Default::default() };
    refused(world.policy().list_rules(request).await, InvalidArgument, "page_size_invalid");
}

#[tokio::test]
async fn a_document_is_applied_whole_and_says_what_it_changes() {
    let world = World::with(Some(memory()), DOCUMENT).await;
    let mut client = world.policy();
    client.create_peer_list(create_list("web", &["a@x.example"])).await.expect("it is good");
    let request = api::ApplyPolicyRequest {
        peer_lists: vec![list("web", &["b@x.example"]), list("shops", &[])],
        rules: vec![rule("callers", &["web", "shops"])],
        validate_only: true,
        ..Default::default()
    };
    let kinds = |answer: &api::ApplyPolicyResponse| {
        let changes = answer.changes.iter();
        changes.map(|change| (change.kind(), !change.overrides_file.is_empty())).collect::<Vec<_>>()
    };
    let dry = client.apply_policy(request.clone()).await.expect("it is good").into_inner();
    let expected =
        [(change::Kind::Updated, false), (change::Kind::Created, true), (change::Kind::Created, false)];
    assert_eq!((kinds(&dry), dry.revision, dry.transactions), (expected.to_vec(), 0, 1));
    let name = || "rules/callers".to_owned();
    refused(client.get_rule(api::GetRuleRequest { name: name() }).await, NotFound, "rule_unknown");

    let request = api::ApplyPolicyRequest { validate_only: false, ..request };
    let done = client.apply_policy(request.clone()).await.expect("it is good").into_inner();
    assert_eq!((kinds(&done), done.applied), (expected.to_vec(), true));
    let rule = client.get_rule(api::GetRuleRequest { name: name() }).await.expect("it is there").into_inner();
    assert_eq!(rule.revision, done.revision);
    let again = client.apply_policy(request).await.expect("it is the same").into_inner();
    assert!(again.changes.iter().all(|change| change.kind() == change::Kind::Unchanged));
    assert_eq!((again.revision, again.transactions, again.applied), (0, 0, true));
}

#[tokio::test]
async fn a_document_with_one_fault_changes_nothing() {
    let store = memory();
    let world = World::of(Some(store.clone())).await;
    let mut client = world.policy();
    let good = || list("web", &["*"]);
    let lists = |peer_lists| api::ApplyPolicyRequest { peer_lists, ..Default::default() };
    for (request, code, reason) in [
        (lists(vec![good(), good()]), InvalidArgument, "name_twice"),
        (lists(vec![good(), list("b", &["nobody"])]), InvalidArgument, "peer_match_invalid"),
        (lists(vec![good(), list("", &[])]), InvalidArgument, "name_invalid"),
        (
            api::ApplyPolicyRequest { rules: vec![rule("a", &["web", "none"])], ..lists(vec![good()]) },
            FailedPrecondition,
            "list_unknown",
        ),
        (
            lists((0..=MAX_WRITES).map(|number| list(&format!("l{number}"), &[])).collect()),
            FailedPrecondition,
            "too_large_for_one_transaction",
        ),
    ] {
        refused(client.apply_policy(request).await, code, reason);
        assert!(store.list("").await.expect("it answers").entries.is_empty(), "{reason}");
    }
    let many = (0..=MAX_WRITES).map(|number| list(&format!("l{number}"), &[])).collect();
    let request = api::ApplyPolicyRequest { in_parts: true, ..lists(many) };
    let done = client.apply_policy(request).await.expect("parts are allowed").into_inner();
    assert_eq!((done.transactions, done.changes.len(), done.applied), (2, MAX_WRITES + 1, true));
}

#[tokio::test]
async fn parts_bring_the_rules_that_deny_before_those_that_allow() {
    let store = memory();
    let world = World::of(Some(store.clone())).await;
    let mut client = world.policy();
    let (denials, allowances) = (5, MAX_WRITES);
    let deny = |name: &str| api::Rule { action: rule::Action::Deny.into(), ..rule(name, &["web"]) };
    let allowing = (0..allowances).map(|number| rule(&format!("a{number:03}"), &["web"]));
    let denying = (0..denials).map(|number| deny(&format!("d{number}")));
    let request = api::ApplyPolicyRequest {
        peer_lists: vec![list("web", &["*"])],
        rules: allowing.chain(denying).collect(),
        in_parts: true,
        ..Default::default()
    };
    let done = client.apply_policy(request.clone()).await.expect("parts are allowed").into_inner();
    assert_eq!(done.transactions, 2);
    // The answer has the order of the request.
    let names: Vec<_> = done.changes.iter().skip(1).map(|change| change.name.clone()).collect();
    assert_eq!(names, request.rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>());
    let rules = store.list("rules/").await.expect("it answers").entries;
    let of = |first: char| {
        let kept = rules.iter().filter(|entry| entry.key.starts_with(&format!("rules/{first}")));
        kept.map(|entry| entry.revision).collect::<Vec<_>>()
    };
    let lists = store.list("peer-lists/").await.expect("it answers").entries;
    assert_eq!((of('d').len(), of('a').len()), (denials, allowances));
    assert!(of('d').iter().all(|at| *at == lists[0].revision), "{:?}", of('d'));
    let late = of('a').into_iter().filter(|at| *at > lists[0].revision).count();
    assert_eq!(late, denials + 1, "only rules that allow wait for the second part");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_shown_and_can_be_replaced_or_deleted() {
    let store = memory();
    let world = World::of(Some(store.clone())).await;
    let mut client = world.policy();
    let spoil =
        async || store.put("peer-lists/web", "{}".into(), Expected::Anything).await.expect("there is room");
    spoil().await;
    let shown = client.get_peer_list(get_list("web")).await.expect("it is there").into_inner();
    assert_eq!(shown.state(), ResourceState::Unreadable);
    let add = api::AddPeersRequest { name: "peerLists/web".to_owned(), peers: texts(&["*"]) };
    refused(client.add_peers(add).await, FailedPrecondition, "record_unreadable");
    let partly = client.update_peer_list(update_list(list("web", &[]), &["description"])).await;
    refused(partly, FailedPrecondition, "record_unreadable");
    client.update_peer_list(update_list(list("web", &["*"]), &[])).await.expect("it is replaced");
    spoil().await;
    let request = api::DeletePeerListRequest { name: "peerLists/web".to_owned(), ..Default::default() };
    client.delete_peer_list(request).await.expect("it goes");
}

#[tokio::test]
async fn a_question_that_cannot_be_is_refused() {
    let world = World::of(None).await;
    let mut client = world.policy();
    let certificate =
        |hash: &str| api::CheckedCertificate { sha256_fingerprint: hash.to_owned(), ..Default::default() };
    for (request, reason) in [
        (api::CheckPeerRequest { side: 0, ..check("a@x.example") }, "side_invalid"),
        (api::CheckPeerRequest { local: String::new(), ..check("a@x.example") }, "account_invalid"),
        (check("*@x.example"), "account_invalid"),
        (
            api::CheckPeerRequest { target_name: "x".repeat(2_000), ..check("a@x.example") },
            "target_name_invalid",
        ),
        (
            api::CheckPeerRequest { certificates: vec![certificate("00")], ..check("a@x.example") },
            "sha256_invalid",
        ),
        (
            api::CheckPeerRequest { certificates: vec![certificate(""); 6], ..check("a@x.example") },
            "too_many",
        ),
    ] {
        refused(client.check_peer(request).await, InvalidArgument, reason);
    }
}

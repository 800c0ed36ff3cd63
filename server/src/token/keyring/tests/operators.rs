//! What operators ask for.

use super::*;

#[tokio::test]
async fn a_rotation_makes_the_next_key_which_signs_when_verifiers_know_it() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    clock.pass(60);
    let changed = node.keyring().rotate(false).await.expect("it is done");
    let key = changed.key.expect("there is one");
    assert_eq!((key.state, key.signs_from), (State::Next, Some(NOW + 60 + 1_800)));
    assert_eq!((node.signing(), node.published().len()), (first.clone(), 2));
    let again = node.keyring().rotate(false).await.expect("it is done").key.expect("there is one");
    assert_eq!(again.kid, key.kid, "one key waits, not two");
    node.pass(1_800).await;
    assert_eq!((node.signing(), node.own(State::Retired)), (key.kid, vec![first]));
}

#[tokio::test]
async fn an_emergency_withdraws_all_keys_and_a_new_one_signs_at_once() {
    let (clock, store) = (Moved::new(), Away::new());
    let mut node = Node::new("a", &clock, Some(&store)).await;
    node.pass(86_400 - 1_800).await;
    node.pass(1_800).await;
    let all = node.published();
    let old = node.token().expect("it signs");
    let changed = node.keyring().rotate(true).await.expect("it is done");
    let key = changed.key.expect("there is one").kid;
    assert_eq!((node.signing(), node.published()), (key.clone(), vec![key.clone()]));
    let mut withdrawn: Vec<_> = changed.withdrawn.into_iter().map(|key| key.kid).collect();
    withdrawn.sort();
    assert_eq!(withdrawn, all);
    assert!(
        verdict(&old, &node.keyring().published().keys, clock.seconds()).is_err(),
        "we do not believe it"
    );
    for kid in &all {
        let file = fs::read_to_string(node.file(kid)).expect("it is there");
        assert!(!file.contains("private_key"), "{file}");
        assert!(store.records().await[kid].withdrawn.is_some());
    }
    node.start().await.expect("it starts");
    assert_eq!(node.published(), [key]);
}

#[tokio::test]
async fn an_emergency_without_the_store_withdraws_here_and_says_what_is_missing() {
    let (clock, store) = (Moved::new(), Away::new());
    let mut node = Node::new("a", &clock, Some(&store)).await;
    let old = node.signing();
    store.go(true);
    let error = node.keyring().rotate(true).await.expect_err("the store does not know");
    assert!(matches!(error, ChangeError::NotTold { .. }), "{error}");
    assert!(error.to_string().contains(&old) && error.to_string().contains("it is away"), "{error}");
    assert!(!node.published().contains(&old) && node.token().is_err());
    node.start().await.expect("it starts");
    assert!(!node.published().contains(&old) && node.token().is_err(), "nor after a restart");
    store.go(false);
    node.turn().await;
    assert_ne!(node.signing(), old);
    assert!(store.records().await[&old].withdrawn.is_some());
}

#[tokio::test]
async fn an_active_key_that_is_retired_is_replaced_at_once_by_the_one_that_verifiers_know() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    node.pass(86_400 - 5_400).await;
    let next = node.own(State::Next).remove(0);
    let changed = node.keyring().retire(&first).await.expect("it is done");
    assert_eq!(changed.key.map(|key| key.kid), Some(next.clone()));
    assert_eq!((node.signing(), node.published()), (next.clone(), vec![next.clone()]));
    let changed = node.keyring().retire(&next).await.expect("it is done");
    let new = changed.key.expect("one is made").kid;
    assert_eq!((node.signing(), node.published()), (new.clone(), vec![new]));
    assert!(node.keyring().retire(&next).await.is_ok(), "again changes nothing");
}

#[tokio::test]
async fn a_key_that_does_not_sign_is_retired_and_the_active_one_stays() {
    let node = Node::new("a", &Moved::new(), Some(&Away::new())).await;
    let first = node.signing();
    let next = node.keyring().rotate(false).await.expect("it is done").key.expect("there is one").kid;
    let changed = node.keyring().retire(&next).await.expect("it is done");
    assert!(changed.key.is_none() && changed.withdrawn[0].state == State::Withdrawn);
    assert_eq!((node.signing(), node.published()), (first.clone(), vec![first]));
}

#[tokio::test]
async fn an_unknown_key_is_not_retired() {
    for store in [None, Some(Away::new())] {
        let node = Node::new("a", &Moved::new(), store.as_ref()).await;
        let error = node.keyring().retire("x").await.expect_err("there is none");
        assert_eq!(error, ChangeError::Unknown { kid: "x".to_owned() });
    }
}

#[tokio::test]
async fn the_key_of_another_node_is_withdrawn_and_never_comes_back() {
    let (clock, store) = (Moved::new(), Away::new());
    let one = Node::new("a", &clock, Some(&store)).await;
    let mut other = Node::new("b", &clock, Some(&store)).await;
    other.pass(1_800).await;
    let kid = other.signing();
    one.hear().await;
    store.go(true);
    let error = one.keyring().retire(&kid).await.expect_err("the store is away");
    assert!(matches!(error, ChangeError::Store(_)), "{error}");
    assert!(one.published().contains(&kid), "nothing was done");
    store.go(false);
    let changed = one.keyring().retire(&kid).await.expect("it is done");
    assert_eq!((changed.withdrawn[0].kid.clone(), changed.withdrawn[0].own), (kid.clone(), false));
    assert!(!one.published().contains(&kid));
    // Its node starts again before it has heard: it asks before it signs.
    other.start().await.expect("it starts");
    assert_ne!(other.signing(), kid);
    assert!(!other.published().contains(&kid));
    let file = fs::read_to_string(other.file(&kid)).expect("it is there");
    assert!(!file.contains("private_key"), "{file}");
    // The store forgets it, or is set back to what it was before.
    for _ in 0..2 {
        store.empty().await;
        one.hear().await;
        other.hear().await;
        assert!(!one.published().contains(&kid) && !other.published().contains(&kid));
        assert!(store.records().await[&kid].withdrawn.is_some(), "it is told again");
        other.start().await.expect("it starts");
        assert_ne!(other.signing(), kid);
    }
}

#[tokio::test]
async fn a_store_that_is_set_back_does_not_bring_back_a_withdrawn_key() {
    let (clock, store) = (Moved::new(), Away::new());
    let one = Node::new("a", &clock, Some(&store)).await;
    let mut other = Node::new("b", &clock, Some(&store)).await;
    let kid = other.own(State::Next).remove(0);
    one.hear().await;
    let before = store.records().await[&kid].clone();
    one.keyring().retire(&kid).await.expect("it is done");
    // The other node is away, and would believe what the store says.
    other.keyring = None;
    let write = SIGNING_KEY.put(&kid, &before, Expected::Anything).expect("it is a record");
    store.store.transact(vec![write]).await.expect("there is room");
    one.hear().await;
    assert!(!one.published().contains(&kid));
    assert!(store.records().await[&kid].withdrawn.is_some(), "who remembers says so again");
    other.start().await.expect("it starts");
    other.pass(1_800).await;
    assert_ne!(other.signing(), kid);
}

/// A file with a private key, as an operator makes it.
fn write_key(path: &PathBuf) -> String {
    let (key, der) =
        SigningKey::generate(Algorithm::Es256, &SystemRandom::new()).expect("there is randomness");
    let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.to_vec()));
    fs::write(path, pem).expect("there is room");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    key.kid().to_owned()
}

async fn importing(clock: &Arc<Moved>, store: &Arc<Away>) -> (Node, PathBuf, String) {
    let mut node = Node::stopped("a", clock, Some(store));
    let path = node.directory.path().join("key.pem");
    let kid = write_key(&path);
    node.settings.private_key = Some(path.clone());
    node.start().await.expect("it starts");
    (node, path, kid)
}

#[tokio::test]
async fn an_imported_key_signs_until_its_file_holds_another() {
    let (clock, store) = (Moved::new(), Away::new());
    let (mut node, path, kid) = importing(&clock, &store).await;
    assert_eq!(node.signing(), kid);
    for _ in 0..4 {
        node.pass(300_000).await;
    }
    assert_eq!((node.signing(), node.published()), (kid.clone(), vec![kid.clone()]));
    let error = node.keyring().rotate(false).await.expect_err("it is the same");
    assert_eq!(error, ChangeError::SameFile { path: path.clone() });
    assert_eq!(
        node.keyring().rotate(true).await.expect_err("so it is"),
        ChangeError::SameFile { path: path.clone() }
    );
    let second = write_key(&path);
    let key = node.keyring().rotate(false).await.expect("it is done").key.expect("there is one");
    assert_eq!((key.kid, key.state, node.signing()), (second.clone(), State::Next, kid.clone()));
    node.start().await.expect("it starts");
    assert_eq!(node.signing(), kid, "a restart does not lose the key that its file holds no more");
    node.pass(1_800).await;
    assert_eq!(node.signing(), second);
    let third = write_key(&path);
    node.start().await.expect("it starts");
    assert_eq!((node.signing(), node.own(State::Next)), (second, vec![third]), "a start reads the file too");
}

#[tokio::test]
async fn an_imported_key_whose_node_was_away_for_long_is_published_anew_before_it_signs() {
    let (clock, store) = (Moved::new(), Away::new());
    let (mut node, _, kid) = importing(&clock, &store).await;
    let _other = Node::new("b", &clock, Some(&store)).await;
    clock.pass(keys::PROMISE + 2_160 + 1);
    node.start().await.expect("it starts");
    assert_eq!(node.token(), Err(NoKey::TooNew { seconds: 1_800 }));
    node.pass(1_800).await;
    assert_eq!(node.signing(), kid);
}

#[tokio::test]
async fn an_imported_key_that_was_withdrawn_never_comes_back_from_its_file() {
    let (clock, store) = (Moved::new(), Away::new());
    let (mut node, path, kid) = importing(&clock, &store).await;
    node.keyring().retire(&kid).await.expect("it is done");
    for _ in 0..3 {
        assert!(node.token().is_err() && node.published().is_empty());
        assert_eq!(node.failure(), Some("token_key_used_up"));
        let error = node.keyring().rotate(false).await.expect_err("it was used");
        assert_eq!(error, ChangeError::UsedUp { path: path.clone(), kid: kid.clone() });
        node.pass(keys::PROMISE * 2).await;
        node.start().await.expect("it starts");
    }
    assert!(store.records().await.is_empty(), "the store need not remember it for ever");
    let second = write_key(&path);
    node.keyring().rotate(true).await.expect("it is done");
    assert_eq!(node.signing(), second);
}

#[tokio::test]
async fn a_file_that_holds_no_key_is_refused_with_its_name() {
    let (clock, store) = (Moved::new(), Away::new());
    let (mut node, path, kid) = importing(&clock, &store).await;
    let good = fs::read_to_string(&path).expect("it is there");
    let cases = [
        ("", 0o600, "token_key_not_imported", "it has no section PRIVATE KEY"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            0o600,
            "token_key_not_imported",
            "PKCS#8",
        ),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n", 0o600, "token_key_not_imported", "it is no PEM"),
        (&good, 0o644, "key_exposed", "key.pem"),
    ];
    for (text, mode, code, said) in cases {
        fs::write(&path, text).expect("it can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        let error = node.keyring().rotate(false).await.expect_err(said);
        assert!(matches!(&error, ChangeError::NotMade { code: found, .. } if *found == code), "{error:?}");
        assert!(error.to_string().contains(said) && error.to_string().contains("key.pem"), "{error}");
        assert_eq!(node.signing(), kid);
    }
    fs::write(&path, "").expect("it can be written");
    let error = node.start().await.expect_err("it holds none");
    assert_eq!(error.code(), "key_exposed", "the mode comes first");
    fs::remove_file(&path).expect("it is there");
    assert_eq!(node.start().await.expect_err("it is gone").code(), "file_unreadable");
}

#[tokio::test]
async fn from_keys_made_here_to_imported_ones_and_back_no_token_is_lost() {
    let (clock, store) = (Moved::new(), Away::new());
    let mut node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    let path = node.directory.path().join("key.pem");
    let imported = write_key(&path);
    node.settings.private_key = Some(path);
    node.start().await.expect("it starts");
    assert_eq!((node.signing(), node.published().len()), (first, 2));
    node.pass(1_800).await;
    assert_eq!(node.signing(), imported);
    node.settings.private_key = None;
    node.start().await.expect("it starts");
    assert_eq!(node.signing(), imported);
    node.pass(1_800).await;
    assert_ne!(node.signing(), imported);
}

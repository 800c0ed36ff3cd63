//! The way of the keys of one node.

use super::*;

#[tokio::test]
async fn the_first_key_of_a_lonely_node_signs_at_once_and_is_published() {
    for store in [None, Some(Away::new())] {
        let node = Node::new("a", &Moved::new(), store.as_ref()).await;
        let token = node.token().expect("it signs");
        let published = node.keyring().published();
        assert_eq!(kids(&published.document), [kid_of(&token)]);
        assert_eq!(verdict(&token, &published.keys, NOW), Ok(()));
        if let Some(store) = store {
            let records = store.records().await;
            assert_eq!(records.keys().collect::<Vec<_>>(), [&kid_of(&token)]);
            let text = serde_json::to_string(records.values().next().expect("one")).expect("it is JSON");
            assert!(!text.contains("\"d\"") && !text.contains("private"), "{text}");
        }
    }
}

#[tokio::test]
async fn the_document_has_for_each_key_what_verifiers_need_and_its_tag_is_its_hash() {
    let node = Node::new("a", &Moved::new(), None).await;
    let published = node.keyring().published();
    let set: serde_json::Value = serde_json::from_slice(&published.document).expect("it is JSON");
    let key = &set["keys"][0];
    assert_eq!((&key["alg"], &key["use"], &key["kty"]), (&"ES256".into(), &"sig".into(), &"EC".into()));
    assert!(key["kid"].is_string() && key["d"].is_null(), "{key}");
    let hash = hex::encode(alts_handshake::sha256(&published.document));
    assert_eq!(published.etag, format!("\"{hash}\""));
    assert!(KeySet::parse(&published.document).is_ok());
    node.turn().await;
    assert!(Arc::ptr_eq(&published, &node.keyring().published()), "what is the same stays the same");
}

#[tokio::test]
async fn a_key_is_published_before_it_signs_and_after_it_has() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    node.pass(86_400 - 5_400 - 1).await;
    assert_eq!(node.published(), std::slice::from_ref(&first));
    node.pass(1).await;
    let [second] = &node.own(State::Next)[..] else { panic!("there is a next key") };
    assert_eq!((node.published().len(), node.signing()), (2, first.clone()));
    assert_eq!(store.records().await.len(), 2, "others know it too");
    node.pass(5_399).await;
    assert_eq!(node.signing(), first);
    node.pass(1).await;
    assert_eq!(node.signing(), *second);
    assert_eq!(node.own(State::Retired), std::slice::from_ref(&first));
    let file = fs::read_to_string(node.file(&first)).expect("it is there");
    assert!(!file.contains("private_key"), "{file}");
    node.pass(900 + 60 + 1_200).await;
    assert!(node.published().contains(&first));
    node.pass(1).await;
    assert_eq!(node.published(), std::slice::from_ref(second));
    assert!(!node.file(&first).exists());
    assert_eq!(store.records().await.len(), 1);
}

#[tokio::test]
async fn a_restart_changes_nothing_in_any_state_with_and_without_what_the_store_knew() {
    for empties in [false, true] {
        let (clock, store) = (Moved::new(), Away::new());
        let mut node = Node::new("a", &clock, Some(&store)).await;
        let (mut signed, mut states) = (BTreeMap::<String, u64>::new(), std::collections::BTreeSet::new());
        for _ in 0..400 {
            node.pass(600).await;
            let before = (node.signing(), node.published());
            if empties {
                store.empty().await;
            }
            node.start().await.expect("it starts again");
            assert_eq!((node.signing(), node.published()), before);
            assert_eq!(store.records().await.keys().cloned().collect::<Vec<_>>(), before.1);
            *signed.entry(before.0).or_default() += 1;
            states.extend(node.keyring().status().keys.iter().map(|key| key.state));
        }
        assert!(signed.len() >= 3, "{signed:?}");
        assert_eq!(states.into_iter().collect::<Vec<_>>(), [State::Next, State::Active, State::Retired]);
    }
}

#[tokio::test]
async fn a_store_that_is_away_delays_the_next_key_and_not_the_active_one() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    store.go(true);
    node.pass(86_400).await;
    assert_eq!((node.signing(), node.failure()), (first.clone(), Some("store_unavailable")));
    let status = node.keyring().status();
    let next = status.keys.iter().find(|key| key.state == State::Next).expect("it is made");
    assert!(next.published.is_none() && next.next.contains("waits for the store"), "{}", next.next);
    node.pass(86_400).await;
    assert_eq!(node.signing(), first);
    store.go(false);
    node.turn().await;
    assert_eq!((node.signing(), node.failure()), (first.clone(), None));
    node.pass(1_799).await;
    assert_eq!(node.signing(), first, "verifiers may not know the next");
    node.pass(1).await;
    assert_ne!(node.signing(), first);
}

#[tokio::test]
async fn a_promise_that_cannot_be_renewed_ends_the_signing() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    store.go(true);
    node.pass(keys::PROMISE).await;
    assert!(node.token().is_ok());
    clock.pass(1);
    let problem = node.token().expect_err("its promise is over");
    assert!(matches!(problem, NoKey::Unusable(_)), "{problem}");
    store.go(false);
    node.turn().await;
    assert!(node.token().is_ok(), "others have not deleted it, and the promise is renewed");
    store.go(true);
    node.pass(keys::PROMISE + 2_160 + 1).await;
    store.go(false);
    node.turn().await;
    let problem = node.token().expect_err("others may have deleted it, and verifiers must learn of another");
    assert_eq!(problem, NoKey::TooNew { seconds: 1_800 });
    node.pass(1_800).await;
    assert!(node.token().is_ok());
}

#[tokio::test]
async fn without_a_store_that_answers_no_first_key_is_made() {
    let (clock, store) = (Moved::new(), Away::new());
    store.go(true);
    let node = Node::new("a", &clock, Some(&store)).await;
    let problem = node.token().expect_err("nobody knows who else there is").to_string();
    assert!(problem.contains("it is away"), "{problem}");
    store.go(false);
    node.turn().await;
    assert!(node.token().is_ok());
}

#[tokio::test]
async fn a_restart_while_the_store_is_away_changes_nothing() {
    let (clock, store) = (Moved::new(), Away::new());
    let mut node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    store.go(true);
    node.start().await.expect("it starts");
    assert_eq!((node.signing(), node.failure()), (first, Some("store_unavailable")));
}

#[tokio::test]
async fn a_clock_that_is_set_hurries_nothing_and_brings_nothing_back() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    node.pass(86_400 - 5_400).await;
    let next = node.own(State::Next).remove(0);
    clock.set(7_200);
    node.turn().await;
    assert_eq!(node.signing(), first, "by the clock it is old, and the next was published an hour ago");
    node.pass(1_799).await;
    assert_eq!(node.signing(), first);
    node.pass(1).await;
    assert_eq!(node.signing(), next);
    clock.set(-1_000_000);
    for _ in 0..5 {
        node.pass(600).await;
        assert_ne!(node.signing(), first);
        assert!(node.published().contains(&first), "tokens may be good by the clock from before");
    }
}

#[tokio::test]
async fn a_key_stays_published_for_the_longest_lifetime_that_it_has_signed_with() {
    let (clock, store) = (Moved::new(), Away::new());
    let mut node = Node::stopped("a", &clock, Some(&store));
    node.settings.max_lifetime = 3_600;
    node.start().await.expect("it starts");
    let first = node.signing();
    node.settings.max_lifetime = 300;
    node.start().await.expect("it starts");
    node.pass(86_400).await;
    node.pass(1_800).await;
    assert_ne!(node.signing(), first);
    node.pass(3_600 + 60 + 1_200).await;
    assert!(node.published().contains(&first));
    node.pass(1).await;
    assert!(!node.published().contains(&first));
}

#[tokio::test]
async fn another_algorithm_comes_as_the_next_key() {
    let (clock, store) = (Moved::new(), Away::new());
    let mut node = Node::new("a", &clock, Some(&store)).await;
    let first = node.signing();
    node.settings.algorithm = Algorithm::EdDSA;
    node.start().await.expect("it starts");
    assert_eq!((node.signing(), node.published().len()), (first.clone(), 2));
    node.pass(1_800).await;
    let token = node.token().expect("it signs");
    assert_eq!(Token::parse(&token).expect("it is one").header().algorithm(), Algorithm::EdDSA);
    assert_eq!(verdict(&token, &node.keyring().published().keys, clock.seconds()), Ok(()));
}

#[tokio::test]
async fn without_a_directory_keys_end_with_the_process() {
    let mut node = Node::stopped("a", &Moved::new(), None);
    node.settings.state_directory = None;
    node.start().await.expect("it starts");
    let first = node.signing();
    node.start().await.expect("it starts");
    assert_ne!(node.signing(), first);
}

//! Several nodes on one store.

use super::{super::fleet::Fleet, *};

async fn two() -> (Arc<Moved>, Arc<Away>, Node, Node) {
    let (clock, store) = (Moved::new(), Away::new());
    let one = Node::new("a", &clock, Some(&store)).await;
    let other = Node::new("b", &clock, Some(&store)).await;
    one.hear().await;
    (clock, store, one, other)
}

#[tokio::test]
async fn nodes_publish_each_others_keys_and_sign_with_their_own() {
    let (clock, store, one, other) = two().await;
    assert_eq!(other.token(), Err(NoKey::TooNew { seconds: 1_800 }), "verifiers of the first do not know it");
    clock.pass(1_799);
    other.turn().await;
    assert_eq!(other.token(), Err(NoKey::TooNew { seconds: 1 }));
    other.pass(1).await;
    one.hear().await;
    assert_ne!(one.signing(), other.signing());
    let (published, others) = (one.keyring().published(), other.keyring().published());
    assert_eq!((&published.document, &published.etag), (&others.document, &others.etag));
    assert_eq!(kids(&published.document).len(), 2);
    for node in [&one, &other] {
        assert_eq!(verdict(&node.token().expect("it signs"), &published.keys, clock.seconds()), Ok(()));
    }
    let status = one.keyring().status();
    let nodes: Vec<_> = status.keys.iter().map(|key| (&*key.node, key.own)).collect();
    assert!(nodes.contains(&("a", true)) && nodes.contains(&("b", false)), "{nodes:?}");
    for record in store.records().await.values() {
        assert!(!serde_json::to_string(record).expect("JSON").contains("private"));
    }
}

#[tokio::test]
async fn the_first_key_of_a_node_in_a_fleet_signs_at_once_where_that_is_wanted() {
    let (clock, store) = (Moved::new(), Away::new());
    let _one = Node::new("a", &clock, Some(&store)).await;
    let mut other = Node::stopped("b", &clock, Some(&store));
    other.settings.sign_at_once = true;
    other.start().await.expect("it starts");
    assert!(other.token().is_ok());
}

#[tokio::test]
async fn a_store_that_is_begun_anew_makes_no_key_unknown() {
    let (clock, store, one, other) = two().await;
    clock.pass(1_800);
    other.turn().await;
    one.hear().await;
    let both = one.published();
    store.empty().await;
    one.hear().await;
    assert_eq!(one.published(), both, "what was known of the other counts on");
    other.hear().await;
    assert_eq!((other.published(), store.records().await.len()), (both, 2), "each has put its record again");
}

#[tokio::test]
async fn the_key_of_a_node_that_is_gone_is_deleted_when_no_token_of_it_can_count() {
    let (clock, store, one, mut other) = two().await;
    other.pass(1_800).await;
    let (kid, token) = (other.signing(), other.token().expect("it signs"));
    let until = store.records().await[&kid].signs_until;
    other.keyring = None;
    one.hear().await;
    clock.pass(until - clock.seconds() + 2_160 + 3_600);
    one.hear().await;
    assert!(one.published().contains(&kid));
    one.pass(1).await;
    assert!(!one.published().contains(&kid) && !store.records().await.contains_key(&kid));
    assert!(verdict(&token, &one.keyring().published().keys, clock.seconds()).is_err());
    other.start().await.expect("it comes back");
    assert!(
        matches!(other.token(), Err(NoKey::TooNew { .. })),
        "it does not sign with what nobody publishes"
    );
    assert!(!other.published().contains(&kid) || other.own(State::Retired).contains(&kid));
}

#[tokio::test]
async fn a_node_that_lives_keeps_its_record() {
    let (clock, store, one, other) = two().await;
    other.pass(1_800).await;
    for _ in 0..40 {
        clock.pass(43_200);
        one.hear().await;
        other.hear().await;
        one.hear().await;
        let published = one.published();
        assert!(published.contains(&other.signing()), "{:?}", store.records().await);
        assert!(published.len() <= 6, "{published:?}");
    }
}

#[tokio::test]
async fn who_was_first_is_heard_where_two_write_at_the_same_time() {
    let (clock, store, one, _other) = two().await;
    let kid = one.signing();
    // Somebody has written the record since this node has seen it, and the node has not heard of it.
    let mut record = store.records().await[&kid].clone();
    record.kept = 1;
    let write = SIGNING_KEY.put(&kid, &record, Expected::Anything).expect("it is a record");
    store.store.transact(vec![write]).await.expect("there is room");
    one.pass(86_400 - 5_400).await;
    clock.pass(5_400);
    one.hear().await;
    one.hear().await;
    assert_eq!(one.failure(), None);
    let record = &store.records().await[&kid];
    assert_eq!((record.retired.is_some(), record.kept), (true, 2_160));
}

#[tokio::test]
async fn a_record_that_comes_back_is_of_a_node_that_lives_by_another_clock() {
    let (clock, store, one, _other) = two().await;
    let record = store.records().await[&one.signing()].clone();
    let (kid, far) = (record.key.kid().to_owned(), clock.seconds() + 30 * 86_400);
    let mut fleet = Fleet::default();
    fleet.put(record.clone(), Revision(1));
    assert_eq!(fleet.collectable(far, |_| false), std::slice::from_ref(&kid));
    fleet.collected(&kid);
    fleet.put(record, Revision(3));
    assert_eq!(fleet.collectable(far, |_| false), Vec::<String>::new());
}

//! Types and schema versions over a store.

use std::sync::Arc;

use alts_store::{
    Change, Entry, Error, Expected, Kind, MAX_KEY, MemoryStore, Record, RecordError, Records, Revision, Store,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    account: String,
    port: u16,
}

const PEERS: Kind<Peer> = Kind::new("peers/", 2);

fn peer(account: &str) -> Peer {
    Peer { account: account.to_owned(), port: 7 }
}

fn store() -> (Arc<dyn Store>, Records<Peer>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    (store.clone(), Records::new(store, PEERS))
}

fn entry(key: &str, value: &str) -> Entry {
    Entry { key: key.to_owned(), value: value.to_owned().into(), revision: Revision(5) }
}

#[tokio::test]
async fn a_record_is_created_once_updated_where_it_was_read_and_deleted() {
    let (store, peers) = store();
    assert_eq!(peers.get("a").await, Ok(None));
    let created = peers.put("a", &peer("x"), Expected::Absent).await.expect("nothing is there");
    let conflict = Err(Error::Conflict { key: "peers/a".to_owned(), found: Some(created) });
    assert_eq!(peers.put("a", &peer("y"), Expected::Absent).await, conflict);
    let updated = peers.put("a", &peer("y"), Expected::At(created)).await.expect("it is as it was created");
    let record = Record { name: "a".to_owned(), value: peer("y"), revision: updated };
    assert_eq!(peers.get("a").await, Ok(Some(record)));
    let raw = store.get("peers/a").await.expect("the store answers").expect("it is there");
    assert_eq!(raw.value, r#"{"schema":2,"value":{"account":"y","port":7}}"#);
    peers.delete("a", Expected::At(created)).await.expect_err("it was updated");
    peers.delete("a", Expected::At(updated)).await.expect("it is as it was updated");
    assert_eq!(peers.get("a").await, Ok(None));
}

#[test]
fn what_is_no_record_of_the_kind_is_an_error_that_names_it() {
    let table = [
        ("peers/a", "", "cannot be read: EOF"),
        ("peers/a", "\u{0}", "cannot be read"),
        ("peers/a", "{}", "missing field `schema`"),
        ("peers/a", r#"{"schema":"2","value":{"account":"x","port":7}}"#, "invalid type"),
        ("peers/a", r#"{"schema":-2,"value":{"account":"x","port":7}}"#, "invalid value"),
        ("peers/a", r#"{"schema":2}"#, "missing field `value`"),
        ("peers/a", r#"{"schema":2,"value":{"account":"x"}}"#, "missing field `port`"),
        ("peers/a", r#"{"schema":2,"value":{"account":"x","port":70000}}"#, "70000"),
        ("peers/a", r#"{"schema":2,"value":{"account":"x","port":7,"more":1}}"#, "unknown field `more`"),
        ("peers/a", r#"{"schema":2,"value":{"account":"x","port":7},"more":1}"#, "unknown field `more`"),
        ("peers/a", r#"{"schema":2,"value":{"account":"x","port":7}} more"#, "trailing characters"),
        ("peers/a", r#"{"schema":2,"schema":2,"value":{"account":"x","port":7}}"#, "duplicate field"),
        ("peers/", r#"{"schema":2,"value":{"account":"x","port":7}}"#, "not under peers/"),
        ("peers2/a", r#"{"schema":2,"value":{"account":"x","port":7}}"#, "not under peers/"),
        ("peers/a", r#"{"schema":1,"value":{}}"#, "has schema 1, and schema 2 is known"),
        ("peers/a", r#"{"schema":3,"value":[]}"#, "has schema 3, and schema 2 is known"),
        ("peers/a", r#"{"schema":3,"other":[]}"#, "has schema 3, and schema 2 is known"),
    ];
    for (key, value, says) in table {
        let error = PEERS.decode(&entry(key, value)).expect_err(value);
        let text = error.to_string();
        assert!(text.contains(says) && text.contains(&format!("{key} at revision 5")), "{value}: {text}");
        let code = if says.starts_with("has schema") { "record_schema_unknown" } else { "record_unreadable" };
        assert_eq!(error.reason(), code, "{value}");
    }
}

#[tokio::test]
async fn a_listing_holds_what_can_be_read_and_what_cannot() {
    let (store, peers) = store();
    let a = peers.put("a", &peer("x"), Expected::Absent).await.expect("nothing is there");
    let b = store.put("peers/b", r#"{"schema":3}"#.into(), Expected::Absent).await.expect("nothing is there");
    peers.put("c/d", &peer("z"), Expected::Absent).await.expect("nothing is there");
    let last = store.put("peers2/e", "other".into(), Expected::Absent).await.expect("nothing is there");
    let listing = peers.list().await.expect("the store answers");
    let newer = RecordError::SchemaUnknown { key: "peers/b".to_owned(), revision: b, found: 3, known: 2 };
    let names: Vec<_> =
        listing.records.iter().map(|record| record.as_ref().map(|record| &*record.name)).collect();
    assert_eq!((names, listing.revision), (vec![Ok("a"), Err(&newer), Ok("c/d")], last));
    assert_eq!(peers.get("b").await, Err(newer));
    assert_eq!(listing.records[0], Ok(Record { name: "a".to_owned(), value: peer("x"), revision: a }));
    peers.delete("b", Expected::At(b)).await.expect("what cannot be read can be deleted");
}

#[tokio::test]
async fn a_watch_tells_records_of_the_kind() {
    let (store, peers) = store();
    let mut watch = peers.watch(Revision(0)).await.expect("it is the last");
    let revision = peers.put("a", &peer("x"), Expected::Absent).await.expect("nothing is there");
    store.put("peers2/e", "other".into(), Expected::Absent).await.expect("nothing is there");
    let batch = watch.next().await.expect("the watch has not ended").expect("it is kept");
    let [Change::Put(entry)] = &*batch.changes else { panic!("{batch:?}") };
    assert_eq!(PEERS.decode(entry), Ok(Record { name: "a".to_owned(), value: peer("x"), revision }));
}

#[tokio::test]
async fn a_name_that_cannot_be_a_key_is_refused() {
    let (_, peers) = store();
    for name in [String::new(), "x".repeat(MAX_KEY)] {
        let invalid = |error: &Error| matches!(error, Error::Invalid(_));
        assert!(
            peers.get(&name).await.is_err_and(|error| matches!(error, RecordError::Store(Error::Invalid(_))))
        );
        assert!(peers.put(&name, &peer("x"), Expected::Anything).await.is_err_and(|error| invalid(&error)));
        assert!(peers.delete(&name, Expected::Anything).await.is_err_and(|error| invalid(&error)));
    }
}

#[test]
fn a_key_has_a_name_only_in_its_own_kind() {
    for (key, name) in [
        ("peers/a", Some("a")),
        ("peers/a/b", Some("a/b")),
        ("peers/", None),
        ("peers", None),
        ("peers2/a", None),
    ] {
        assert_eq!(PEERS.name(key), name, "{key}");
    }
}

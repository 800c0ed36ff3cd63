//! Files and records that are not as they should be.

use super::*;

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_name_and_the_way_out_and_left_as_it_is() {
    let mut node = Node::new("a", &Moved::new(), None).await;
    let kid = node.signing();
    let file = node.file(&kid);
    let good = fs::read_to_string(&file).expect("it is there");
    let other = Node::new("b", &Moved::new(), None).await;
    let other_kid = other.signing();
    let foreign = fs::read_to_string(other.file(&other_kid)).expect("it is there");
    let member = |text: &str, name: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
        value[name].as_str().expect("it has it").to_owned()
    };
    let secret = member(&good, "private_key");
    let cases = [
        (String::new(), "line 1, column 0 is wrong"),
        (good[..good.len() / 2].to_owned(), "is wrong"),
        (good.replace("\"schema\": 1", "\"schema\": 2"), "schema 2, and schema 1 is known"),
        (good.replace("\"created\"", "\"begun\""), "is wrong"),
        (good.replace(&secret, "!"), "is wrong"),
        (good.replace(&secret, "AAAA"), "no PKCS#8 key"),
        (good.replace(&secret, &member(&foreign, "private_key")), "belongs to another public key"),
        (good.replace("private_key", "public_key"), "is wrong"),
        (good.replace("\"ES256\"", "\"EdDSA\""), "is wrong"),
        (foreign, "its name says another"),
    ];
    for (text, problem) in cases {
        fs::write(&file, &text).expect("it can be written");
        let error = node.start().await.expect_err(problem);
        assert_eq!(error.code(), "token_key_damaged");
        let said = error.to_string();
        assert!(said.starts_with(&format!("{} is no signing key of altsd: ", file.display())), "{said}");
        assert!(said.contains(problem) && said.contains("put it back from a backup"), "{problem}: {said}");
        assert!(!said.contains(&secret[..20]), "{said}");
        assert_eq!(fs::read_to_string(&file).expect("it is there"), text);
    }
    fs::write(&file, good).expect("it can be written");
    node.start().await.expect("it is whole again");
    assert_eq!(node.signing(), kid);
}

#[tokio::test]
async fn a_private_half_that_is_missing_is_not_made_up_for() {
    let mut node = Node::new("a", &Moved::new(), None).await;
    let file = node.file(&node.signing());
    let mut value: serde_json::Value =
        serde_json::from_slice(&fs::read(&file).expect("it is there")).expect("it is JSON");
    value.as_object_mut().expect("it is an object").remove("private_key");
    fs::write(&file, value.to_string()).expect("it can be written");
    let error = node.start().await.expect_err("it cannot sign").to_string();
    assert!(error.contains("its private key is missing"), "{error}");
}

#[tokio::test]
async fn what_is_no_file_of_a_key_is_named() {
    let mut node = Node::new("a", &Moved::new(), None).await;
    fs::write(node.keys_directory().join("notes.txt"), "x").expect("there is room");
    let error = node.start().await.expect_err("it is foreign").to_string();
    assert!(
        error.contains("notes.txt is no signing key of altsd: its name does not end with .json"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_crash_leaves_of_a_write_is_no_key() {
    let mut node = Node::new("a", &Moved::new(), None).await;
    let kid = node.signing();
    fs::write(node.keys_directory().join(format!(".{kid}.json.new")), "{").expect("there is room");
    node.start().await.expect("it starts");
    assert_eq!(node.signing(), kid);
}

#[tokio::test]
async fn files_and_their_directory_are_the_owners_alone() {
    let mut node = Node::new("a", &Moved::new(), None).await;
    let mode = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let (directory, file) = (node.keys_directory(), node.file(&node.signing()));
    assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
    for (path, open, shut) in [(&directory, 0o750, 0o700), (&file, 0o640, 0o600), (&file, 0o604, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(open)).expect("it is ours");
        let error = node.start().await.expect_err("others may read it").to_string();
        assert!(error.contains(&format!("has mode {open:04o}")), "{error}");
        assert!(error.contains(&format!("run: chmod {shut:o} {}", path.display())), "{error}");
        fs::set_permissions(path, fs::Permissions::from_mode(shut)).expect("it is ours");
    }
    node.start().await.expect("it starts");
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_told_and_the_key_in_use_stays() {
    let clock = Moved::new();
    let node = Node::new("a", &clock, None).await;
    let first = node.signing();
    let (directory, elsewhere) = (node.keys_directory(), node.directory.path().join("elsewhere"));
    fs::rename(&directory, &elsewhere).expect("it can be moved");
    node.pass(86_400).await;
    assert_eq!((node.signing(), node.failure()), (first.clone(), Some("token_keys_unwritable")));
    assert!(node.own(State::Next).is_empty(), "a key that would be lost with the process is none");
    fs::rename(&elsewhere, &directory).expect("it can be moved back");
    node.turn().await;
    assert_eq!((node.own(State::Next).len(), node.failure()), (1, None));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_left_out_and_told() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let kid = node.signing();
    let mut record = serde_json::to_value(&store.records().await[&kid]).expect("it is JSON");
    record["key"]["kid"] = "x".into();
    let good = serde_json::to_value(&store.records().await[&kid]).expect("it is JSON");
    let cases = [
        ("garbage", "{".to_owned(), "cannot be read"),
        ("newer", json!({"schema": 2, "value": good}).to_string(), "schema 2"),
        ("renamed", json!({"schema": 1, "value": good}).to_string(), "has the key"),
        ("lies", json!({"schema": 1, "value": record}).to_string(), "is not the one that its kid says"),
    ];
    for (name, value, _) in &cases {
        let key = format!("token-keys/{name}");
        store.store.put(&key, value.clone().into(), Expected::Absent).await.expect("there is room");
    }
    node.hear().await;
    let status = node.keyring().status();
    for (name, _, problem) in &cases {
        let found = status.unreadable.iter().find(|(found, _)| found == name);
        assert!(found.is_some_and(|(_, said)| said.contains(problem)), "{name}: {found:?}");
    }
    assert_eq!((node.published(), node.signing()), (vec![kid.clone()], kid));
    assert_eq!(
        store.store.list("token-keys/").await.expect("it is there").entries.len(),
        5,
        "nothing is deleted"
    );
}

#[tokio::test]
async fn our_own_record_that_cannot_be_read_is_not_written_over() {
    let (clock, store) = (Moved::new(), Away::new());
    let node = Node::new("a", &clock, Some(&store)).await;
    let kid = node.signing();
    let key = format!("token-keys/{kid}");
    store.store.put(&key, "{".into(), Expected::Anything).await.expect("there is room");
    node.hear().await;
    assert_eq!((node.signing(), node.failure()), (kid.clone(), Some("record_unreadable")));
    store.store.delete(&key, Expected::Anything).await.expect("it is there");
    node.hear().await;
    assert_eq!((node.failure(), store.records().await.len()), (None, 1));
}

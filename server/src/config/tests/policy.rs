//! The sections `policy` and `store`, and who operates the node.

use super::{super::*, GOOD, WORKLOADS, read_text, refused_all};
use crate::policy::Action;

fn with(text: &str, more: &str) -> String {
    format!("{text}\n{more}")
}

#[test]
fn the_default_is_what_the_file_says_and_documents_are_beside_it() {
    let launch = read_text(&GOOD.replace(
        "default = \"allow\"",
        "default = \"deny\"\nfiles = [\"peers.toml\", \"/elsewhere/names.yaml\"]",
    ))
    .expect("it is valid");
    assert_eq!(launch.policy.default, Action::Deny);
    let files: Vec<_> =
        launch.policy.files.iter().map(|file| file.value.to_str().expect("it is UTF-8")).collect();
    assert_eq!(files, ["etc/peers.toml", "/elsewhere/names.yaml"]);
    assert_eq!(read_text(GOOD).expect("it is valid").policy.default, Action::Allow);
}

#[test]
fn decisions_are_kept_in_the_state_directory_unless_something_else_is_said() {
    let database =
        |mebibytes: u64| Database { state_directory: "etc/state".into(), max_bytes: mebibytes << 20 };
    let store = |text: &str| read_text(text).expect("it is valid").store;
    assert!(matches!(store(WORKLOADS), Some(StoreSettings::Sled(found)) if found == database(256)));
    let text = with(WORKLOADS, "[store]\nmax_mebibytes = 7\n");
    assert!(matches!(store(&text), Some(StoreSettings::Sled(found)) if found == database(7)));
    // Where there is no place for them, there is none.
    assert!(store(GOOD).is_none());
    assert!(matches!(store(&with(GOOD, "[store]\nengine = \"memory\"\n")), Some(StoreSettings::Memory)));
}

#[test]
fn a_default_that_is_not_said_or_not_known_is_refused() {
    let policy = "[policy]\ndefault = \"allow\"\n";
    let cases = [
        (policy, "", "1: policy.default", "is missing; say what holds for peers that no rule names"),
        (policy, "[policy]\n", "27: policy.default", "is missing; say what holds"),
        ("\"allow\"", "\"ALLOW\"", "28: policy.default", "\"ALLOW\" is neither \"allow\" nor \"deny\""),
        ("\"allow\"", "true", "28: policy.default", "invalid type: boolean"),
        (
            "default = \"allow\"",
            "default = \"allow\"\nfile = \"p\"",
            "29: policy.file",
            "unknown field `file`",
        ),
        (
            "default = \"allow\"",
            "default = \"allow\"\nfiles = \"p\"",
            "29: policy.files",
            "invalid type: string",
        ),
    ];
    refused_all(GOOD, &cases);
}

#[test]
fn a_store_that_cannot_be_is_refused() {
    let cases = [
        (
            "[store]",
            "[store]\nengine = \"sled\"",
            "31: state_directory",
            "is missing; the store keeps its database",
        ),
        ("[store]", "[store]\nengine = \"redis\"", "32: store.engine", "\"redis\" is no engine"),
        ("[store]", "[store]\nmax_mebibytes = 0", "32: store.max_mebibytes", "0 is out of range"),
        ("[store]", "[store]\nmax_mebibytes = 1048577", "32: store.max_mebibytes", "1048577 is out of range"),
        (
            "[store]",
            "[store]\nengine = \"memory\"\n[store.etcd]",
            "33: store.etcd",
            "is not used; write engine",
        ),
        ("[store]", "[store]\n[store.etcd]", "32: store.etcd", "is not used; write engine"),
        ("[store]", "[store]\npath = \"p\"", "32: store.path", "unknown field `path`"),
    ];
    refused_all(&with(GOOD, "\n[store]\n"), &cases);
}

#[test]
fn operators_are_named_by_their_number() {
    let admin = |text: &str| read_text(text).expect("it is valid").admin.expect("it has the section");
    assert!(admin(WORKLOADS).uids.is_empty());
    let text = WORKLOADS.replace("[metrics]", "uids = [1010, 1011]\n[metrics]");
    assert_eq!(admin(&text).uids, [1010, 1011]);
    refused_all(
        WORKLOADS,
        &[
            ("[metrics]", "uids = [\"root\"]\n[metrics]", "40: admin.uids[0]", "invalid type: string"),
            ("[metrics]", "uids = [-1]\n[metrics]", "40: admin.uids[0]", "invalid value: integer `-1`"),
        ],
    );
}

#[cfg(not(feature = "etcd"))]
#[test]
fn an_altsd_without_etcd_says_so() {
    let store = "[store]\nengine = \"etcd\"\n[store.etcd]\nendpoints = [\"http://127.0.0.1:2379\"]\n";
    let error = read_text(&with(WORKLOADS, store)).expect_err("it cannot be").to_string();
    assert!(error.contains("store.engine: this altsd is built without etcd"), "{error}");
}

#[cfg(feature = "etcd")]
mod etcd {
    use super::*;

    const STORE: &str = "[store]\nengine = \"etcd\"\nmax_mebibytes = 5\n[store.etcd]\n\
                         endpoints = [\"https://10.0.0.5:2379\", \"https://[fd00::6]:2379/\"]\n";

    fn text() -> String {
        with(WORKLOADS, STORE)
    }

    fn settings(text: &str) -> EtcdSettings {
        match read_text(text).expect("it is valid").store {
            Some(StoreSettings::Etcd(settings)) => *settings,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_said_of_etcd_has_its_default() {
        let settings = settings(&text());
        assert_eq!(settings.endpoints, ["https://10.0.0.5:2379", "https://[fd00::6]:2379"]);
        assert_eq!((&*settings.prefix, settings.request_timeout.as_secs()), ("/altsd/", 5));
        assert_eq!(settings.max_offline.as_secs(), 12 * 3_600);
        assert_eq!(settings.copy.max_bytes, 5 << 20);
        assert!(settings.ca_certificates.is_none() && settings.client.is_none() && settings.user.is_none());
    }

    #[test]
    fn all_that_is_said_of_etcd_is_read() {
        let more = "prefix = \"/eu/\"\nca_certificates = \"ca.pem\"\nclient_certificate = \"c.pem\"\n\
                    client_key = \"c.key\"\nusername = \"altsd\"\npassword_file = \"pw\"\n\
                    request_timeout_seconds = 60\nmax_offline_seconds = 2678400\n";
        let settings = settings(&(text() + more));
        let (certificate, key) = settings.client.expect("it has one");
        let (name, password) = settings.user.expect("it is one");
        let files = [settings.ca_certificates.expect("it has some"), certificate, key, password];
        let files: Vec<_> = files.iter().map(|file| file.value.to_str().expect("it is UTF-8")).collect();
        assert_eq!(files, ["etc/ca.pem", "etc/c.pem", "etc/c.key", "etc/pw"]);
        assert_eq!((&*settings.prefix, &*name), ("/eu/", "altsd"));
        assert_eq!(settings.request_timeout.as_secs(), 60);
        assert_eq!(settings.max_offline.as_secs(), 2_678_400);
    }

    #[test]
    fn a_password_goes_in_clear_to_this_machine_alone() {
        let with_user = |endpoint: &str| {
            let store = format!(
                "[store]\nengine = \"etcd\"\n[store.etcd]\nendpoints = [\"{endpoint}\"]\nusername = \"u\"\npassword_file = \"p\"\n"
            );
            read_text(&with(WORKLOADS, &store)).map(drop)
        };
        for endpoint in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "https://etcd:1"] {
            with_user(endpoint).unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        }
        for endpoint in ["http://10.0.0.5:1", "http://[fd00::6]:1", "http://localhost.example:1"] {
            with_user(endpoint).expect_err(endpoint);
        }
    }

    #[test]
    fn an_etcd_that_cannot_be_asked_is_refused() {
        let endpoints = "endpoints = [\"https://10.0.0.5:2379\", \"https://[fd00::6]:2379/\"]\n";
        let key = |name: &str, line: u32| format!("{line}: store.etcd.{name}");
        let cases = [
            (endpoints, "", key("endpoints", 49), "is missing"),
            (endpoints, "endpoints = []\n", key("endpoints", 50), "the list is empty"),
            (
                "https://10.0.0.5:2379",
                "10.0.0.5:2379",
                key("endpoints[0]", 50),
                "\"10.0.0.5:2379\" is no endpoint",
            ),
            (
                "https://10.0.0.5:2379",
                "https://10.0.0.5",
                key("endpoints[0]", 50),
                "\"https://10.0.0.5\" is no",
            ),
            (
                "https://10.0.0.5:2379",
                "https://10.0.0.5:0",
                key("endpoints[0]", 50),
                "\"https://10.0.0.5:0\" is no",
            ),
            ("https://10.0.0.5:2379", "https://u:p@h:2379", key("endpoints[0]", 50), "\"…@h:2379\" is no"),
            (
                "https://10.0.0.5:2379",
                "https://h:2379/a",
                key("endpoints[0]", 50),
                "\"https://h:2379/a\" is no",
            ),
            ("https://10.0.0.5:2379", "unix:/etcd", key("endpoints[0]", 50), "\"unix:/etcd\" is no endpoint"),
            (endpoints, &*format!("{endpoints}prefix = \"eu/\""), key("prefix", 51), "\"eu/\" is no prefix"),
            (endpoints, &*format!("{endpoints}prefix = \"/eu\""), key("prefix", 51), "\"/eu\" is no prefix"),
            (endpoints, &*format!("{endpoints}prefix = \"/\""), key("prefix", 51), "\"/\" is no prefix"),
            (
                endpoints,
                &*format!("{endpoints}client_key = \"k\""),
                key("client_key", 51),
                "needs store.etcd.client_certificate beside it",
            ),
            (
                endpoints,
                &*format!("{endpoints}client_certificate = \"k\""),
                key("client_certificate", 51),
                "needs store.etcd.client_key beside it",
            ),
            (
                endpoints,
                &*format!("{endpoints}username = \"u\""),
                key("username", 51),
                "needs store.etcd.password_file beside it",
            ),
            (
                endpoints,
                &*format!("{endpoints}password_file = \"p\""),
                key("password_file", 51),
                "needs store.etcd.username beside it",
            ),
            (
                endpoints,
                "endpoints = [\"http://127.0.0.1:1\", \"http://etcd:2379\"]\nusername = \"u\"\npassword_file = \"p\"",
                key("endpoints", 50),
                "http://etcd:2379 would get the password of username in clear",
            ),
            (
                endpoints,
                &*format!("{endpoints}password = \"p\""),
                key("password", 51),
                "unknown field `password`",
            ),
            (
                endpoints,
                &*format!("{endpoints}request_timeout_seconds = 61"),
                key("request_timeout_seconds", 51),
                "61 is out of range",
            ),
            (
                endpoints,
                &*format!("{endpoints}max_offline_seconds = 0"),
                key("max_offline_seconds", 51),
                "0 is out of range",
            ),
        ];
        let cases: Vec<_> =
            cases.iter().map(|(from, to, place, problem)| (*from, *to, &**place, *problem)).collect();
        refused_all(&text(), &cases);
        refused_all(
            &with(WORKLOADS, "[store]\nengine = \"etcd\"\n"),
            &[("[store]", "[store]", "46: store.etcd.endpoints", "is missing")],
        );
    }
}

//! The way of a key, as a table of moments; and, in `properties`, what is true whatever happens.

use super::*;

mod properties;

const NOW: u64 = 1_767_225_600;

const SETTINGS: Settings = Settings {
    origin: Origin::Generated,
    rotate: 86_400,
    publish_ahead: 1_800,
    verifier_cache: 1_200,
    max_lifetime: 900,
    sign_at_once: false,
};

const KEPT: u64 = 900 + 60 + 1_200;

/// A key that was published `ago` seconds before [`NOW`] and does not sign yet.
fn next(kid: &str, ago: u64) -> Key {
    Key {
        kid: kid.to_owned(),
        created: NOW - ago,
        published: Some(NOW - ago),
        promised: NOW + PROMISE,
        activated: None,
        retired: None,
        withdrawn: None,
        used: 0,
        kept: KEPT,
        at_once: false,
        soon: false,
        fits: true,
        in_store: true,
    }
}

/// One that signs since `ago` seconds.
fn active(kid: &str, ago: u64) -> Key {
    Key { activated: Some(NOW - ago), ..next(kid, ago + 1_800) }
}

fn retired(kid: &str, ago: u64) -> Key {
    Key { retired: Some(NOW - ago), ..active(kid, ago + 86_400) }
}

fn withdrawn(kid: &str, ago: u64) -> Key {
    Key { withdrawn: Some(NOW - ago), ..active(kid, ago + 86_400) }
}

fn own(keys: impl IntoIterator<Item = Key>) -> Own {
    Own { keys: keys.into_iter().collect(), others: Some(false), offered: None }
}

/// What is planned, in short.
fn planned(own: &Own, settings: &Settings) -> Vec<String> {
    planned_at(NOW, own, settings)
}

fn planned_at(now: u64, own: &Own, settings: &Settings) -> Vec<String> {
    let short = |step| match step {
        Step::Make { at_once, reason } => format!("make{} {reason:?}", if at_once { " at once" } else { "" }),
        Step::Publish { kid, reason } => format!("publish {kid} {reason:?}"),
        Step::Activate { kid, reason } => format!("activate {kid} {reason:?}"),
        Step::Retire { kid, at, reason } => format!("retire {kid} {} {reason:?}", at as i64 - NOW as i64),
        Step::Forget { kid, reason } => format!("forget {kid} {reason:?}"),
    };
    plan(now, own, settings).into_iter().map(short).collect()
}

#[test]
fn each_moment_of_a_key_has_its_step() {
    let none: [&str; 0] = [];
    let lead = 1_800 + 3_600;
    let unpublished = Key { published: None, promised: 0, in_store: false, ..next("n", 0) };
    let cases: Vec<(&str, Vec<Key>, Vec<&str>)> = vec![
        ("no key", vec![], vec!["make at once First"]),
        ("made", vec![unpublished.clone()], vec!["publish n NotInStore"]),
        ("published too lately", vec![next("n", 1_799)], none.to_vec()),
        ("published for long enough", vec![next("n", 1_800)], vec!["activate n First"]),
        (
            "published for long, record not in the store",
            vec![Key { in_store: false, ..next("n", 1_800) }],
            vec!["publish n NotInStore", "activate n First"],
        ),
        ("young", vec![active("a", 86_400 - lead - 1)], none.to_vec()),
        ("old soon", vec![active("a", 86_400 - lead)], vec!["make Age"]),
        ("old soon, and the next is there", vec![active("a", 86_399), next("n", 5_000)], none.to_vec()),
        ("old, and the next is unknown", vec![active("a", 90_000), next("n", 1_799)], none.to_vec()),
        (
            "old, and the next is not published",
            vec![active("a", 90_000), unpublished],
            vec!["publish n NotInStore"],
        ),
        ("old", vec![active("a", 86_400), next("n", 1_800)], vec!["activate n Age", "retire a 0 Succeeded"]),
        ("two active", vec![active("a", 50), active("b", 20)], vec!["retire a 0 Succeeded"]),
        (
            "asked for",
            vec![active("a", 9), Key { soon: true, ..next("n", 1_800) }],
            vec!["activate n Asked", "retire a 0 Succeeded"],
        ),
        (
            "asked for, and unknown",
            vec![active("a", 9), Key { soon: true, ..next("n", 1_799) }],
            none.to_vec(),
        ),
        ("retired", vec![active("a", 9), retired("r", KEPT)], none.to_vec()),
        ("gone", vec![active("a", 9), retired("r", KEPT + 1)], vec!["forget r Unneeded"]),
        ("withdrawn", vec![active("a", 9), withdrawn("w", KEPT)], none.to_vec()),
        ("withdrawn long ago", vec![active("a", 9), withdrawn("w", KEPT + 1)], vec!["forget w Unneeded"]),
        ("the only one withdrawn", vec![withdrawn("w", 0)], vec!["make at once Replacement"]),
        ("the only one retired", vec![retired("r", 0)], vec!["make First"]),
        (
            "withdrawn, and the store does not know",
            vec![active("a", 9), Key { in_store: false, ..withdrawn("w", 1) }],
            vec!["publish w NotInStore"],
        ),
        (
            "promise half over",
            vec![Key { promised: NOW + PROMISE / 2 - 1, ..active("a", 9) }],
            vec!["publish a Promise"],
        ),
        ("promise over", vec![Key { promised: NOW - KEPT, ..active("a", 9) }], vec!["publish a Promise"]),
        (
            "lapsed",
            vec![Key { promised: NOW - KEPT - 1, ..active("a", 9) }],
            vec!["retire a -2161 Lapsed", "make First"],
        ),
        (
            "next, promise over",
            vec![Key { promised: NOW - 1, ..next("n", 9_000) }],
            vec!["publish n Promise"],
        ),
        ("of another algorithm", vec![Key { fits: false, ..active("a", 9) }], vec!["make Configuration"]),
        (
            "of another algorithm, and the next is there",
            vec![Key { fits: false, ..active("a", 9) }, next("n", 1_800)],
            vec!["activate n Configuration", "retire a 0 Succeeded"],
        ),
        (
            "next of another algorithm",
            vec![active("a", 9), Key { fits: false, ..next("n", 1_800) }],
            vec!["retire n 0 Configuration"],
        ),
        (
            "published in the future",
            vec![active("a", 9), Key { published: Some(NOW + 9), ..next("n", 0) }],
            vec!["publish n ClockSetBack"],
        ),
        (
            "active in the future",
            vec![Key { activated: Some(NOW + 3_601), ..active("a", 0) }],
            vec!["make Age"],
        ),
        (
            "active in the near future",
            vec![Key { activated: Some(NOW + 3_600), ..active("a", 0) }],
            none.to_vec(),
        ),
        (
            "used in the future",
            vec![Key { used: NOW + 500, ..active("a", 86_400) }, next("n", 1_800)],
            vec!["activate n Age", "retire a 500 Succeeded"],
        ),
    ];
    for (name, keys, expected) in cases {
        assert_eq!(planned(&own(keys), &SETTINGS), expected, "{name}");
    }
}

#[test]
fn the_first_key_waits_if_others_publish_a_set_already() {
    let unknown = Own { others: None, ..own([]) };
    assert!(planned(&unknown, &SETTINGS).is_empty(), "the store has not said who else there is");
    let others = Own { others: Some(true), ..own([]) };
    assert_eq!(planned(&others, &SETTINGS), ["make First"]);
    assert_eq!(planned(&others, &Settings { sign_at_once: true, ..SETTINGS }), ["make at once First"]);
    let at_once = Own { others: Some(true), ..own([Key { at_once: true, ..next("n", 0) }]) };
    assert_eq!(planned(&at_once, &SETTINGS), ["activate n First"]);
}

#[test]
fn an_imported_key_is_replaced_by_what_its_file_holds_and_by_nothing_else() {
    let settings = Settings { origin: Origin::Imported, ..SETTINGS };
    let offered = |kid: &str, keys: Vec<Key>| Own { offered: Some(kid.to_owned()), ..own(keys) };
    let none: [&str; 0] = [];
    let unfit = |key| Key { fits: false, ..key };
    let cases = [
        (own([]), none.to_vec()),
        (offered("a", vec![]), vec!["make at once First"]),
        (offered("a", vec![active("a", 900_000)]), none.to_vec()),
        (own([active("a", 900_000)]), none.to_vec()),
        (offered("b", vec![unfit(active("a", 9))]), vec!["make Configuration"]),
        (offered("b", vec![unfit(active("a", 9)), next("b", 1_799)]), none.to_vec()),
        (
            offered("b", vec![unfit(active("a", 9)), next("b", 1_800)]),
            vec!["activate b Configuration", "retire a 0 Succeeded"],
        ),
        (offered("a", vec![active("a", 9), unfit(next("b", 1_800))]), vec!["retire b 0 Configuration"]),
        (offered("r", vec![retired("r", 9)]), none.to_vec()),
        (offered("w", vec![withdrawn("w", 9)]), none.to_vec()),
    ];
    for (own, expected) in cases {
        assert_eq!(planned(&own, &settings), expected, "{own:?}");
    }
}

#[test]
fn a_clock_that_goes_back_brings_nothing_back_and_hurries_nothing() {
    let keys = own([active("a", 9), retired("r", 9), withdrawn("w", 9), next("n", 100)]);
    for back in [1, 9, 10, 3_600, 86_400, 86_400 * 365] {
        let steps = planned_at(NOW - back, &keys, &SETTINGS);
        assert!(
            steps.iter().all(|step| step.starts_with("publish n ") || step.starts_with("make Age")),
            "{steps:?}"
        );
    }
    assert_eq!((retired("r", 9).state(), withdrawn("w", 9).state()), (State::Retired, State::Withdrawn));
}

#[test]
fn dates_are_corrected_by_a_clock_that_nobody_sets() {
    let mut key = next("n", 100);
    assert!(
        !key.correct(NOW, Some(100), None)
            && !key.correct(NOW, None, None)
            && !key.correct(NOW, Some(98), None)
    );
    assert!(key.correct(NOW + 7_200, Some(100), None), "the clock was set two hours ahead");
    assert_eq!(key.published, Some(NOW + 7_100));
    assert!(key.correct(NOW, Some(101), None), "and back");
    assert_eq!(key.published, Some(NOW - 101));
    let mut key = retired("r", 100);
    assert!(
        key.correct(NOW + 7_200, None, Some(100)),
        "a token has not ended earlier because the clock was set"
    );
    assert_eq!(key.retired, Some(NOW + 7_100));
    assert!(!key.correct(NOW, None, Some(100)), "nor does it end earlier because it was set back");
    let mut key = active("a", 100);
    assert!(!key.correct(NOW + 7_200, Some(100), None), "it signs already");
    // As whoever can write to the store can date it.
    let mut key = Key { withdrawn: Some(u64::MAX), ..withdrawn("w", 100) };
    assert!(!key.correct(NOW, None, Some(100)), "what is withdrawn stays so");
    assert_eq!((key.state(), key.gone_after()), (State::Withdrawn, Some(u64::MAX)));
}

#[test]
fn the_next_look_is_at_the_next_date_and_never_before_now() {
    let lead = 1_800 + 3_600;
    let cases = [
        (vec![], None),
        (vec![next("n", 100)], Some(1_700)),
        (vec![active("a", 100)], Some(86_300 - lead)),
        (vec![active("a", 86_399), next("n", 100)], Some(1)),
        (vec![active("a", 900_000)], Some(PROMISE / 2)),
        (vec![retired("r", 100)], Some(KEPT - 99)),
        (vec![Key { promised: u64::MAX, ..active("a", 900_000) }], Some(u64::MAX - PROMISE / 2 - NOW)),
    ];
    for (keys, after) in cases {
        assert_eq!(wake(NOW, &own(keys.clone()), &SETTINGS), after.map(|after| NOW + after), "{keys:?}");
    }
}

#[test]
fn a_key_that_signs_before_verifiers_must_know_it_is_warned_of() {
    let warning = |publish_ahead| Settings { publish_ahead, ..SETTINGS }.warning();
    assert_eq!((warning(1_200), warning(u64::MAX)), (None, None));
    let text = warning(900).expect("it is too short");
    assert!(text.contains("publish_ahead_seconds is 900") && text.contains("for up to 300 s"), "{text}");
}

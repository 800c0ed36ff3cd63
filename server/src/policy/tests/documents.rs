//! Documents: taken whole, or refused with the place of what is wrong.

use super::*;

const TOML: &str = include_str!("example.toml");
const YAML: &str = include_str!("example.yaml");

#[test]
fn the_example_says_the_same_in_both_formats() {
    let toml = resources(TOML);
    assert_eq!(parse(YAML, Format::Yaml), Ok(toml.clone()));
    assert_eq!((toml.peer_lists.len(), toml.rules.len(), toml.target_names.len()), (2, 3, 2));
    assert_eq!(check_complete(&toml), Ok(()));
}

#[test]
fn the_example_does_what_it_says() {
    let policy = policy(Action::Deny, TOML);
    assert!(policy.problems().is_empty());
    let cases = [
        ("web@prod.example.com", Reason::AllowedByRule),
        ("app@mobile.example.com", Reason::AllowedByRule),
        ("spiffe://prod.example.com/shop/frontend/a", Reason::AllowedByRule),
        ("billing@prod.example.com", Reason::AllowedByRule),
        ("search@prod.example.com", Reason::DeniedNotListed),
    ];
    for (by, reason) in cases {
        assert_eq!(serve(&policy, by).reason, reason, "{by}");
    }
    let call = |by, name| decide(&policy, Side::Client, LOCAL, by, name).reason;
    assert_eq!(call("db@prod.example.com", "db.example.com:5432"), Reason::AllowedByRule);
    assert_eq!(call("web@prod.example.com", "db.example.com:5432"), Reason::TargetNameMismatch);
    assert_eq!(call("web@prod.example.com", "other:1"), Reason::DeniedNotListed);
}

/// The one problem of a document, as it is shown.
fn problem(text: &str, format: Format) -> String {
    match parse(text, format).expect_err(text).as_slice() {
        [problem] => problem.to_string(),
        problems => panic!("{problems:?}"),
    }
}

#[test]
fn a_problem_is_told_with_its_line_and_key() {
    let toml = [
        (
            TOML.replace("\"web@prod.example.com\",", "\"web\","),
            "6: peer_list[0].peers[0]: \"web\" matches no peer:",
        ),
        (TOML.replace("\"shadow\"", "\"dry\""), "31: rule[1].mode: \"dry\" is none of enforce and shadow"),
        (TOML.replace("443", "0"), "44: target_name[0].name: \"orders.example.com:0\" is no target name:"),
        (
            TOML.replace("\"quarantine-in\"", "\"orders-callers\""),
            "27: rule[1].name: orders-callers is defined in",
        ),
        (TOML.replace("action = \"deny\"\n", ""), "26: rule[1]: missing field `action`"),
        (TOML.replace("mode = ", "mod = "), "31: rule[1].mod: unknown field `mod`"),
        (TOML.replace("peers = []", "peers = 1"), "14: peer_list[1].peers: invalid type: integer `1`"),
        (TOML.replace("peers = []", ""), "11: peer_list[1]: missing field `peers`"),
        ("[[rules]]".to_owned(), "1: rules[0]: unknown field `rules`"),
        ("rule = [\n".to_owned(), "1: "),
        ("rule = 1".to_owned(), "1: rule: invalid type: integer `1`"),
        (String::new(), "1: the document is empty"),
        ("# nothing\n".to_owned(), "1: the document is empty"),
    ];
    let yaml = [
        (
            YAML.replace("- web@prod.example.com", "- web"),
            "5: peer_list[0].peers[0]: \"web\" matches no peer:",
        ),
        (
            YAML.replace("mode: shadow", "mode: dry"),
            "23: rule[1].mode: \"dry\" is none of enforce and shadow",
        ),
        (YAML.replace("orders.example.com:443", "orders.example.com:0"), "32: target_name[0].name: "),
        (YAML.replace("peers: []", "peer: []"), "10: unknown field"),
        (YAML.replace("mode: shadow", "mode: [a"), ""),
        ("rules: []".to_owned(), "1: unknown field"),
        ("rule: 1".to_owned(), "1: "),
        (String::new(), "1: the document is empty"),
        ("rule:\n".to_owned(), "1: the document is empty"),
    ];
    let all = toml.map(|case| (Format::Toml, case)).into_iter().chain(yaml.map(|case| (Format::Yaml, case)));
    let wrong: Vec<_> = all
        .map(|(format, (text, expected))| (problem(&text, format), expected))
        .filter(|(shown, expected)| !shown.starts_with(expected) || shown.contains('\n'))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_problems_are_told_up_to_a_bound() {
    let bad = |count: usize| (0..count).map(|_| rule("A", "allow", "enforce", "*")).collect::<String>();
    for (count, told) in [(1, 1), (3, 3), (20, 20), (500, 20)] {
        assert_eq!(parse(&bad(count), Format::Toml).map_err(|it| it.len()), Err(told));
    }
}

#[test]
fn a_document_that_shall_hold_nothing_says_so() {
    assert_eq!(parse("rule = []", Format::Toml), Ok(Resources::default()));
    assert_eq!(parse("rule: []", Format::Yaml), Ok(Resources::default()));
}

#[test]
fn yaml_cannot_grow_beyond_its_text_nor_say_a_thing_twice() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nrule: []\n";
    let deep = format!("rule: {}{}", "[".repeat(100), "]".repeat(100));
    let refused = [
        bomb,
        "rule: []\nrule: []",
        "x: &x {name: a}\nrule: [{<<: *x}]",
        "rule: &a []",
        "rule: []\n---\nrule: []",
        "rule: [[[[[[[[[[]]]]]]]]]]",
        "- rule",
        "rule: [{name: true}]",
        &deep,
    ];
    for text in refused {
        let problems = parse(text, Format::Yaml).expect_err(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn both_formats_take_a_document_of_its_full_size() {
    use std::fmt::Write as _;

    let (mut toml, mut yaml) = (String::new(), String::from("peer_list:\n"));
    for list in 0..3 {
        write!(toml, "[[peer_list]]\nname = \"l{list}\"\npeers = [\n").expect("a string takes it");
        write!(yaml, "  - name: l{list}\n    peers:\n").expect("a string takes it");
        for number in 0..MAX_PEERS {
            writeln!(toml, "\"a{number}@prod.example.com\",").expect("a string takes it");
            writeln!(yaml, "      - a{number}@prod.example.com").expect("a string takes it");
        }
        toml += "]\n";
    }
    let toml = resources(&toml);
    assert_eq!(parse(&yaml, Format::Yaml), Ok(toml.clone()));
    assert_eq!(toml.peer_lists.len(), 3);
}

#[test]
fn a_document_alone_has_all_lists_that_its_rules_name() {
    let toml = TOML.replace("peer_lists = [\"quarantine\"]", "peer_lists = [\"quarantine\", \"gone\"]");
    let missing = check_complete(&resources(&toml)).expect_err("a list is missing");
    let shown: Vec<_> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "rule quarantine-in names list gone, which there is not; add a peer_list of this name or remove it from \
          the rule"
        ]
    );
}

#[test]
fn formats_are_told_by_the_end_of_a_name() {
    let cases = [
        ("toml", Some(Format::Toml)),
        ("yaml", Some(Format::Yaml)),
        ("yml", Some(Format::Yaml)),
        ("TOML", None),
        ("json", None),
        ("", None),
    ];
    for (extension, format) in cases {
        assert_eq!(Format::of_extension(extension), format);
    }
}

//! What rules give out, and to whom.

use super::*;

const SHOP: &str = "https://shop.example";
const BANK: &str = "https://bank.example";

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::parse(text).expect("it is a pattern")).collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn rule() -> Rule {
    Rule {
        origins: vec![Origin::Local],
        subjects: patterns(&["*@shop.example"]),
        callers: Vec::new(),
        actors: Vec::new(),
        actor_origins: vec![Origin::Local],
        impersonation: false,
        audiences: strings(&[SHOP, BANK]),
        default_audience: Some(SHOP.to_owned()),
        many_audiences: false,
        scopes: strings(&["read", "write"]),
        drops_scopes: true,
        max_lifetime: 600,
        one_time: false,
    }
}

fn subject(origin: Origin, name: &str) -> Subject {
    Subject {
        origin,
        issuer: "https://tokens.example".to_owned(),
        sub: name.to_owned(),
        name: name.to_owned(),
        scopes: None,
        audiences: Vec::new(),
        expires: None,
        actor: None,
        may_act: None,
        proof: None,
    }
}

fn asked<'a>(subject: &'a Subject) -> Asked<'a> {
    Asked { subject, caller: None, actor: None, audiences: &[], scopes: &[] }
}

fn issuer() -> Origin {
    Origin::Issuer("https://idp.example".to_owned())
}

#[test]
fn without_a_rule_nothing_is_given_out() {
    let subject = subject(Origin::Local, "orders@shop.example");
    assert_eq!(Rules::default().decide(&asked(&subject)), Err(Denied::NoRule));
}

#[test]
fn a_rule_is_for_subjects_by_name_and_by_what_proved_them() {
    let rules = Rules::new(vec![rule()]);
    let cases = [
        (Origin::Local, "orders@shop.example", true),
        (Origin::Local, "orders@other.example", false),
        (Origin::Alts, "orders@shop.example", false),
        (Origin::Own, "orders@shop.example", false),
        (issuer(), "orders@shop.example", false),
    ];
    for (origin, name, is_for) in cases {
        let subject = subject(origin, name);
        let decided = rules.decide(&asked(&subject));
        assert_eq!(decided.is_ok(), is_for, "{subject:?}");
        assert!(is_for || decided == Err(Denied::NoRule), "{subject:?}");
    }
}

#[test]
fn the_first_rule_that_is_meant_decides_alone() {
    let narrow = Rule { audiences: strings(&[BANK]), default_audience: None, ..rule() };
    let rules = Rules::new(vec![narrow, rule()]);
    let subject = subject(Origin::Local, "orders@shop.example");
    let shop = strings(&[SHOP]);
    let denied = rules.decide(&Asked { audiences: &shop, ..asked(&subject) });
    assert_eq!(denied, Err(Denied::Audience(SHOP.to_owned())));
    assert_eq!(rules.decide(&asked(&subject)), Err(Denied::NoAudience));
}

#[test]
fn a_rule_for_other_callers_is_passed_over() {
    let gateway = Rule { callers: patterns(&["gateway@shop.example"]), ..rule() };
    let subject = subject(Origin::Local, "orders@shop.example");
    let only = Rules::new(vec![gateway.clone()]);
    for caller in [None, Some("orders@shop.example"), Some("")] {
        assert_eq!(only.decide(&Asked { caller, ..asked(&subject) }), Err(Denied::Caller));
    }
    assert!(only.decide(&Asked { caller: Some("gateway@shop.example"), ..asked(&subject) }).is_ok());
    assert!(Rules::new(vec![gateway, rule()]).decide(&asked(&subject)).is_ok());
}

#[test]
fn a_presented_token_is_exchanged_without_an_actor_only_where_the_rule_says_so() {
    let of_issuer = Rule { origins: vec![issuer(), Origin::Own, Origin::Alts], ..rule() };
    for origin in [issuer(), Origin::Own, Origin::Alts] {
        let subject = subject(origin, "orders@shop.example");
        let strict = Rules::new(vec![of_issuer.clone()]);
        assert_eq!(strict.decide(&asked(&subject)), Err(Denied::Impersonation));
        let open = Rules::new(vec![Rule { impersonation: true, ..of_issuer.clone() }]);
        assert!(open.decide(&asked(&subject)).is_ok());
    }
}

#[test]
fn an_actor_must_be_named_and_be_proved_as_the_rule_demands() {
    let rules = Rules::new(vec![Rule {
        actors: patterns(&["gateway@shop.example"]),
        actor_origins: vec![Origin::Local],
        // Does not help an actor who is not allowed.
        impersonation: true,
        ..rule()
    }]);
    let subject = subject(Origin::Local, "orders@shop.example");
    let cases = [
        (Origin::Local, "gateway@shop.example", true),
        (Origin::Local, "orders@shop.example", false),
        (Origin::Own, "gateway@shop.example", false),
        (issuer(), "gateway@shop.example", false),
    ];
    for (origin, name, may) in cases {
        let actor = Some(Acting { origin: &origin, name });
        let decided = rules.decide(&Asked { actor, ..asked(&subject) });
        assert_eq!(decided.is_ok(), may, "{origin:?} {name}");
        assert!(may || decided == Err(Denied::Actor));
    }
}

#[test]
fn audiences_are_those_of_the_rule_to_the_letter() {
    let subject = subject(Origin::Local, "orders@shop.example");
    let many = Rules::new(vec![Rule { many_audiences: true, ..rule() }]);
    type Given = Result<&'static [&'static str], Denied>;
    let cases: [(&[&str], Given, Given); 6] = [
        (&[], Ok(&[SHOP]), Ok(&[SHOP])),
        (&[BANK], Ok(&[BANK]), Ok(&[BANK])),
        (&[BANK, BANK], Ok(&[BANK]), Ok(&[BANK])),
        (&[BANK, SHOP], Err(Denied::ManyAudiences), Ok(&[BANK, SHOP])),
        (
            &["https://bank.example/"],
            Err(Denied::Audience("https://bank.example/".to_owned())),
            Err(Denied::Audience("https://bank.example/".to_owned())),
        ),
        (&[BANK, "x"], Err(Denied::Audience("x".to_owned())), Err(Denied::Audience("x".to_owned()))),
    ];
    for (audiences, one, several) in cases {
        let audiences = strings(audiences);
        let asked = Asked { audiences: &audiences, ..asked(&subject) };
        let given = |rules: &Rules| rules.decide(&asked).map(|granted| granted.audiences);
        assert_eq!(given(&Rules::new(vec![rule()])), one.map(strings));
        assert_eq!(given(&many), several.map(strings));
    }
}

#[test]
fn scopes_are_what_was_asked_for_and_the_rule_and_the_subject_have() {
    let mut limited = subject(Origin::Local, "orders@shop.example");
    limited.scopes = Some(strings(&["read", "admin"]));
    let free = subject(Origin::Local, "orders@shop.example");
    let cases: [(&Subject, &[&str], &[&str]); 7] = [
        (&free, &[], &[]),
        (&free, &["read"], &["read"]),
        (&free, &["write", "read", "write"], &["write", "read"]),
        (&free, &["admin", "read"], &["read"]),
        (&limited, &["read", "write"], &["read"]),
        (&limited, &["admin"], &[]),
        (&limited, &["READ"], &[]),
    ];
    for (subject, scopes, expected) in cases {
        let scopes = strings(scopes);
        let asked = Asked { scopes: &scopes, ..asked(subject) };
        let granted = Rules::new(vec![rule()]).decide(&asked).map(|granted| granted.scopes);
        assert_eq!(granted, Ok(strings(expected)));
        let strict = Rules::new(vec![Rule { drops_scopes: false, ..rule() }]).decide(&asked);
        let missing = scopes.iter().find(|scope| !expected.contains(&scope.as_str()));
        assert_eq!(strict.err(), missing.map(|scope| Denied::Scope(scope.clone())));
    }
}

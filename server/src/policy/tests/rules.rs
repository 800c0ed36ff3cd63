//! Which of several rules decides, and in which words.

use super::*;

const PEER: &str = "web@prod.example.com";

/// Rules by their words: action, mode, whether they match the peer. They are named `r0`, `r1`, …
fn rules(kinds: &[(&str, &str, bool)]) -> String {
    let one = |(number, (action, mode, matches)): (usize, &(&str, &str, bool))| {
        let peers = if *matches { PEER } else { "other@prod.example.com" };
        rule(&format!("r{number}"), action, mode, peers)
    };
    kinds.iter().enumerate().map(one).collect()
}

const ALLOW: (&str, &str, bool) = ("allow", "enforce", true);
const DENY: (&str, &str, bool) = ("deny", "enforce", true);
const ALLOW_OTHER: (&str, &str, bool) = ("allow", "enforce", false);
const DENY_OTHER: (&str, &str, bool) = ("deny", "enforce", false);
const TRY_ALLOW: (&str, &str, bool) = ("allow", "shadow", true);
const TRY_DENY: (&str, &str, bool) = ("deny", "shadow", true);
const TRY_ALLOW_OTHER: (&str, &str, bool) = ("allow", "shadow", false);
const TRY_DENY_OTHER: (&str, &str, bool) = ("deny", "shadow", false);

#[test]
fn a_denial_wins_over_an_allowance_and_an_allowance_closes_the_door_for_others() {
    let cases: [(&[_], _, _, _); 12] = [
        (&[], Reason::AllowedByDefault, Reason::DeniedByDefault, None),
        (&[DENY_OTHER], Reason::AllowedByDefault, Reason::DeniedByDefault, None),
        (&[ALLOW], Reason::AllowedByRule, Reason::AllowedByRule, Some("r0")),
        (&[DENY], Reason::DeniedByRule, Reason::DeniedByRule, Some("r0")),
        (&[ALLOW_OTHER], Reason::DeniedNotListed, Reason::DeniedNotListed, Some("r0")),
        (&[ALLOW, DENY], Reason::DeniedByRule, Reason::DeniedByRule, Some("r1")),
        (&[DENY, ALLOW], Reason::DeniedByRule, Reason::DeniedByRule, Some("r0")),
        (&[ALLOW_OTHER, ALLOW], Reason::AllowedByRule, Reason::AllowedByRule, Some("r1")),
        (&[ALLOW, ALLOW], Reason::AllowedByRule, Reason::AllowedByRule, Some("r0")),
        (&[DENY, DENY], Reason::DeniedByRule, Reason::DeniedByRule, Some("r0")),
        (
            &[DENY_OTHER, ALLOW_OTHER, ALLOW_OTHER],
            Reason::DeniedNotListed,
            Reason::DeniedNotListed,
            Some("r1"),
        ),
        (&[ALLOW_OTHER, DENY_OTHER, ALLOW], Reason::AllowedByRule, Reason::AllowedByRule, Some("r2")),
    ];
    for (kinds, open, closed, by) in cases {
        for (default, expected) in [(Action::Allow, open), (Action::Deny, closed)] {
            let decision = serve(&policy(default, &rules(kinds)), PEER);
            assert_eq!((decision.reason, decision.rule.as_deref()), (expected, by), "{default} {kinds:?}");
            assert_eq!(decision.verdict.is_ok(), expected.allows());
            assert_eq!(decision.shadow, None, "there are no shadow rules");
        }
    }
}

#[test]
fn a_rule_of_any_pattern_counts_as_much_as_one_of_the_account() {
    for pattern in ["*", "*@prod.example.com", LOCAL] {
        let toml = rule("a-allow", "allow", "enforce", "*")
            + &rule("z-deny", "deny", "enforce", PEER).replace(LOCAL, pattern);
        let decision = serve(&policy(Action::Allow, &toml), PEER);
        assert_eq!(decision.rule.as_deref(), Some("z-deny"), "{pattern}");
        // The lowest name is the lowest over all patterns.
        let toml = rule("b-deny", "deny", "enforce", PEER)
            + &rule("a-deny", "deny", "enforce", PEER).replace(LOCAL, pattern);
        assert_eq!(serve(&policy(Action::Allow, &toml), PEER).rule.as_deref(), Some("a-deny"), "{pattern}");
    }
}

#[test]
fn a_shadow_rule_says_what_would_be_and_changes_nothing() {
    let cases: [(&[_], _, _, _, _); 10] = [
        (&[TRY_DENY], Reason::AllowedByDefault, Reason::DeniedByRule, Some("r0"), Action::Allow),
        (&[TRY_ALLOW], Reason::DeniedByDefault, Reason::AllowedByRule, Some("r0"), Action::Deny),
        (&[TRY_ALLOW_OTHER], Reason::AllowedByDefault, Reason::DeniedNotListed, Some("r0"), Action::Allow),
        (&[TRY_DENY_OTHER], Reason::AllowedByDefault, Reason::AllowedByDefault, None, Action::Allow),
        (&[TRY_DENY_OTHER], Reason::DeniedByDefault, Reason::DeniedByDefault, None, Action::Deny),
        (&[ALLOW, TRY_DENY], Reason::AllowedByRule, Reason::DeniedByRule, Some("r1"), Action::Deny),
        (&[DENY, TRY_ALLOW], Reason::DeniedByRule, Reason::DeniedByRule, Some("r0"), Action::Allow),
        (
            &[ALLOW_OTHER, TRY_ALLOW],
            Reason::DeniedNotListed,
            Reason::AllowedByRule,
            Some("r1"),
            Action::Allow,
        ),
        (&[TRY_ALLOW, ALLOW], Reason::AllowedByRule, Reason::AllowedByRule, Some("r0"), Action::Deny),
        (&[TRY_DENY, DENY], Reason::DeniedByRule, Reason::DeniedByRule, Some("r0"), Action::Allow),
    ];
    for (kinds, real, shadow, by, default) in cases {
        let decision = serve(&policy(default, &rules(kinds)), PEER);
        assert_eq!(decision.reason, real, "{kinds:?}");
        let expected = Shadow { allowed: shadow.allows(), reason: shadow, rule: by.map(Into::into) };
        assert_eq!(decision.shadow, Some(expected), "{kinds:?}");
        let enforced: Vec<_> = kinds.iter().filter(|(_, mode, _)| *mode == "enforce").copied().collect();
        let alone = serve(&policy(default, &rules(&enforced)), PEER);
        assert_eq!((alone.verdict.is_ok(), alone.reason), (decision.verdict.is_ok(), decision.reason));
    }
}

#[test]
fn shadow_rules_of_others_are_not_mentioned() {
    let toml = rule("r", "deny", "shadow", "*").replace(LOCAL, "other@prod.example.com");
    assert_eq!(serve(&policy(Action::Allow, &toml), PEER).shadow, None);
}

#[test]
fn a_refusal_says_in_words_who_may_not_call_whom_and_by_which_rule() {
    let on = |side: &str, toml: String| toml.replace("server", side);
    let allow = |name| rule(name, "allow", "enforce", "secret-peer@prod.example.com");
    let cases = [
        (
            Side::Server,
            rule("orders-callers", "deny", "enforce", PEER),
            "orders-callers denies web@prod.example.com to call orders@prod.example.com",
        ),
        (
            Side::Client,
            rule("orders-callees", "deny", "enforce", PEER),
            "orders-callees denies orders@prod.example.com to call web@prod.example.com",
        ),
        (
            Side::Server,
            allow("callers"),
            "callers says who may call orders@prod.example.com, and web@prod.example.com is not among them",
        ),
        (
            Side::Client,
            allow("callees"),
            "callees says whom orders@prod.example.com may call, and web@prod.example.com is not among them",
        ),
        (
            Side::Server,
            allow("b") + &allow("a"),
            "a and others say who may call orders@prod.example.com, and web@prod.example.com is not among them",
        ),
        (
            Side::Server,
            String::new(),
            "no rule lets web@prod.example.com call orders@prod.example.com, and the default of this node is deny",
        ),
        (
            Side::Client,
            String::new(),
            "no rule lets orders@prod.example.com call web@prod.example.com, and the default of this node is deny",
        ),
    ];
    for (side, toml, expected) in cases {
        let policy = policy(Action::Deny, &on(side.as_str(), toml));
        let decision = decide(&policy, side, LOCAL, PEER, "");
        assert_eq!(decision.verdict, Err(NotAdmitted::Denied(expected.to_owned())));
    }
}

#[test]
fn reasons_have_names_that_do_not_change() {
    let names = [
        (Reason::AllowedByRule, "allowed_by_rule", true),
        (Reason::AllowedByDefault, "allowed_by_default", true),
        (Reason::DeniedByRule, "denied_by_rule", false),
        (Reason::DeniedNotListed, "denied_not_listed", false),
        (Reason::DeniedByDefault, "denied_by_default", false),
        (Reason::RevokedAccount, "revoked_account", false),
        (Reason::RevokedCertificate, "revoked_certificate", false),
        (Reason::RevokedKey, "revoked_key", false),
        (Reason::RevokedLocalAccount, "revoked_local_account", false),
        (Reason::TargetNameMismatch, "target_name_mismatch", false),
    ];
    for (reason, name, allows) in names {
        assert_eq!((reason.as_str(), reason.allows()), (name, allows));
    }
}

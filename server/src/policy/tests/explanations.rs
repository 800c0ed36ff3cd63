//! What operators are told of a decision.

use super::*;

fn explain(policy: &Policy, side: Side, by: &Peer, target_name: &str) -> Explanation {
    policy.explain(&Question { side, local: &identity(LOCAL), peer: by, target_name, now: 1_000 })
}

const TOML: &str = r#"
[[peer_list]]
name = "frontends"
peers = ["spiffe://d/web/*", "ca-key-sha256:8383838383838383838383838383838383838383838383838383838383838383"]

[[rule]]
name = "b-allow"
local = "orders@prod.example.com"
side = "server"
action = "allow"
peer_lists = ["frontends"]

[[rule]]
name = "a-other"
local = "*@prod.example.com"
side = "server"
action = "allow"
peers = ["other@d"]

[[rule]]
name = "c-try"
local = "*"
side = "server"
action = "deny"
mode = "shadow"
peers = ["trust-domain:d"]

[[rule]]
name = "d-unrelated"
local = "unrelated@prod.example.com"
side = "server"
action = "deny"
peers = ["*"]

[[target_name]]
name = "web"
accounts = ["web@d", "spiffe://d/web/a"]
"#;

#[test]
fn every_rule_that_applies_is_shown_with_what_it_makes_of_the_peer() {
    let policy = policy(Action::Deny, TOML);
    let explanation = explain(&policy, Side::Server, &peer("spiffe://d/web/a"), "");
    let expected = "\
spiffe://d/web/a calls orders@prod.example.com, decided on the server side
revocations: none applies
target name: not asked
rule a-other (allow, enforce, local \"*@prod.example.com\"): does not match
rule b-allow (allow, enforce, local \"orders@prod.example.com\"): matches by spiffe://d/web/* of list frontends <= decides
rule c-try (deny, shadow, local \"*\"): matches by trust-domain:d
default: deny
=> allowed (allowed_by_rule) by rule b-allow
   with shadow rules in force: denied (denied_by_rule) by rule c-try
";
    assert_eq!(explanation.to_string(), expected);
}

#[test]
fn what_only_a_certificate_decides_is_said_where_there_is_none() {
    let policy = policy(Action::Allow, TOML);
    let known = peer("web@x");
    let by_name = Peer { certificates: Arc::new([]), ..known.clone() };
    let by_leaf = Peer { certificates: Arc::new([certificate("0a01", "CN=issuing", 1)]), ..known.clone() };
    let explained = explain(&policy, Side::Server, &known, "");
    assert_eq!(explained.decision.reason, Reason::AllowedByRule);
    assert!(explained.notes.is_empty());
    let list = Name::parse("frontends").expect("it is a name");
    let matches =
        RuleOutcome::Matches { list: Some(list), member: format!("ca-key-sha256:{}", "83".repeat(32)) };
    assert_eq!(explained.rules[1].outcome, matches);
    let expected = [
        ("a-other", RuleOutcome::DoesNotMatch),
        ("b-allow", RuleOutcome::NeedsCertificate),
        ("c-try", RuleOutcome::DoesNotMatch),
    ];
    // A leaf alone does not say which CAs vouch for it.
    for (peer, note) in [(by_name, "certificates of the peer"), (by_leaf, "authorities of the peer")] {
        let explained = explain(&policy, Side::Server, &peer, "");
        assert_eq!(explained.decision.reason, Reason::DeniedNotListed);
        assert!(explained.notes.len() == 1 && explained.notes[0].contains(note), "{:?}", explained.notes);
        let outcomes: Vec<_> =
            explained.rules.iter().map(|step| (step.rule.as_str(), step.outcome.clone())).collect();
        assert_eq!(outcomes, expected);
    }
}

#[test]
fn a_revocation_is_shown_as_what_decides() {
    let mut revocations = Revocations::default();
    revocations.put(&Revoked::Account(AccountName::parse("other@d").expect("it is an account")), None);
    let files = resources(TOML);
    let sources = Sources {
        default: Action::Allow,
        files: &files,
        store: &Resources::default(),
        revocations: &Arc::new(revocations),
    };
    let explained = explain(&Policy::compile(sources, None), Side::Server, &peer("other@d"), "");
    let shown = explained.to_string();
    assert!(shown.contains("revocations: one applies"), "{shown}");
    assert!(shown.contains("=> denied (revoked_account)\n   other@d is revoked: the record"), "{shown}");
    // The rule that would have let it in is shown, and does not decide.
    let matching = |step: &&RuleStep| matches!(step.outcome, RuleOutcome::Matches { .. });
    assert_eq!(explained.rules.iter().filter(matching).filter(|step| !step.decides).count(), 2, "{shown}");
}

#[test]
fn the_called_name_is_shown_with_its_accounts() {
    let policy = policy(Action::Allow, TOML);
    let line = |by: &str, name: &str| {
        let shown = explain(&policy, Side::Client, &peer(by), name).to_string();
        shown.lines().nth(2).unwrap_or_default().to_owned()
    };
    assert_eq!(line("x@d", "WEB:1"), "target name: WEB:1 has the entry web: web@d, spiffe://d/web/a");
    assert_eq!(line("x@d", "web2:1"), "target name: web2:1 has no entry, everybody may be called by it");
    assert_eq!(line("x@d", ""), "target name: not asked");
    let shown = explain(&policy, Side::Client, &peer("x@d"), "web:1").to_string();
    assert!(shown.contains("=> denied (target_name_mismatch)\n   x@d is none of the accounts"), "{shown}");
    assert!(shown.contains("rules: none applies"), "{shown}");
}

#[test]
fn an_explanation_decides_as_the_handshake_does() {
    for default in [Action::Allow, Action::Deny] {
        let policy = policy(default, TOML);
        for by in ["spiffe://d/web/a", "other@d", "web@x", "spiffe://d/x"] {
            let explained = explain(&policy, Side::Server, &peer(by), "");
            assert_eq!(explained.decision, serve(&policy, by));
            let deciding: Vec<_> =
                explained.rules.iter().filter(|step| step.decides).map(|step| step.rule.as_str()).collect();
            assert_eq!(deciding, explained.decision.rule.as_deref().into_iter().collect::<Vec<_>>());
        }
    }
}

//! Templates of names.

use super::*;
use crate::token::issuers::template::{NameProblem, TemplateProblem};

/// The name that a template makes of claims, by a token that nobody looks into further.
fn name(template: &str, claims: &Value) -> Result<String, NameProblem> {
    let token = sign(&key(), claims);
    let token = Token::parse(&token).expect("it is one");
    SubjectTemplate::parse(template).expect(template).name(token.claims())
}

#[test]
fn a_template_is_text_with_claims_in_it() {
    let claims =
        json!({"sub": "s", "a": {"b/c": "1", "d~e": "2"}, "kubernetes.io": {"ns": "n"}, "list": ["x", "y"]});
    for (template, expected) in [
        ("{/sub}", "s"),
        ("{/sub}@example.com", "s@example.com"),
        ("spiffe://x/{/kubernetes.io/ns}/{/sub}", "spiffe://x/n/s"),
        ("{/a/b~1c}-{/a/d~0e}", "1-2"),
        ("{/list/1}", "y"),
    ] {
        assert_eq!(name(template, &claims).as_deref(), Ok(expected), "{template}");
    }
    assert_eq!(SubjectTemplate::default(), SubjectTemplate::parse("{/sub}").expect("it is one"));
}

#[test]
fn a_text_that_is_no_template_is_refused_with_the_way_out() {
    let cases = [
        ("", TemplateProblem::NoClaim),
        ("orders", TemplateProblem::NoClaim),
        ("{", TemplateProblem::Open(0)),
        ("a{/sub", TemplateProblem::Open(1)),
        ("{/a{/b}}", TemplateProblem::Open(0)),
        ("a}", TemplateProblem::Closed(1)),
        ("{/sub}}", TemplateProblem::Closed(6)),
        ("{}", TemplateProblem::Pointer(String::new())),
        ("{sub}", TemplateProblem::Pointer("sub".to_owned())),
        ("{/a~}", TemplateProblem::Pointer("/a~".to_owned())),
        ("{/a~2}", TemplateProblem::Pointer("/a~2".to_owned())),
        ("{/a}{/b}", TemplateProblem::Touching),
        ("{/sub}\n", TemplateProblem::Control),
        (&"x".repeat(513), TemplateProblem::TooLong(513)),
    ];
    for (text, problem) in cases {
        assert_eq!(SubjectTemplate::parse(text), Err(problem), "{text}");
    }
}

#[test]
fn a_claim_that_is_no_good_text_makes_no_name() {
    let pointer = || "/a".to_owned();
    for (value, problem) in [
        (json!(null), NameProblem::Missing(pointer())),
        (json!(1), NameProblem::Missing(pointer())),
        (json!(["x"]), NameProblem::Missing(pointer())),
        (json!({"x": "y"}), NameProblem::Missing(pointer())),
        (json!(""), NameProblem::Empty(pointer())),
        (json!("x\r"), NameProblem::Control(pointer())),
        (json!("x\u{85}"), NameProblem::Control(pointer())),
        (json!("x".repeat(513)), NameProblem::TooLong),
    ] {
        assert_eq!(name("{/a}", &json!({"a": value})), Err(problem), "{value:.60}");
    }
    assert_eq!(name("{/b}", &json!({"a": "x"})), Err(NameProblem::Missing("/b".to_owned())));
}

#[test]
fn no_two_subjects_have_one_name() {
    let two = |a: &str, b: &str| name("{/a}--{/b}", &json!({"a": a, "b": b})).ok();
    assert_eq!(two("x", "y").as_deref(), Some("x--y"));
    assert_eq!((two("x", "-y").as_deref(), two("x-", "y")), (Some("x---y"), None));
    assert_eq!((two("x--y", "z"), two("x", "y--z")), (None, None));
    // What stands at either end is in nobody's way.
    let one = |a: &str| name("x/{/a}/y", &json!({"a": a})).ok();
    assert_eq!(one("x/a/y").as_deref(), Some("x/x/a/y/y"));
}

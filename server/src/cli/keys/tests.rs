//! The commands against a served admin socket, as they are typed.

use clap::Parser;

use super::*;
use crate::{admin::tests::keys_world::KeysWorld, token::keys::State};

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    args: Args,
}

async fn typed(world: &KeysWorld, words: &[&str]) -> Result<(), Error> {
    let admin = format!("--admin=unix:{}", world.admin.socket().display());
    let (command, rest) = words.split_first().expect("there is a command");
    let words = [&["keys", command, &admin, "--output", "json"], rest].concat();
    run(Typed::try_parse_from(words).expect("it can be typed").args).await
}

#[tokio::test]
async fn keys_are_listed_rotated_and_retired() {
    let world = KeysWorld::new().await;
    typed(&world, &["list"]).await.expect("it answers");
    let first = world.signing();
    typed(&world, &["rotate"]).await.expect("it is done");
    assert_eq!((world.signing(), world.of_state(State::Next).len()), (first.clone(), 1));
    typed(&world, &["retire", "--", &first]).await.expect("it is done");
    assert_ne!(world.signing(), first);
    let second = world.signing();
    typed(&world, &["rotate", "--emergency"]).await.expect("it is done");
    assert_eq!(world.of_state(State::Withdrawn).len(), 2);
    assert_ne!(world.signing(), second);
}

#[tokio::test]
async fn what_altsd_refuses_is_told_with_its_reason() {
    let world = KeysWorld::new().await;
    for (kid, reason) in
        [("x", "signing_key_unknown: "), ("x y", "name_invalid: "), ("-x", "signing_key_unknown: ")]
    {
        let error = typed(&world, &["retire", "--", kid]).await.expect_err(kid).to_string();
        assert!(error.contains(&format!(" refuses: {reason}")), "{error}");
    }
    let shut = crate::admin::tests::world::World::of(None).await;
    let admin = format!("unix:{}", shut.admin.socket().display());
    let words = ["keys", "list", "--admin", &admin];
    let error =
        run(Typed::try_parse_from(words).expect("it can be typed").args).await.expect_err("it is shut");
    assert!(error.to_string().contains(" refuses: token_door_shut: "), "{error}");
}

#[test]
fn an_id_that_begins_with_a_hyphen_can_be_typed() {
    for words in [&["keys", "retire", "-x"][..], &["keys", "retire", "--", "-x"]] {
        assert!(Typed::try_parse_from(words).is_ok(), "{words:?}");
    }
}

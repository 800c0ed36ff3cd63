//! Runs against addresses where nobody listens: each operation fails at once, and the run has to cope with it.

use std::net::{SocketAddr, TcpListener};

use super::*;
use crate::{
    progress::Mode,
    scenario::token::{Exchange, Tokens},
    target::Target,
    units::Rate,
};

/// Tokens from where nobody is.
fn nowhere() -> Scenario {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
    let port = listener.local_addr().expect("it is bound").port();
    drop(listener);
    let target = Target::Tcp(SocketAddr::from(([127, 200, 3, 5], port)));
    Scenario::Token(Tokens::new(target, "/token".to_owned(), Exchange::new("me", "urn:x", &[], None), true))
}

fn load(pace: Pace, measured: Duration) -> Load {
    let window = Window { warm_up: Duration::ZERO, measured };
    Load { pace, window, workers: 2, timeout: Duration::from_secs(5) }
}

async fn measured(load: Load, interrupt: Interrupt) -> Measured {
    let progress = Progress::new(Mode::Never, load.window.end());
    run(load, &nowhere(), Err(Unknown::Elsewhere), progress, interrupt).await
}

fn failed(measured: Measured) -> u64 {
    measured.samples.into_parts().iter().map(|(_, part)| part.failed()).sum()
}

#[tokio::test]
async fn operations_that_fail_are_counted_and_do_not_end_a_run() {
    let (_sender, interrupt) = watch::channel(false);
    let measured = measured(load(Pace::Closed, Duration::from_millis(100)), interrupt).await;
    assert!(!measured.interrupted && measured.per_second.is_empty());
    let unknown = measured.server.as_ref().err().map(String::as_str);
    assert!(unknown.is_some_and(|unknown| unknown.contains("--server-pid")), "{unknown:?}");
    assert!(measured.client.as_ref().is_ok_and(|(_, reading)| reading.is_ok()));
    assert!(failed(measured) > 0);
}

#[tokio::test]
async fn an_open_loop_begins_all_that_is_due_or_says_how_many_it_did_not() {
    let (_sender, interrupt) = watch::channel(false);
    let rate = Rate::parse("200").expect("it is a rate");
    let measured = measured(load(Pace::Open(rate), Duration::from_millis(250)), interrupt).await;
    let unstarted = measured.unstarted;
    assert_eq!(failed(measured) + unstarted, 50);
}

#[tokio::test]
async fn a_user_ends_a_run_early_and_gets_what_was_measured() {
    let (sender, interrupt) = watch::channel(false);
    let ended = async {
        sleep(Duration::from_millis(50)).await;
        sender.send_replace(true);
    };
    // Without it this would take a day.
    let day = load(Pace::Closed, Duration::from_secs(86_400));
    let (measured, ()) = tokio::join!(measured(day, interrupt), ended);
    assert!(measured.interrupted);
    assert!(failed(measured) > 0);
}

//! Identities whose certificates are made for us.

use super::*;

#[tokio::test]
async fn who_has_given_up_leaves_room_for_others() {
    let source = Scripted::new(&signing_service());
    let mut bench = Bench::with_source(&source, &[ORDERS], false);
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| bench.demand(ORDERS)).collect();
    assert_eq!(bench.demand(ORDERS).await.expect("it is answered"), Err(DemandError::Busy));
    drop(waiting.pop());
    let answer = bench.demand(ORDERS);
    bench.settle().await;
    assert_eq!(answer.await.expect("it is answered"), Ok(()));
}

#[tokio::test]
async fn an_identity_that_nobody_needs_gets_no_key_and_one_that_was_needed_is_kept() {
    let source = Scripted::new(&signing_service());
    let mut bench = Bench::with_source(&source, &[ORDERS, CART], false);
    bench.settle().await;
    bench.clock.set(NOW + 9_000);
    bench.settle().await;
    assert_eq!(source.calls(), 0);
    assert!(*bench.ready.borrow(), "nobody waits for anything");
    assert!(bench.status(ORDERS).certificate.is_none());
    // Many at once are one job.
    let answers: Vec<_> = (0..50).map(|_| bench.demand(ORDERS)).collect();
    bench.settle().await;
    for answer in answers {
        assert_eq!(answer.await.expect("it is answered"), Ok(()));
    }
    assert_eq!(source.calls(), 1);
    for _ in 0..10 {
        bench.clock.set(bench.clock.get() + 1_980);
        bench.settle().await;
    }
    assert_eq!(source.calls(), 11, "it is renewed at each half life");
    assert!(bench.status(CART).certificate.is_none(), "nobody has needed it");
    let unknown = bench.demand("nobody@prod.example.com").await.expect("it is answered");
    assert!(matches!(unknown, Err(DemandError::Unknown { .. })), "{unknown:?}");
    let unknown = bench.rotate("nobody@prod.example.com").await.expect("it is answered").map(drop);
    assert!(matches!(unknown, Err(RotateError::Unknown { .. })), "{unknown:?}");
}

#[tokio::test]
async fn a_source_that_fails_is_one_line_and_the_old_certificate_serves_to_its_end() {
    for mode in [Mode::Fail, Mode::Foreign, Mode::Panic] {
        let source = Scripted::new(&signing_service());
        let mut bench = Bench::with_source(&source, &[ORDERS], true);
        assert!(!*bench.ready.borrow(), "there is none yet");
        bench.settle().await;
        assert!(*bench.ready.borrow());
        assert_eq!(codes(&bench.memory.notes()), ["replaced"]);
        let old = bench.held(ORDERS);
        source.set(mode);
        let end = old.validity().1;
        while bench.clock.get() < end {
            let wait = bench.settle().await.as_secs().max(1);
            bench.clock.set(end.min(bench.clock.get() + wait));
            bench.settle().await;
            assert!(Arc::ptr_eq(&bench.held(ORDERS), &old));
            let state = bench.memory.state();
            assert_eq!(state.outage_budget_seconds, Some(end - bench.clock.get()));
            assert!(state.ready);
        }
        let notes = bench.memory.notes();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let tries = source.calls();
        assert!((10..60).contains(&tries), "{tries}");
        let failure = bench.status(ORDERS).failure.expect("it has failed");
        assert_eq!(failure.attempts as usize, tries - 1);
        assert!((NOW + 1_500..NOW + 2_000).contains(&failure.since), "{failure:?}");
        bench.clock.set(end + 1);
        bench.settle().await;
        assert!(!bench.memory.state().ready && !*bench.ready.borrow());
        // The next try tells that nothing serves any more.
        bench.clock.set(end + LONGEST_PAUSE.as_secs());
        bench.settle().await;
        let notes = bench.memory.notes();
        assert!(matches!(&notes[..], [Note::Bad { old_serves: false, .. }]), "{notes:?}");
        // In the pause a handshake gets the last problem at once, and an operator another try.
        bench.rotator.entries.get_mut(ORDERS).expect("it is there").wanted = Wanted::No;
        let answer = bench.demand(ORDERS);
        bench.settle().await;
        let answer = answer.await.expect("it is answered");
        assert!(
            matches!(&answer, Err(DemandError::Failed { code, .. }) if *code == failure.code),
            "{answer:?}"
        );
        source.set(Mode::Issue);
        let answer = bench.rotate(ORDERS);
        bench.settle().await;
        assert!(answer.await.expect("it is answered").is_ok_and(|status| status.failure.is_none()));
        assert!(*bench.ready.borrow());
        assert_eq!(codes(&bench.memory.notes()), ["good"]);
    }
}

#[tokio::test]
async fn a_clock_set_back_is_no_reason_to_be_without_a_certificate() {
    let source = Scripted::new(&signing_service());
    let mut bench = Bench::with_source(&source, &[ORDERS], true);
    bench.clock.set(NOW + 24 * 3_600);
    bench.settle().await;
    for now in [NOW + 3_600, NOW + 90 * 24 * 3_600, NOW + 10] {
        bench.clock.set(now);
        bench.settle().await;
        assert!(bench.memory.state().ready, "{now}");
        let held = bench.held(ORDERS).validity();
        assert!((held.0..=held.1).contains(&now), "{held:?} {now}");
    }
}

#[tokio::test]
async fn many_identities_live_for_days_without_a_gap_and_without_a_storm() {
    let source = Scripted::new(&signing_service());
    let accounts: Vec<_> = (0..40).map(|number| format!("w{number}@prod.example.com")).collect();
    let accounts: Vec<_> = accounts.iter().map(String::as_str).collect();
    let mut bench = Bench::with_source(&source, &accounts, true);
    let mut most = 0;
    bench.settle().await;
    assert_eq!(source.calls(), 40);
    let end = NOW + 24 * 3_600;
    while bench.clock.get() < end {
        let before = source.calls();
        let wait = bench.settle().await;
        most = most.max(source.calls() - before);
        assert!(bench.memory.state().ready, "{}", bench.clock.get() - NOW);
        bench.clock.set(bench.clock.get() + wait.as_secs().max(1));
    }
    let per_identity = source.calls() / 40;
    assert!((40..=56).contains(&per_identity), "{per_identity}");
    // Of forty in a window of six minutes, looked at every 15 s.
    assert!(most <= 12, "{most} at once");
}

#[tokio::test]
async fn what_is_asked_for_while_it_is_made_is_made_once() {
    let source = Scripted::new(&signing_service());
    source.gate.forget_permits(usize::MAX >> 3);
    assert_eq!(source.gate.available_permits(), 0);
    let mut bench = Bench::with_source(&source, &[ORDERS], false);
    let mut answers = vec![bench.demand(ORDERS)];
    bench.rotator.turn();
    answers.push(bench.demand(ORDERS));
    let rotated = bench.rotate(ORDERS);
    bench.rotator.turn();
    source.gate.add_permits(1);
    bench.settle().await;
    for answer in answers {
        assert_eq!(answer.await.expect("it is answered"), Ok(()));
    }
    assert!(rotated.await.expect("it is answered").is_ok());
    assert_eq!(source.calls(), 1);
}

#[test]
fn a_new_certificate_is_checked_before_it_is_used() {
    let (pki, trust_now) = (Pki::new(), at(NOW));
    let trust = pki.trust("prod.example.com");
    let seconds =
        |seconds: u64| time::OffsetDateTime::from_unix_timestamp(seconds as i64).expect("it is a time");
    let check = |from: u64, to: u64, origin, trust: &Trust, wanted: &str| {
        let leaf = pki.leaf_with(ORDERS, |leaf| {
            (leaf.not_before, leaf.not_after) = (seconds(from), seconds(to));
        });
        install::check(&leaf.credentials(), &identity(wanted), origin, trust, trust_now)
            .map_err(|refused| refused.code())
    };
    let other = Pki::new().trust("prod.example.com");
    let nobody = Trust::default();
    let table = [
        (NOW - 60, NOW + 3_600, &trust, ORDERS, Ok(()), Ok(())),
        (NOW - 60, NOW + 3_600, &trust, CART, Err("certificate_foreign"), Err("certificate_foreign")),
        (
            NOW - 60,
            NOW + 3_600,
            &other,
            ORDERS,
            Err("peer_certificate_untrusted"),
            Err("peer_certificate_untrusted"),
        ),
        (
            NOW - 60,
            NOW + 3_600,
            &nobody,
            ORDERS,
            Err("peer_certificate_authority_unknown"),
            Err("peer_certificate_authority_unknown"),
        ),
        (
            NOW + 1,
            NOW + 3_600,
            &trust,
            ORDERS,
            Err("peer_certificate_not_yet_valid"),
            Err("peer_certificate_not_yet_valid"),
        ),
        (NOW - 99, NOW - 1, &trust, ORDERS, Err("peer_certificate_expired"), Err("peer_certificate_expired")),
        (NOW, NOW + 60, &trust, ORDERS, Ok(()), Ok(())),
        // What somebody else renews may be as short and as old as that one likes.
        (NOW, NOW + 59, &trust, ORDERS, Err("certificate_too_short"), Ok(())),
        (NOW - 3_600, NOW + 3_600, &trust, ORDERS, Err("certificate_stale"), Ok(())),
        (NOW - 3_200, NOW + 3_600, &trust, ORDERS, Err("certificate_stale"), Ok(())),
        (NOW - 2_900, NOW + 3_600, &trust, ORDERS, Ok(()), Ok(())),
    ];
    for (from, to, trust, wanted, issued, from_files) in table {
        for (origin, expected) in
            [(Origin::ExternalCa, issued), (Origin::SigningService, issued), (Origin::Files, from_files)]
        {
            assert_eq!(check(from, to, origin, trust, wanted), expected, "{from} {to} {wanted} {origin:?}");
        }
    }
}

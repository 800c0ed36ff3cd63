//! Whether this node serves handshakes: it has certificates, and knows whom it may admit.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    metrics::Metrics,
    verifier::{Certainty, Verifier},
};

/// How often it is looked at how old the last word of the store is.
const LOOK: Duration = Duration::from_secs(1);

/// Follows both, and says whether handshakes are served, for as long as `certificates` is told. A node that goes by
/// what it remembers of its store is ready: that is what it remembers it for.
pub(crate) fn readiness(
    mut certificates: watch::Receiver<bool>,
    verifier: Arc<Verifier>,
) -> watch::Receiver<bool> {
    let now = move |certificates: bool| {
        let ready = certificates && verifier.certainty() != Certainty::Unknown;
        Metrics.ready(ready);
        ready
    };
    let (sender, receiver) = watch::channel(now(*certificates.borrow_and_update()));
    tokio::spawn(async move {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                changed = certificates.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
            let ready = now(*certificates.borrow_and_update());
            sender.send_if_modified(|known| std::mem::replace(known, ready) != ready);
        }
    });
    receiver
}

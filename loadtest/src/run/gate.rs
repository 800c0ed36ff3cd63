//! Lets operations begin when their time has come.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    clock::Stopwatch,
    pace::{Schedule, Window},
};

/// Longest sleep of the thread that paces, so that it notices soon when a run ends early.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// Lets operations begin when their time has come.
pub(super) struct Gate {
    /// Of an open loop. A closed loop waits for nothing.
    paced: Option<Arc<Paced>>,
    closed: Arc<AtomicBool>,
}

struct Paced {
    schedule: Schedule,
    /// One permit for each operation that is due and not begun.
    due: Semaphore,
    /// Operations that have begun.
    begun: AtomicU64,
}

impl Gate {
    /// One that is always open, until the end.
    pub(super) fn open() -> Self {
        Self { paced: None, closed: Arc::new(AtomicBool::new(false)) }
    }

    /// One that opens when operations are due. A thread of its own paces it: the timers of the runtime know whole
    /// milliseconds only, which would count as latency.
    pub(super) fn paced(schedule: Schedule, watch: Stopwatch) -> Self {
        let paced = Arc::new(Paced { schedule, due: Semaphore::new(0), begun: AtomicU64::new(0) });
        let closed = Arc::new(AtomicBool::new(false));
        let gate = Self { paced: Some(paced.clone()), closed: closed.clone() };
        thread::spawn(move || paced.release(watch, &closed));
        gate
    }

    /// Waits until an operation may begin, and returns when it was due; `None` at the end. What was due in the warm-up
    /// and has not begun when that is over never begins.
    pub(super) async fn next(&self, watch: Stopwatch, window: Window) -> Option<Duration> {
        let Some(paced) = &self.paced else {
            let now = watch.elapsed();
            return (now < window.end() && !self.closed.load(Ordering::Relaxed)).then_some(now);
        };
        loop {
            paced.due.acquire().await.ok()?.forget();
            let index = paced.begun.fetch_add(1, Ordering::Relaxed);
            let due = paced.schedule.due(index)?;
            // Of a load that the server cannot bear, the warm-up leaves a backlog. Whoever worked it off first would
            // come to nothing that is measured, and show a server that works as one that stands still.
            if due >= window.warm_up || watch.elapsed() < window.warm_up {
                return Some(due);
            }
        }
    }

    /// Nothing begins any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(paced) = &self.paced {
            paced.due.close();
        }
    }

    /// Operations that were due before `time` and have not begun.
    pub(super) fn unstarted(&self, time: Duration) -> u64 {
        self.paced.as_ref().map_or(0, |paced| {
            paced.schedule.due_before(time).saturating_sub(paced.begun.load(Ordering::Relaxed))
        })
    }
}

impl Paced {
    fn release(&self, watch: Stopwatch, closed: &AtomicBool) {
        let mut released = 0;
        while let Some(due) = self.schedule.due(released) {
            if closed.load(Ordering::Relaxed) {
                return;
            }
            let now = watch.elapsed();
            if due > now {
                thread::sleep((due - now).min(LONGEST_SLEEP));
                continue;
            }
            released += 1;
            self.due.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    const WINDOW: Window = Window { warm_up: Duration::ZERO, measured: Duration::from_millis(100) };

    fn paced(rate: &str) -> Gate {
        let rate = Rate::parse(rate).expect("it is a rate");
        Gate::paced(Schedule::new(rate, WINDOW), Stopwatch::start())
    }

    #[tokio::test]
    async fn each_operation_that_is_due_begins_once_and_not_before_it_is_due() {
        let (gate, watch) = (paced("1000"), Stopwatch::start());
        let mut due = Vec::new();
        while due.len() < 100 {
            // The watch of the gate was started before this one.
            due.push(gate.next(watch, WINDOW).await.expect("it is open"));
        }
        let expected: Vec<_> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(due, expected);
        assert_eq!(gate.unstarted(WINDOW.end()), 0);
        gate.close();
        assert_eq!(gate.next(watch, WINDOW).await, None);
    }

    #[tokio::test]
    async fn what_was_due_and_found_no_worker_is_counted() {
        let gate = paced("1000");
        let paced = gate.paced.clone().expect("it is paced");
        // All of them have been due when there is a permit for each.
        let all = paced.due.acquire_many(100).await.expect("it is open");
        drop(all);
        assert_eq!(gate.unstarted(WINDOW.end()), 100);
        gate.close();
        assert_eq!(gate.unstarted(WINDOW.end()), 100);
    }

    #[tokio::test]
    async fn a_backlog_of_the_warm_up_is_left_with_it() {
        let rate = Rate::parse("1000").expect("it is a rate");
        let half = Duration::from_millis(50);
        let (window, watch) = (Window { warm_up: half, measured: half }, Stopwatch::start());
        let gate = Gate::paced(Schedule::new(rate, window), watch);
        let paced = gate.paced.clone().expect("it is paced");
        // The warm-up is over when all of them have been due.
        drop(paced.due.acquire_many(100).await.expect("it is open"));
        assert_eq!(gate.next(watch, window).await, Some(half));
        assert_eq!(gate.unstarted(window.end()), 49, "those of the warm-up are not counted");
    }

    #[tokio::test]
    async fn a_closed_gate_lets_nothing_begin() {
        let (gate, watch) = (Gate::open(), Stopwatch::start());
        let long = Window { measured: Duration::from_secs(3600), ..WINDOW };
        assert!(gate.next(watch, long).await.is_some());
        gate.close();
        assert_eq!(gate.next(watch, long).await, None);
    }
}

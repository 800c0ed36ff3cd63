//! From handshakes and requests for tokens to one writer, without keeping any of them waiting.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc as blocking,
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::{Stream, stream};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc::{self, error::TryRecvError},
};

use super::{
    file::{FileSettings, RotatingFile, Sink},
    record::{self, Record},
};
use crate::{clock::Clock, metrics::Metrics};

/// Events that a subscriber may be behind before it loses some: a terminal that pauses for a moment loses none.
const SUBSCRIBER_EVENTS: usize = 1_024;

/// How often at most a gap is written down while there are ever more: it must not fill the file.
const BETWEEN_GAPS: Duration = Duration::from_secs(1);

/// Where the trail goes, and how much of it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) output: Output,
    /// Records that may wait for the writer. Further ones are dropped and counted. At least 1.
    pub(crate) queue_records: usize,
}

/// Where lines are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Nowhere. Subscribers are told all the same.
    None,
    Stdout,
    File(FileSettings),
}

/// Why there is no trail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the audit trail cannot be written to {}: {problem}; its directory must exist, and be writable for altsd", file.display())]
    File { file: PathBuf, problem: io::Error },
    #[error("the audit trail cannot be written to the standard output: {0}")]
    Stdout(io::Error),
    #[error("the writer of the audit trail does not start: {0}")]
    Thread(io::Error),
}

/// Takes records. Cheap to clone; all clones are one trail.
#[derive(Clone)]
pub(crate) struct Trail(Arc<Shared>);

struct Shared {
    /// `None` wakes the writer, to see that it is to end.
    queue: mpsc::Sender<Option<Record>>,
    is_closing: AtomicBool,
    /// Records for which there was no room.
    overflowed: AtomicU64,
    /// Records that the writer could not write.
    unwritten: AtomicU64,
    subscribers: broadcast::Sender<Event>,
}

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Decision(Arc<Record>),
    /// So many records are missing here.
    Missed(u64),
}

/// The writer, for who started it.
pub(crate) struct Writing {
    trail: Trail,
    ended: blocking::Receiver<()>,
}

/// Opens the output and starts the writer, on a thread of its own: it blocks while a disk or a pipe does.
pub(crate) fn start(settings: &Settings, clock: Arc<dyn Clock>) -> Result<(Trail, Writing), Error> {
    let sink = match &settings.output {
        Output::None => None,
        Output::Stdout => Some(Sink::stdout().map_err(Error::Stdout)?),
        Output::File(file) => Some(Sink::File(
            RotatingFile::open(file.clone(), clock.monotonic())
                .map_err(|problem| Error::File { file: file.path.clone(), problem })?,
        )),
    };
    let (trail, queue) = Trail::new(settings.queue_records);
    let writer = Writer::new(trail.0.clone(), queue, sink, clock);
    let (ending, ended) = blocking::channel();
    let run = move || {
        writer.run();
        // Nobody may be waiting for it.
        let _ = ending.send(());
    };
    thread::Builder::new().name("audit".to_owned()).spawn(run).map_err(Error::Thread)?;
    Ok((trail.clone(), Writing { trail, ended }))
}

impl Trail {
    fn new(queue_records: usize) -> (Self, mpsc::Receiver<Option<Record>>) {
        let (queue, receiver) = mpsc::channel(queue_records);
        let shared = Shared {
            queue,
            is_closing: AtomicBool::new(false),
            overflowed: AtomicU64::new(0),
            unwritten: AtomicU64::new(0),
            subscribers: broadcast::Sender::new(SUBSCRIBER_EVENTS),
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Takes a record, and never waits: what finds no room is dropped and counted.
    pub(crate) fn record(&self, record: impl Into<Record>) {
        if self.0.queue.try_send(Some(record.into())).is_err() {
            self.0.overflowed.fetch_add(1, Ordering::Relaxed);
            Metrics.audit_record_dropped("queue_full");
        }
    }

    /// How many records are not where they should have been written, since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped()
    }

    /// All decisions from now on. Who is slower than they come loses some, and is told how many.
    pub(crate) fn subscribe(&self) -> impl Stream<Item = Event> + Send + use<> {
        stream::unfold(self.0.subscribers.subscribe(), async |mut events| match events.recv().await {
            Ok(event) => Some((event, events)),
            Err(RecvError::Lagged(missed)) => Some((Event::Missed(missed), events)),
            Err(RecvError::Closed) => None,
        })
    }
}

impl Shared {
    fn dropped(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed) + self.unwritten.load(Ordering::Relaxed)
    }
}

impl Writing {
    /// Ends the writer once it has written what waits, or when `limit` has passed. Blocks.
    pub(crate) fn close(self, limit: Duration) {
        self.trail.0.is_closing.store(true, Ordering::Release);
        // Where there is no room the writer is awake, and looks after the last record.
        let _ = self.trail.0.queue.try_send(None);
        let waiting = || self.trail.0.queue.max_capacity() - self.trail.0.queue.capacity();
        if self.ended.recv_timeout(limit).is_err() {
            tracing::error!("{} records of the audit trail were not written within {limit:?}", waiting());
        }
        match self.trail.dropped() {
            0 => {}
            dropped => tracing::warn!("{dropped} records are missing in the audit trail"),
        }
    }
}

/// Takes records from the queue, in their order.
struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Option<Record>>,
    sink: Option<Sink>,
    clock: Arc<dyn Clock>,
    /// The line in work, kept for its room.
    line: Vec<u8>,
    /// How many of the dropped records the lines tell of.
    written_gap: u64,
    /// When a line has last told of some.
    gap_written: Option<Instant>,
    /// How many of those for which there was no room subscribers were told of.
    told_gap: u64,
    is_failing: bool,
}

impl Writer {
    fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Option<Record>>,
        sink: Option<Sink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            shared,
            queue,
            sink,
            clock,
            line: Vec::new(),
            written_gap: 0,
            gap_written: None,
            told_gap: 0,
            is_failing: false,
        }
    }

    /// Writes until it is told to end and nothing waits any more.
    fn run(mut self) {
        loop {
            let next = match self.queue.try_recv() {
                Ok(next) => Some(next),
                Err(TryRecvError::Empty) => {
                    self.tell_of_gaps(true);
                    if self.shared.is_closing.load(Ordering::Acquire) {
                        break;
                    }
                    self.queue.blocking_recv()
                }
                Err(TryRecvError::Disconnected) => None,
            };
            match next {
                Some(Some(record)) => {
                    self.tell_of_gaps(false);
                    self.take(record);
                }
                Some(None) => {}
                None => break,
            }
        }
    }

    fn take(&mut self, record: Record) {
        self.line.clear();
        if self.sink.is_some() {
            record.write_to(&mut self.line);
        }
        // Those who watch first: a disk that hangs does not keep them waiting for this one.
        self.tell(Event::Decision(Arc::new(record)));
        if !self.write() {
            self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
            Metrics.audit_record_dropped("write_failed");
        }
    }

    fn tell(&self, event: Event) {
        // An error says that nobody listens.
        let _ = self.shared.subscribers.send(event);
    }

    /// Says what was dropped since it was last said: at once when nothing waits, and else now and then.
    fn tell_of_gaps(&mut self, is_idle: bool) {
        let overflowed = self.shared.overflowed.load(Ordering::Relaxed);
        if overflowed > self.told_gap {
            self.tell(Event::Missed(overflowed - self.told_gap));
            self.told_gap = overflowed;
        }
        let dropped = self.shared.dropped();
        if dropped == self.written_gap {
            return;
        }
        let now = self.clock.monotonic();
        let is_due = |last: Instant| now.saturating_duration_since(last) >= BETWEEN_GAPS;
        if is_idle || self.gap_written.is_none_or(is_due) {
            self.gap_written = Some(now);
            self.line.clear();
            record::write_dropped(self.clock.since_1970(), dropped - self.written_gap, &mut self.line);
            if self.write() {
                self.written_gap = dropped;
            }
        }
    }

    /// Writes the line in work. The first failure of a spell is logged, and its end.
    fn write(&mut self) -> bool {
        let Some(sink) = &mut self.sink else { return true };
        match sink.write(&self.line, self.clock.monotonic()) {
            Ok(()) => {
                if self.is_failing {
                    tracing::info!("the audit trail is written again");
                }
                self.is_failing = false;
                true
            }
            Err(problem) => {
                if !self.is_failing {
                    tracing::error!(
                        reason = "audit_unwritable",
                        "the audit trail cannot be written: {problem}; handshakes and tokens go on, and what is lost is counted"
                    );
                }
                self.is_failing = true;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;

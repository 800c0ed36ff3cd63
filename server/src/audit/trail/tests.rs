use std::{fs, path::Path};

use futures_util::StreamExt;
use serde_json::Value;
use tempfile::TempDir;

use super::{super::record::full, *};
use crate::{audit::HandshakeRecord, clock::SystemClock};

/// Long enough for any machine, and over as soon as the writer is done.
const PATIENCE: Duration = Duration::from_secs(60);

fn numbered(number: usize) -> Record {
    HandshakeRecord { local: Some(number.to_string()), ..full() }.into()
}

fn settings(path: &Path, queue_records: usize) -> Settings {
    let file = FileSettings { path: path.to_owned(), max_bytes: 1 << 20, max_files: 2 };
    Settings { output: Output::File(file), queue_records }
}

/// A trail whose writer runs only when it is told to.
fn unhurried(path: &Path, queue_records: usize) -> (Trail, Writer) {
    let clock = Arc::new(SystemClock);
    let file = FileSettings { path: path.to_owned(), max_bytes: 1 << 20, max_files: 2 };
    let sink = RotatingFile::open(file, clock.monotonic()).expect("it can be opened");
    let (trail, queue) = Trail::new(queue_records);
    let writer = Writer::new(trail.0.clone(), queue, Some(Sink::File(sink)), clock);
    (trail, writer)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("it is there");
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The number of each record, and `-N` for a gap of N.
fn told(path: &Path) -> Vec<String> {
    let word = |line: &Value| match &line["event"] {
        event if event == "dropped" => format!("-{}", line["count"]),
        _ => line["local"].as_str().expect("it has a number").to_owned(),
    };
    lines(path).iter().map(word).collect()
}

#[test]
fn what_waits_is_written_before_the_trail_is_closed() {
    let directory = directory();
    let path = directory.path().join("audit.log");
    let (trail, writing) = start(&settings(&path, 1_000), Arc::new(SystemClock)).expect("it starts");
    for number in 0..1_000 {
        trail.record(numbered(number));
    }
    writing.close(PATIENCE);
    assert_eq!(told(&path), (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(trail.dropped(), 0);
    trail.record(numbered(0));
    assert_eq!(trail.dropped(), 1, "nobody writes any more");
}

#[test]
fn an_idle_writer_ends_at_once() {
    let none = Settings { output: Output::None, queue_records: 1 };
    let (trail, writing) = start(&none, Arc::new(SystemClock)).expect("it starts");
    writing.close(PATIENCE);
    assert_eq!(trail.dropped(), 0);
}

#[test]
fn what_finds_no_room_is_counted_exactly_and_told_of_in_a_line() {
    let directory = directory();
    let path = directory.path().join("audit.log");
    let (trail, writer) = unhurried(&path, 3);
    for number in 0..10 {
        trail.record(numbered(number));
    }
    assert_eq!(trail.dropped(), 7);
    trail.0.is_closing.store(true, Ordering::Release);
    writer.run();
    assert_eq!(told(&path), ["-7", "0", "1", "2"]);
    assert_eq!(trail.dropped(), 7, "a gap that is told of stays counted");
}

#[test]
fn gaps_in_quick_succession_are_told_of_together() {
    let directory = directory();
    let path = directory.path().join("audit.log");
    let (trail, mut writer) = unhurried(&path, 1);
    for _ in 0..3 {
        trail.record(numbered(1));
        trail.record(numbered(2));
        let record = writer.queue.try_recv().ok().flatten().expect("there was room for one");
        writer.tell_of_gaps(false);
        writer.take(record);
    }
    writer.tell_of_gaps(true);
    assert_eq!(told(&path), ["-1", "1", "1", "1", "-2"]);
    assert_eq!(trail.dropped(), 3);
}

#[test]
fn what_a_full_disk_does_not_take_is_counted_and_told_of_once_there_is_room() {
    let directory = directory();
    let (trail, mut writer) = unhurried(Path::new("/dev/full"), 10);
    for number in 0..4 {
        writer.take(numbered(number));
    }
    assert!(writer.is_failing);
    assert_eq!(trail.dropped(), 4);
    // The disk has room again.
    let file = directory.path().join("roomy.log");
    let settings = FileSettings { path: file.clone(), max_bytes: 1 << 20, max_files: 2 };
    let roomy = RotatingFile::open(settings, SystemClock.monotonic()).expect("it can be opened");
    writer.sink = Some(Sink::File(roomy));
    writer.tell_of_gaps(false);
    writer.take(numbered(4));
    assert_eq!(told(&file), ["-4", "4"]);
    assert!(!writer.is_failing);
    assert_eq!(trail.dropped(), 4);
}

#[test]
fn a_file_that_cannot_be_opened_is_no_start() {
    let directory = directory();
    let path = directory.path().join("none/audit.log");
    let error = start(&settings(&path, 1), Arc::new(SystemClock)).err().expect("there is no directory");
    let text = error.to_string();
    let expected = format!("the audit trail cannot be written to {}: No such file", path.display());
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn a_subscriber_is_told_what_comes_after_it_and_how_much_it_missed() {
    let directory = directory();
    let (trail, mut writer) = unhurried(&directory.path().join("audit.log"), 1);
    writer.take(numbered(0));
    let mut events = Box::pin(trail.subscribe());
    trail.record(numbered(1));
    trail.record(numbered(2));
    trail.record(numbered(3));
    writer.tell_of_gaps(false);
    for number in 0..SUBSCRIBER_EVENTS {
        writer.take(numbered(number));
    }
    // One more than it may be behind: the gap is what it loses.
    let first = events.next().await.expect("the trail goes on");
    assert!(matches!(first, Event::Missed(1)), "{first:?}");
    for number in 0..SUBSCRIBER_EVENTS {
        let Some(Event::Decision(record)) = events.next().await else { panic!("it lost {number}") };
        assert_eq!(*record, numbered(number));
    }
    writer.tell_of_gaps(false);
    trail.0.overflowed.fetch_add(5, Ordering::Relaxed);
    writer.tell_of_gaps(false);
    let last = events.next().await.expect("the trail goes on");
    assert!(matches!(last, Event::Missed(5)), "{last:?}");
}

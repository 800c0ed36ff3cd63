//! A process that writes is killed again and again: what it was told is kept is there afterwards, whole and in order.

mod support;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use alts_store::{Entry, Error, Expected, Revision, SledStore, Store, Write};
use support::Seeded;
use tempfile::TempDir;

const ROUNDS: u64 = 30;
const WRITERS: u64 = 4;
const LIMIT: u64 = 256 << 20;

/// Changes what happens when; printed if the test fails.
const SEED: u64 = 20_261;

/// One acknowledged transaction.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    writer: u64,
    /// Counts the transactions of the writer, from 1, over all rounds.
    number: u64,
    /// Counts the transactions of all writers.
    counter: u64,
    revision: Revision,
}

#[test]
fn everything_acknowledged_is_there_after_every_kill() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("store");
    let mut random = Seeded(SEED);
    let mut acknowledged = Vec::new();
    let mut before = BTreeMap::new();
    for round in 0..ROUNDS {
        // Now and then while it opens or makes the store, otherwise while it writes.
        let new = match round % 5 {
            0 => write_and_be_killed(&path, 0, Duration::from_micros(random.below(60_000))),
            _ => {
                write_and_be_killed(&path, 1 + random.below(150), Duration::from_micros(random.below(9_000)))
            }
        };
        acknowledged.extend(new.iter().copied());
        before = check(&path, round, &acknowledged, &before);
    }
    let entries = read(&path);
    let found = acknowledged.iter().filter(|one| is_there(&entries, one)).count();
    let unacknowledged = before.values().sum::<u64>() - found as u64;
    println!(
        "seed {SEED}: {ROUNDS} kills, {} acknowledged transactions, {found} found, {unacknowledged} others were under way",
        acknowledged.len()
    );
    assert_eq!(found, acknowledged.len());
}

/// Starts a process that writes, kills it some time after so many acknowledgements, and says what it was told.
fn write_and_be_killed(path: &Path, after: u64, and: Duration) -> Vec<Acknowledged> {
    let program = std::env::current_exe().expect("this test is a program");
    let mut child = Command::new(program)
        .args(["--ignored", "--exact", "the_process_that_is_killed", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test can be started");
    let mut stdin = child.stdin.take().expect("it was asked for");
    writeln!(stdin, "{}", path.display()).expect("the process reads");
    let mut lines = BufReader::new(child.stdout.take().expect("it was asked for"));
    let mut acknowledged = Vec::new();
    while (acknowledged.len() as u64) < after {
        let line =
            next_line(&mut lines).unwrap_or_else(|| panic!("the process has ended: {:?}", child.wait()));
        acknowledged.extend(parse(&line));
    }
    // No waiting for anything: it is for the moment of the kill to be any.
    std::thread::sleep(and);
    kill(&mut child);
    // What it said before it was killed counts, too; half a line does not.
    while let Some(line) = next_line(&mut lines) {
        acknowledged.extend(parse(&line));
    }
    acknowledged
}

fn kill(child: &mut Child) {
    child.kill().expect("it is ours");
    let status = child.wait().expect("it is ours");
    assert!(!status.success(), "the process has ended before it was killed: {status}");
}

fn next_line(lines: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    lines.read_line(&mut line).expect("it is text");
    line.ends_with('\n').then_some(line)
}

fn parse(line: &str) -> Option<Acknowledged> {
    let (_, numbers) = line.split_once("acknowledged ")?;
    let numbers: Vec<u64> =
        numbers.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let [writer, number, counter, revision] = numbers[..] else { panic!("not four numbers: {line}") };
    Some(Acknowledged { writer, number, counter, revision: Revision(revision) })
}

/// Checks all that is there, and says how many transactions of each writer there are. `before` says how many there were
/// before this round.
fn check(
    path: &Path,
    round: u64,
    acknowledged: &[Acknowledged],
    before: &BTreeMap<u64, u64>,
) -> BTreeMap<u64, u64> {
    let entries = read(path);
    let what = format!("seed {SEED}, round {round}");
    for one in acknowledged {
        assert!(is_there(&entries, one), "{what}: {one:?} is lost");
    }
    let number = |key: &str| entries.get(key).map_or(0, first_number);
    let mut counters = Vec::new();
    let mut done = BTreeMap::new();
    for writer in 0..WRITERS {
        let count = number(&format!("chain/{writer}"));
        let last =
            acknowledged.iter().filter(|one| one.writer == writer).map(|one| one.number).max().unwrap_or(0);
        let last = last.max(before.get(&writer).copied().unwrap_or(0));
        assert!(
            (last..=last + 1).contains(&count),
            "{what}: writer {writer} was told {last}, and there are {count}"
        );
        for number in 1..=count {
            let entry = entries.get(&format!("log/{writer}/{number}"));
            counters
                .push(first_number(entry.unwrap_or_else(|| panic!("{what}: a gap at {writer}/{number}"))));
        }
        assert!(!entries.contains_key(&format!("log/{writer}/{}", count + 1)), "{what}: half a transaction");
        let slot = entries.get(&format!("slot/{writer}")).map(first_number);
        assert_eq!(slot, (count > 0 && count % 3 != 0).then_some(count), "{what}: half a transaction");
        done.insert(writer, count);
    }
    counters.sort_unstable();
    assert!(
        counters.iter().copied().eq(1..=number("counter")),
        "{what}: the counter was not raised one by one"
    );
    done
}

fn read(path: &Path) -> BTreeMap<String, Entry> {
    let runtime = runtime();
    let store = SledStore::open(path, LIMIT).expect("what was killed is whole");
    let listing = runtime.block_on(store.list("")).expect("it can be read");
    listing.entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect()
}

fn is_there(entries: &BTreeMap<String, Entry>, one: &Acknowledged) -> bool {
    let entry = entries.get(&format!("log/{}/{}", one.writer, one.number));
    entry.is_some_and(|entry| entry.revision == one.revision && entry.value == logged(one.counter))
}

/// What a writer notes about a transaction: its number among all, and up to 180 KiB.
fn logged(counter: u64) -> String {
    let size = if counter.is_multiple_of(97) { 180 << 10 } else { counter * 37 % 3_000 };
    format!("{counter} {}", "x".repeat(size.try_into().expect("it is small")))
}

fn first_number(entry: &Entry) -> u64 {
    let text = std::str::from_utf8(&entry.value).expect("it was text");
    text.split(' ').next().and_then(|number| number.parse().ok()).expect("it began with a number")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Not a test: started by the one above, which says on its standard input where to write.
#[test]
#[ignore = "the test above starts it"]
fn the_process_that_is_killed() {
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("it can be read");
    if line.is_empty() {
        return;
    }
    let path = PathBuf::from(line.trim_end());
    let store = Arc::new(SledStore::open(&path, LIMIT).expect("what was killed is whole"));
    let runtime = runtime();
    let writers: Vec<_> = (0..WRITERS).map(|writer| runtime.spawn(write(store.clone(), writer))).collect();
    for writer in writers {
        runtime.block_on(writer).expect("writers do not end");
    }
}

/// Writes until it is killed, and says what was acknowledged.
async fn write(store: Arc<SledStore>, writer: u64) {
    loop {
        let (number, chain) = next(&store, &format!("chain/{writer}")).await;
        let (counter, held) = next(&store, "counter").await;
        let slot = format!("slot/{writer}");
        let writes = vec![
            Write::put(format!("chain/{writer}"), number.to_string(), chain),
            Write::put("counter", counter.to_string(), held),
            Write::put(format!("log/{writer}/{number}"), logged(counter), Expected::Absent),
            match number % 3 {
                0 => Write::delete(slot, Expected::Anything),
                _ => Write::put(slot, number.to_string(), Expected::Anything),
            },
        ];
        match store.transact(writes).await {
            Ok(revision) => println!("acknowledged {writer} {number} {counter} {revision}"),
            // Another writer raised the counter.
            Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// The number after the one under a key, and what is expected there until it is written.
async fn next(store: &SledStore, key: &str) -> (u64, Expected) {
    let entry = store.get(key).await.expect("it can be read");
    entry.map_or((1, Expected::Absent), |entry| (first_number(&entry) + 1, Expected::At(entry.revision)))
}

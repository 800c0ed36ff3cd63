use std::os::unix::fs::{PermissionsExt, chown, symlink};

use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, SystemClock};

/// A line of ten bytes.
const TEN: &[u8] = b"{\"n\":111}\n";

fn file(directory: &TempDir, max_bytes: u64, max_files: u32) -> (RotatingFile, Instant) {
    let path = directory.path().join("audit.log");
    let now = SystemClock.monotonic();
    let file = RotatingFile::open(FileSettings { path, max_bytes, max_files }, now);
    (file.expect("it can be opened"), now)
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("there is room")
}

/// The name behind `audit.log` and the size of each file, in order.
fn sizes(directory: &TempDir) -> Vec<(String, u64)> {
    let entries = fs::read_dir(directory.path()).expect("it can be listed").map(|entry| {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().into_string().expect("it is UTF-8");
        let size = entry.metadata().expect("it is there").len();
        (name.strip_prefix("audit.log").expect("it is ours").to_owned(), size)
    });
    let mut sizes: Vec<_> = entries.collect();
    sizes.sort();
    sizes
}

fn expect(found: &TempDir, expected: &[(&str, u64)]) {
    let expected: Vec<_> = expected.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
    assert_eq!(sizes(found), expected);
}

#[test]
fn a_file_is_rotated_before_it_would_exceed_its_size_and_never_within_a_line() {
    let directory = directory();
    let (mut file, now) = file(&directory, 25, 3);
    let steps: [&[(&str, u64)]; 8] = [
        &[("", 10)],
        &[("", 20)],
        &[("", 10), (".1", 20)],
        &[("", 20), (".1", 20)],
        &[("", 10), (".1", 20), (".2", 20)],
        &[("", 20), (".1", 20), (".2", 20)],
        &[("", 10), (".1", 20), (".2", 20)],
        &[("", 20), (".1", 20), (".2", 20)],
    ];
    for expected in steps {
        file.write(TEN, now).expect("there is room");
        expect(&directory, expected);
    }
    // Exactly the size is not too much, and a line that is longer has a file of its own.
    file.write(b"1234\n", now).expect("there is room");
    expect(&directory, &[("", 25), (".1", 20), (".2", 20)]);
    let long = [&[b'x'; 39][..], b"\n"].concat();
    file.write(&long, now).expect("there is room");
    file.write(TEN, now).expect("there is room");
    expect(&directory, &[("", 10), (".1", 40), (".2", 25)]);
}

#[test]
fn numbers_rise_with_age_and_the_oldest_goes() {
    let directory = directory();
    let (mut file, now) = file(&directory, 3, 3);
    for line in [b"1\n", b"2\n", b"3\n", b"4\n"] {
        file.write(line, now).expect("there is room");
    }
    let read = |end: &str| fs::read_to_string(directory.path().join(format!("audit.log{end}"))).ok();
    assert_eq!(
        ["", ".1", ".2", ".3"].map(read),
        [Some("4\n"), Some("3\n"), Some("2\n"), None].map(|text| text.map(str::to_owned))
    );
}

#[test]
fn a_single_file_begins_anew_and_files_of_a_larger_number_go() {
    let directory = directory();
    for number in 1..=4 {
        fs::write(directory.path().join(format!("audit.log.{number}")), TEN).expect("there is room");
    }
    let (mut file, now) = file(&directory, 10, 1);
    file.write(TEN, now).expect("there is room");
    file.write(TEN, now).expect("there is room");
    expect(&directory, &[("", 10)]);
}

#[test]
fn what_is_there_is_kept_and_counts() {
    let directory = directory();
    fs::write(directory.path().join("audit.log"), TEN).expect("there is room");
    let (mut file, now) = file(&directory, 20, 2);
    file.write(TEN, now).expect("there is room");
    expect(&directory, &[("", 20)]);
    file.write(TEN, now).expect("there is room");
    expect(&directory, &[("", 10), (".1", 20)]);
}

#[test]
fn a_new_file_is_not_for_others_and_no_directory_is_made() {
    let directory = directory();
    let (_file, now) = file(&directory, 20, 2);
    let mode = fs::metadata(directory.path().join("audit.log")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");

    let path = directory.path().join("none/audit.log");
    let opened = RotatingFile::open(FileSettings { path, max_bytes: 20, max_files: 2 }, now);
    assert_eq!(opened.err().map(|problem| problem.kind()), Some(ErrorKind::NotFound));
}

#[test]
fn a_file_that_others_moved_deleted_or_emptied_is_noticed_within_a_second() {
    let directory = directory();
    let path = directory.path().join("audit.log");
    let (mut file, now) = file(&directory, 100, 3);
    file.write(TEN, now).expect("there is room");
    fs::rename(&path, directory.path().join("audit.log-moved")).expect("it is ours");
    // Not yet: the lines of this second go where the file has gone, and none is lost.
    file.write(TEN, now + LOOK / 2).expect("there is room");
    expect(&directory, &[("-moved", 20)]);
    file.write(TEN, now + LOOK).expect("there is room");
    expect(&directory, &[("", 10), ("-moved", 20)]);

    fs::remove_file(&path).expect("it is ours");
    file.write(TEN, now + 2 * LOOK).expect("there is room");
    expect(&directory, &[("", 10), ("-moved", 20)]);

    fs::remove_file(&path).expect("it is ours");
    fs::write(&path, b"of another\n").expect("there is room");
    file.write(TEN, now + 3 * LOOK).expect("there is room");
    expect(&directory, &[("", 21), ("-moved", 20)]);

    OpenOptions::new().write(true).truncate(true).open(&path).expect("it is ours");
    for _ in 0..10 {
        file.write(TEN, now + 4 * LOOK).expect("there is room");
    }
    expect(&directory, &[("", 100), ("-moved", 20)]);
}

#[test]
fn while_the_directory_is_gone_lines_fail_and_afterwards_they_are_written() {
    let outer = directory();
    let inner = outer.path().join("log");
    fs::create_dir(&inner).expect("there is room");
    let now = SystemClock.monotonic();
    let settings = FileSettings { path: inner.join("audit.log"), max_bytes: 100, max_files: 3 };
    let mut file = RotatingFile::open(settings, now).expect("it can be opened");
    fs::remove_dir_all(&inner).expect("it is ours");
    for _ in 0..2 {
        assert!(file.write(TEN, now + LOOK).is_err());
    }
    fs::create_dir(&inner).expect("there is room");
    file.write(TEN, now + LOOK).expect("there is room");
    assert_eq!(fs::read(inner.join("audit.log")).ok().as_deref(), Some(TEN));
}

#[test]
fn where_nothing_can_be_renamed_no_file_grows_over_its_size() {
    let directory = directory();
    let (mut file, now) = file(&directory, 15, 3);
    file.write(TEN, now).expect("there is room");
    // A directory with something in it gives way to no file, whoever asks.
    fs::create_dir_all(directory.path().join("audit.log.1/x")).expect("there is room");
    fs::create_dir_all(directory.path().join("audit.log.2/x")).expect("there is room");
    for _ in 0..3 {
        assert!(file.write(TEN, now).is_err());
    }
    assert_eq!(fs::metadata(directory.path().join("audit.log")).map(|file| file.len()).ok(), Some(10));
    fs::remove_dir_all(directory.path().join("audit.log.2")).expect("it is ours");
    file.write(TEN, now).expect("there is room again");
}

#[test]
fn a_full_disk_is_an_error_of_each_line_and_a_device_is_never_renamed() {
    for (device, expected) in [("/dev/full", Some(ErrorKind::StorageFull)), ("/dev/null", None)] {
        let settings = FileSettings { path: device.into(), max_bytes: 15, max_files: 3 };
        let now = SystemClock.monotonic();
        let mut file = RotatingFile::open(settings, now).expect("it is there");
        for _ in 0..3 {
            assert_eq!(file.write(TEN, now + LOOK).err().map(|problem| problem.kind()), expected, "{device}");
        }
        assert!(fs::metadata(device).is_ok_and(|device| !device.is_file()), "{device}");
        assert!(!fs::exists(format!("{device}.1")).expect("it can be asked"), "{device}");
    }
}

#[test]
fn a_link_and_a_file_of_another_user_are_not_written_to() {
    let directory = directory();
    let path = directory.path().join("audit.log");
    let open = || {
        let settings = FileSettings { path: path.clone(), max_bytes: 15, max_files: 3 };
        RotatingFile::open(settings, SystemClock.monotonic()).map(drop)
    };
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "").expect("there is room");
    symlink(&elsewhere, &path).expect("there is room");
    open().expect_err("it leads elsewhere");
    fs::remove_file(&path).expect("it is ours");
    if !geteuid().is_root() {
        return println!("skipped: only root can give a file away");
    }
    fs::write(&path, "").expect("there is room");
    chown(&path, Some(61_001), None).expect("root may");
    let problem = open().expect_err("it is of another").to_string();
    assert_eq!(problem, "it belongs to user 61001, and altsd runs as user 0");
    assert_eq!(fs::read(&elsewhere).ok(), Some(Vec::new()));
}

#[test]
fn after_a_torn_line_the_next_is_whole() {
    let directory = directory();
    let path = directory.path().join("audit.log");
    let (mut file, now) = file(&directory, 100, 3);
    file.write(TEN, now).expect("there is room");
    // Half a line, as on a disk that is full: it is taken away.
    fs::write(&path, [TEN, b"{\"n\""].concat()).expect("there is room");
    file.mend(Torn { written: 4, problem: ErrorKind::StorageFull.into() });
    file.write(TEN, now).expect("there is room");
    assert_eq!(fs::read(&path).ok(), Some([TEN, TEN].concat()));

    // On a pipe it cannot be.
    let (reader, writer) = io::pipe().expect("there is one");
    let mut lines = Lines::new(File::from(std::os::fd::OwnedFd::from(writer)));
    let torn = lines.torn(4, ErrorKind::BrokenPipe.into());
    assert_eq!(torn.written, 4);
    lines.write(TEN).map_err(|torn| torn.problem).expect("it has room");
    lines.write(TEN).map_err(|torn| torn.problem).expect("it has room");
    drop(lines);
    assert_eq!(io::read_to_string(reader).ok(), Some("\n{\"n\":111}\n{\"n\":111}\n".to_owned()));
}

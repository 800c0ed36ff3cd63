use std::{
    io::{Seek, Write},
    time::Duration,
};

use tempfile::NamedTempFile;

use super::*;

/// The SHA-256 of `abc`, as FIPS 180 gives it.
const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("there is room");
    file.write_all(content).expect("there is room");
    file
}

fn id(file: &File) -> FileId {
    FileId::of(&file.metadata().expect("it is open"))
}

/// So long after the last change of the file.
fn after(file: &File, seconds: u64) -> UnixTime {
    let changed = u64::try_from(file.metadata().expect("it is open").ctime()).expect("it is after 1970");
    UnixTime::since_unix_epoch(Duration::from_secs(changed + seconds))
}

fn of(hashes: &Hashes, file: &NamedTempFile, now: UnixTime) -> Option<String> {
    let opened = File::open(file.path()).expect("it is there");
    hashes.of_file(&opened, id(&opened), now).expect("it can be read").map(hex::encode)
}

#[test]
fn a_hash_is_that_of_the_content() {
    let file = file(b"abc");
    assert_eq!(of(&Hashes::default(), &file, after(file.as_file(), 0)).as_deref(), Some(OF_ABC));
}

#[test]
fn a_changed_file_has_another_hash() {
    let hashes = Hashes::default();
    let mut file = file(b"abd");
    let was = of(&hashes, &file, after(file.as_file(), 9)).expect("it has one");
    assert_ne!(was, OF_ABC);
    assert_eq!(hashes.lock().len(), 1);
    // More than a length tells: the same one again, in place.
    file.rewind().expect("it is open");
    let before = file.as_file().metadata().expect("it is open");
    for _ in 0..1_000_000 {
        file.rewind().expect("it is open");
        file.write_all(b"abc").expect("there is room");
        let now = file.as_file().metadata().expect("it is open");
        if (now.ctime(), now.ctime_nsec()) != (before.ctime(), before.ctime_nsec()) {
            break;
        }
    }
    assert_eq!(of(&hashes, &file, after(file.as_file(), 9)).as_deref(), Some(OF_ABC));
}

#[test]
fn a_hash_is_kept_only_of_a_file_that_has_been_left_alone() {
    let file = file(b"abc");
    let hashes = Hashes::default();
    for (seconds, kept) in [(0, 0), (SETTLED_SECONDS, 0), (SETTLED_SECONDS + 1, 1), (100, 1)] {
        assert!(of(&hashes, &file, after(file.as_file(), seconds)).is_some());
        assert_eq!(hashes.lock().len(), kept, "{seconds}");
    }
}

#[test]
fn a_kept_hash_is_used() {
    let file = file(b"abc");
    let hashes = Hashes::default();
    let version = Version::of(&file.as_file().metadata().expect("it is open"));
    hashes.lock().insert(version, [7; 32]);
    assert_eq!(of(&hashes, &file, after(file.as_file(), 9)), Some(hex::encode([7; 32])));
}

#[test]
fn another_file_than_the_one_that_runs_is_not_hashed() {
    let (one, other) = (file(b"abc"), file(b"abc"));
    let found = Hashes::default().of_file(one.as_file(), id(other.as_file()), after(one.as_file(), 9));
    assert_eq!(found.expect("it can be read"), None);
}

#[test]
fn a_file_that_is_too_large_has_no_hash() {
    let file = file(b"");
    file.as_file().set_len(MAX_SIZE + 1).expect("it is sparse");
    assert_eq!(of(&Hashes::default(), &file, after(file.as_file(), 9)), None);
}

#[test]
fn only_so_many_hashes_are_kept() {
    let file = file(b"abc");
    let hashes = Hashes::default();
    let version = Version::of(&file.as_file().metadata().expect("it is open"));
    let other = |size| Version { size, ..version };
    hashes.lock().extend((0..MAX_HASHES as u64).map(|size| (other(size + 100), [0; 32])));
    assert!(of(&hashes, &file, after(file.as_file(), 9)).is_some());
    assert_eq!(hashes.lock().len(), 1);
}

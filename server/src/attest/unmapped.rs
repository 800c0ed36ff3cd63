//! Users and groups that our user namespace has no number for. The kernel shows all of them as one, usually 65534.

use std::fs;

/// What the kernel shows where it knows no better, if its setting cannot be read.
const USUAL: u32 = 65_534;

/// The ids that stand for nobody in particular. Where altsd is in no user namespace of its own there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unmapped {
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Unmapped {
    /// As it is in the user namespace that this process is in.
    pub(super) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            uid: shown(&read("/proc/self/uid_map"), &read("/proc/sys/kernel/overflowuid")),
            gid: shown(&read("/proc/self/gid_map"), &read("/proc/sys/kernel/overflowgid")),
        }
    }

    pub(super) fn is_uid(self, uid: u32) -> bool {
        self.uid == Some(uid)
    }

    pub(super) fn is_gid(self, gid: u32) -> bool {
        self.gid == Some(gid)
    }
}

/// What the ids outside of a map are shown as, if there are any.
fn shown(map: &str, setting: &str) -> Option<u32> {
    let length = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    let mapped: u64 = map.lines().filter_map(length).sum();
    // The highest number is no id.
    (mapped < u32::MAX.into()).then(|| setting.trim().parse().unwrap_or(USUAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_may_be_anybodys_is_known_by_the_map() {
        let cases = [
            ("         0          0 4294967295\n", "65534\n", None),
            ("0 0 1000\n1000 1000 4294966295\n", "65534", None),
            ("         0     100000      65536\n", "65534\n", Some(65_534)),
            ("0 1000 1\n", "99\n", Some(99)),
            ("0 0 4294967294\n", "65534", Some(65_534)),
            ("", "65534", Some(65_534)),
            ("", "", Some(USUAL)),
            ("a b c\n", "x", Some(USUAL)),
        ];
        for (map, setting, expected) in cases {
            assert_eq!(shown(map, setting), expected, "{map:?} {setting:?}");
        }
    }
}

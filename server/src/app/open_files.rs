//! How many files may be open at once.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::Launch;

/// Room for file descriptors beside those of connections.
const OTHER_FILES: u64 = 512;

/// File descriptors that one connection takes: its own, and three by which its caller is held fast, the process, its
/// directory and its executable. Only where several processes have a TCP connection, it takes three for each.
const FILES_OF_A_CONNECTION: usize = 4;

/// Raises the limit of open files to what the configured connections need, and says so if it cannot be. No higher:
/// the commands of an operator inherit it, and some close every descriptor that they might have.
pub(super) fn raise(launch: &Launch) {
    let connections = launch.listeners.len() * launch.limits.max_connections;
    let needed = (connections * FILES_OF_A_CONNECTION) as u64 + OTHER_FILES;
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let raised = open_files(needed, soft, hard);
        if raised > soft {
            setrlimit(Resource::RLIMIT_NOFILE, raised, hard)?;
        }
        Ok(raised)
    });
    match allowed {
        Ok(allowed) if allowed >= needed => {}
        Ok(allowed) => tracing::warn!(
            "{needed} open files may be needed and {allowed} are allowed; raise the limit (LimitNOFILE=, ulimit -n) \
             or lower max_connections"
        ),
        Err(problem) => tracing::warn!("the limit of open files cannot be raised: {problem}"),
    }
}

/// The limit to have where `soft` is the one there is.
fn open_files(needed: u64, soft: u64, hard: u64) -> u64 {
    needed.min(hard).max(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_what_is_needed_and_never_lowered() {
        let table = [
            (5_000, 1_024, 1 << 30, 5_000),
            (5_000, 1_024, 4_096, 4_096),
            (5_000, 8_192, 1 << 30, 8_192),
            (5_000, u64::MAX, u64::MAX, u64::MAX),
            (5_000, 1_024, u64::MAX, 5_000),
        ];
        for (needed, soft, hard, expected) in table {
            assert_eq!(open_files(needed, soft, hard), expected, "{soft} {hard}");
        }
    }
}

//! `alts-loadtest`: see `alts-loadtest --help`.

use std::process::ExitCode;

#[expect(clippy::disallowed_methods, reason = "this is the place where arguments are read")]
fn main() -> ExitCode {
    alts_loadtest::run(std::env::args_os(), &mut std::io::stdout().lock()).into()
}

//! Certificates from a command of the operator, which takes a signing request and prints a chain.
//!
//! The key is made here and never leaves. The command gets no shell, nearly no environment and little time, and is
//! ended with all that it has started.

use std::{
    ffi::OsString,
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use alts_handshake::{Credentials, Identity, SetupError};
use async_trait::async_trait;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use pki_types::{CertificateDer, UnixTime, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};

use super::{
    Origin, Random, Source, SourceError,
    x509::{self, Request},
};

/// How long a command may take, unless the configuration says otherwise.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take at most.
pub(crate) const MAX_TIMEOUT: Duration = Duration::from_secs(25);

/// Where a command finds other programs.
pub(crate) const DEFAULT_SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Commands that run at once.
const AT_ONCE: usize = 4;

/// Most that a command may print, in bytes: more than any chain.
const MAX_OUTPUT: usize = 64 << 10;

/// How much of what it says on stderr is kept, in bytes, and how much of its first line is shown, in characters.
const MAX_COMPLAINT: usize = 4 << 10;
const MAX_SHOWN: usize = 200;

/// What to run, and with what.
#[derive(Clone, Debug)]
pub(crate) struct ExecSettings {
    /// An absolute path.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) timeout: Duration,
    /// How long a certificate should hold. The command may know better.
    pub(crate) lifetime: Duration,
    /// `PATH` of the command.
    pub(crate) search_path: OsString,
}

/// Why a command gave no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} is no absolute path; a command is named by one", program.display())]
    NotAbsolute { program: PathBuf },
    #[error("a timeout of {0:?} is out of range; it must be more than none and at most {MAX_TIMEOUT:?}")]
    Timeout(Duration),
    #[error("{program} cannot be run: {problem}")]
    Start { program: String, problem: io::Error },
    #[error("{program} did not end within {limit:?} and was killed{complaint}")]
    TimedOut { program: String, limit: Duration, complaint: Complaint },
    #[error("{program} ended with {status}{complaint}")]
    Failed { program: String, status: ExitStatus, complaint: Complaint },
    #[error("{program} printed more than {MAX_OUTPUT} bytes and was killed")]
    TooMuchOutput { program: String },
    #[error("{program} printed no certificate (BEGIN CERTIFICATE){complaint}")]
    NoCertificate { program: String, complaint: Complaint },
    #[error("{program} printed no PEM that can be read")]
    NotPem { program: String },
    #[error("what {program} printed cannot be used: {problem}")]
    Unusable { program: String, problem: SetupError },
    #[error("{program} cannot be talked to: {problem}")]
    Pipe { program: String, problem: io::Error },
    #[error(transparent)]
    Request(#[from] x509::Error),
}

impl Error {
    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotAbsolute { .. } => "exec_not_absolute",
            Self::Timeout(_) => "exec_timeout_invalid",
            Self::Start { .. } => "exec_not_startable",
            Self::TimedOut { .. } => "exec_timed_out",
            Self::Failed { .. } => "exec_failed",
            Self::TooMuchOutput { .. } => "exec_output_too_large",
            Self::NoCertificate { .. } => "exec_without_certificate",
            Self::NotPem { .. } => "exec_output_malformed",
            Self::Unusable { problem, .. } => super::install::code(problem),
            Self::Pipe { .. } => "exec_pipe_failed",
            Self::Request(_) => "exec_request_failed",
        }
    }
}

/// The first line that a command wrote to stderr, made printable. Empty, or `: ` and the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Complaint(String);

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

impl Complaint {
    fn of(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let printable = |char: char| if char.is_control() { '?' } else { char };
        Self(line.chars().map(printable).take(MAX_SHOWN).collect())
    }
}

/// Runs the command once for each certificate.
pub(crate) struct ExecSource {
    settings: ExecSettings,
    at_once: Semaphore,
    random: Random,
}

impl ExecSource {
    pub(crate) fn new(settings: ExecSettings, random: Random) -> Result<Self, Error> {
        if !settings.program.is_absolute() {
            return Err(Error::NotAbsolute { program: settings.program });
        }
        if settings.timeout.is_zero() || settings.timeout > MAX_TIMEOUT {
            return Err(Error::Timeout(settings.timeout));
        }
        Ok(Self { settings, at_once: Semaphore::new(AT_ONCE), random })
    }

    async fn issue(&self, identity: &Identity) -> Result<Credentials, Error> {
        // The semaphore is never closed.
        let _permit = self.at_once.acquire().await;
        let request = x509::request(identity)?;
        let (output, complaint) = self.run(identity, &request).await?;
        let program = || self.program();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&output)
            .collect::<Result<_, _>>()
            .map_err(|_| Error::NotPem { program: program() })?;
        if chain.is_empty() {
            return Err(Error::NoCertificate { program: program(), complaint });
        }
        let unusable = |problem| Error::Unusable { program: program(), problem };
        Credentials::new(&chain, &request.key, &*self.random).map_err(unusable)
    }

    /// What the command printed, and what it complained of.
    async fn run(&self, identity: &Identity, request: &Request) -> Result<(Vec<u8>, Complaint), Error> {
        let start = |problem| Error::Start { program: self.program(), problem };
        let mut child = self.command(identity).spawn().map_err(start)?;
        // From here on, whichever way this is left, the command and its children end.
        let mut group = Group::of(&child);
        let mut complaint = Vec::new();
        let limit = self.settings.timeout;
        let finished = timeout(limit, self.converse(&mut child, &mut group, request, &mut complaint)).await;
        let complaint = Complaint::of(&complaint);
        let Ok(finished) = finished else {
            return Err(Error::TimedOut { program: self.program(), limit, complaint });
        };
        let (status, output) = finished?;
        if !status.success() {
            return Err(Error::Failed { program: self.program(), status, complaint });
        }
        Ok((output, complaint))
    }

    fn command(&self, identity: &Identity) -> Command {
        let settings = &self.settings;
        let mut command = Command::new(&settings.program);
        command.args(&settings.arguments).current_dir("/").env_clear().env("PATH", &settings.search_path);
        command.env("ALTSD_LIFETIME_SECONDS", settings.lifetime.as_secs().to_string());
        let spiffe_id = identity.spiffe_id().map(|id| id.as_str());
        if let Some(spiffe_id) = spiffe_id {
            command.env("ALTSD_SPIFFE_ID", spiffe_id);
        }
        if spiffe_id != Some(identity.account()) {
            command.env("ALTSD_SERVICE_ACCOUNT", identity.account());
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// Feeds the command and reads it, to its end or to the first byte too much.
    async fn converse(
        &self,
        child: &mut Child,
        group: &mut Group,
        request: &Request,
        complaint: &mut Vec<u8>,
    ) -> Result<(ExitStatus, Vec<u8>), Error> {
        let pipe = |problem| Error::Pipe { program: self.program(), problem };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A command that does not read its request may have its reasons; what it prints is what counts.
                let _ = stdin.write_all(request.pem.as_bytes()).await;
            }
        };
        // Too much output ends it without waiting for its end.
        let read = async {
            let mut output = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut output).await.map_err(Early::Io)?;
            }
            if output.len() > MAX_OUTPUT { Err(Early::TooMuch) } else { Ok(output) }
        };
        let listen = keep_the_first(stderr, complaint);
        let wait = async {
            let status = child.wait().await.map_err(Early::Io);
            // What it has left behind may hold the pipes open for ever.
            group.kill();
            status
        };
        let talk = async {
            tokio::join!(write, listen);
            Ok(())
        };
        match tokio::try_join!(talk, read, wait) {
            Ok(((), output, status)) => Ok((status, output)),
            Err(Early::TooMuch) => Err(Error::TooMuchOutput { program: self.program() }),
            Err(Early::Io(problem)) => Err(pipe(problem)),
        }
    }

    fn program(&self) -> String {
        self.settings.program.display().to_string()
    }
}

/// Why a conversation is broken off.
enum Early {
    TooMuch,
    Io(io::Error),
}

/// Reads all, so that the writer never waits, and keeps the first part.
async fn keep_the_first(reader: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut reader) = reader else { return };
    let mut part = [0; 1_024];
    while let Ok(length @ 1..) = reader.read(&mut part).await {
        let room = MAX_COMPLAINT - kept.len();
        kept.extend_from_slice(&part[..length.min(room)]);
    }
}

/// The command and all that it has started, as far as it has not gone its own way. Dropping ends them.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    fn kill(&mut self) {
        // Once: later the number may be that of others.
        if let Some(group) = self.0.take() {
            // It fails if nobody is left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[async_trait]
impl Source for ExecSource {
    fn origin(&self) -> Origin {
        Origin::ExternalCa
    }

    async fn obtain(&self, identity: &Identity, _now: UnixTime) -> Result<Credentials, SourceError> {
        Ok(self.issue(identity).await?)
    }
}

#[cfg(test)]
mod tests;

//! From arguments to a scenario, its run and its report.

mod plan;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

use tokio::{runtime::Runtime, sync::watch};

use self::plan::Plan;
use crate::{
    Exit,
    cli::{Command, Common, CompareArgs, Output},
    clock,
    cpu::{ProcessId, Unknown},
    progress::{Mode, Progress},
    report::{
        Machine, Report, Subject,
        compare::{self, Comparison, TOLERANCE},
        html, json, text,
    },
    run::{self, Interrupt},
    scenario::{engine_peer, idle},
    target,
};

/// Why nothing was measured, or a result cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Target(#[from] target::Error),
    #[error("the client library does not take this address: {0}")]
    Address(#[from] alts_client::AddressError),
    #[error("the engine at the other end cannot be set up: {0}")]
    EnginePeer(#[from] engine_peer::Error),
    #[error(transparent)]
    Report(#[from] json::Error),
    #[error("the baseline does not fit: {0}")]
    Compare(#[from] compare::Error),
    #[error(transparent)]
    Idle(#[from] idle::Error),
    #[error("the process {pid} of --server-pid: {problem}")]
    ServerPid { pid: i32, problem: Unknown },
    #[error("{path} holds no token: {problem}")]
    SubjectToken { path: String, problem: String },
    #[error("{path} cannot be written: {problem}")]
    Unwritable { path: String, problem: io::Error },
    #[error("the result cannot be printed: {0}")]
    Output(io::Error),
    #[error("no threads can be had: {0}")]
    Runtime(io::Error),
    #[error("{0}")]
    Usage(&'static str),
}

impl Error {
    /// The stable name of this reason.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Target(error) => error.code(),
            Self::Address(_) => "address_not_taken",
            Self::EnginePeer(_) => "engine_peer_unusable",
            Self::Report(_) => "report_unreadable",
            Self::Compare(_) => "baseline_unfit",
            Self::Idle(_) => "idle_unmeasurable",
            Self::ServerPid { .. } => "server_pid_unreadable",
            Self::SubjectToken { .. } => "subject_token_unreadable",
            Self::Unwritable { .. } => "file_unwritable",
            Self::Output(_) => "output_failed",
            Self::Runtime(_) => "threads_unavailable",
            Self::Usage(_) => "arguments_wrong",
        }
    }

    /// How the program ends with it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            _ => Exit::CouldNotRun,
        }
    }
}

/// Does what a command says.
pub(crate) fn run(command: Command, line: Vec<String>, out: &mut dyn Write) -> Result<Exit, Error> {
    let Some(common) = command.common() else {
        return match &command {
            Command::Compare(args) => compare(args, out),
            _ => Ok(Exit::Usage),
        };
    };
    let baseline = common.baseline.as_deref().map(json::read).transpose()?;
    if baseline.as_ref().is_some_and(|baseline| baseline.scenario != name(&command)) {
        return Err(Error::Usage("the baseline is a result of another scenario"));
    }
    can_be_written(common)?;
    let runtime = runtime(common).map_err(Error::Runtime)?;
    let mut report = runtime.block_on(measure(&command, common, line))?;
    // Connections that are still open are of no interest any more.
    runtime.shutdown_background();
    if let Some(expectations) = &common.expect {
        report.expectations = expectations.judge(&report);
    }
    let comparison = baseline
        .as_ref()
        .map(|before| compare::compare(before, &report, common.max_regression.unwrap_or(TOLERANCE)));
    let comparison = comparison.transpose()?;
    tell(common, &report, baseline.as_ref().zip(comparison.as_ref()), out)?;
    let is_worse =
        comparison.is_some_and(|comparison| comparison.is_worse && common.max_regression.is_some());
    Ok(match report.is_as_expected() && !is_worse {
        false => Exit::Broken,
        // What was measured is how fast something fails, and nobody has said that he expects it.
        true if report.is_in_vain() && report.expectations.is_empty() => Exit::CouldNotRun,
        true => Exit::Good,
    })
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Handshake(_) => "handshake",
        Command::Token(_) => "token",
        Command::Record(_) => "record",
        Command::Mixed(_) => "mixed",
        Command::Compare(_) => "compare",
    }
}

fn runtime(common: &Common) -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = common.threads {
        builder.worker_threads(threads as usize);
    }
    builder.enable_all().build()
}

async fn measure(command: &Command, common: &Common, line: Vec<String>) -> Result<Report, Error> {
    let target = common.target.find(common.i_own_this_target, common.timeout).await?;
    let server = match common.server_pid {
        Some(pid) => Ok(ProcessId::of(pid).map_err(|problem| Error::ServerPid { pid, problem })?),
        None => ProcessId::serving(&target).await,
    };
    let mut plan = Plan::new(common, &target);
    let started = clock::utc(clock::since_1970());
    let measured = match command.idle() {
        Some(count) => plan.idle(command, count, target, server).await?,
        None => {
            let scenario = plan.scenario(command, target).await?;
            let progress = Progress::new(common.progress, plan.window().end());
            run::run(plan.load(), &scenario, server, progress, interrupt()).await
        }
    };
    let subject = Subject {
        started,
        command: line,
        scenario: name(command),
        machine: Machine::read(),
        load: plan.facts(),
        targets: plan.targets,
    };
    Ok(Report::new(subject, measured))
}

/// Ctrl-C ends a run, which is then reported; the second one ends the program.
fn interrupt() -> Interrupt {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            sender.send_replace(true);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
    receiver
}

fn compare(args: &CompareArgs, out: &mut dyn Write) -> Result<Exit, Error> {
    let (before, now) = (json::read(&args.before)?, json::read(&args.now)?);
    let comparison = compare::compare(&before, &now, args.max_regression.unwrap_or(TOLERANCE))?;
    out.write_all(text::write_comparison(&comparison).as_bytes()).map_err(Error::Output)?;
    if let Some(path) = &args.html {
        write(path, &html::write(&now, Some((&before, &comparison))))?;
    }
    let is_broken = comparison.is_worse && args.max_regression.is_some();
    Ok(if is_broken { Exit::Broken } else { Exit::Good })
}

fn tell(
    common: &Common,
    report: &Report,
    baseline: Option<(&Report, &Comparison)>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let printed = match common.output {
        Output::Json => json::write(report),
        Output::Text => {
            let comparison =
                baseline.map(|(_, comparison)| format!("\n{}", text::write_comparison(comparison)));
            text::write(report) + &comparison.unwrap_or_default()
        }
    };
    out.write_all(printed.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)?;
    if let (Output::Json, Some((_, comparison)), true) =
        (common.output, baseline, common.progress != Mode::Never)
    {
        eprintln!("{}", comparison.verdict);
    }
    if let Some(path) = &common.json {
        write(path, &json::write(report))?;
    }
    if let Some(path) = &common.html {
        write(path, &html::write(report, baseline))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|problem| unwritable(path, problem))
}

fn unwritable(path: &Path, problem: io::Error) -> Error {
    Error::Unwritable { path: path.display().to_string(), problem }
}

/// Finds out before a run, which may be long, that its result could not be kept. Changes no file.
fn can_be_written(common: &Common) -> Result<(), Error> {
    if common.json.is_some() && common.json == common.html {
        return Err(Error::Usage("--json and --html name the same file"));
    }
    for path in [&common.json, &common.html].into_iter().flatten() {
        let tried = match fs::metadata(path) {
            // A pipe takes one writer, who writes the result.
            Ok(there) if !there.is_file() && !there.is_dir() => Ok(()),
            Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
            Err(_) => File::create_new(path).and_then(|_| fs::remove_file(path)),
        };
        tried.map_err(|problem| unwritable(path, problem))?;
    }
    Ok(())
}

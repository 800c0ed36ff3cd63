//! What is open and does nothing costs memory: connections over which one message went, or handshakes whose other end
//! does not answer. Many are opened, and then the memory of both processes is read.

use std::{io, sync::Arc, time::Duration};

use alts_client::{AltsStream, Handshaker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use super::{
    handshake::{Service, failure},
    record::{Pipe, Settings, pipe},
};
use crate::{
    clock::Stopwatch,
    cpu::{ProcessId, Unknown},
    pace::Timing,
    report::IdleReport,
    sample::{Failure, Kind, Moved, Samples},
};

/// Descriptors that this process needs for other things.
const OTHER_DESCRIPTORS: u64 = 256;

/// What goes over each connection before it is left alone.
const MESSAGE: [u8; 64] = [0x5a; 64];

/// Bytes that an unanswered connection in memory holds each way: the first frame of a handshake.
const UNANSWERED: usize = 4 * 1024;

/// What is left open of a connection.
type Pair = (AltsStream<Box<dyn Pipe>>, AltsStream<Box<dyn Pipe>>);

/// What is opened.
#[derive(Clone)]
pub(crate) enum What {
    /// Connections, both of whose ends are in this process.
    Connections(Arc<Settings>),
    /// Handshakes of connecting ends, whose first frame has been made by the service and is not answered.
    Handshakes(Service),
}

/// Something that stays open until it is dropped.
enum Held {
    /// Only kept.
    Pair(#[expect(dead_code, reason = "it is kept, and nothing else")] Box<Pair>),
    /// Ended with its task; its other end stays, or it would end by itself.
    Handshake(JoinHandle<()>, #[expect(dead_code, reason = "it is kept, and nothing else")] DuplexStream),
}

impl Held {
    fn is_open(&self) -> bool {
        match self {
            Self::Pair(_) => true,
            Self::Handshake(task, _) => !task.is_finished(),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Handshake(task, _) = self {
            task.abort();
        }
    }
}

/// Why idle connections cannot be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "{connections} connections need {needed} open files, and this process may have {limit}; raise it by ulimit -n"
    )]
    Descriptors { connections: u64, needed: u64, limit: u64 },
    #[error("the limit of open files cannot be raised: {0}")]
    Limit(io::Error),
    #[error("the memory of this process cannot be read: {0}")]
    Memory(#[from] Unknown),
}

/// Opens `count` of them over these connections to the service, `workers` at a time, and reads what they cost.
pub(crate) async fn measure(
    what: &What,
    channels: &[Handshaker],
    count: u64,
    workers: usize,
    server: Option<&ProcessId>,
) -> Result<(IdleReport, Samples), Error> {
    if let What::Connections(_) = what {
        allow_descriptors(count)?;
    }
    let own = ProcessId::own()?;
    // What the first ones need stays with the processes, and is not of those that are counted.
    let (warm, _) = open_all(what, channels, workers as u64, workers).await;
    drop(warm);
    let memory = |process: &ProcessId| process.read().map(|reading| reading.resident);
    let (before, server_before) = (memory(&own)?, server.and_then(|server| memory(server).ok()));
    let (mut held, samples) = open_all(what, channels, count, workers).await;
    // Some may have come to their time limit while others were opened.
    held.retain(Held::is_open);
    let (after, server_after) = (memory(&own)?, server.and_then(|server| memory(server).ok()));
    let growth = |before: u64, after: u64| after as f64 - before as f64;
    let of_each = |growth: f64, parts: usize| growth / (held.len() * parts).max(1) as f64;
    let (name, ends) = match what {
        What::Connections(_) => ("connections", 2),
        What::Handshakes(_) => ("handshakes", 1),
    };
    let server_growth = server_before.zip(server_after).map(|(before, after)| growth(before, after));
    let report = IdleReport {
        of: name.to_owned(),
        open: held.len() as u64,
        resident_before: before,
        resident_after: after,
        client_bytes_each: of_each(growth(before, after), ends),
        server_bytes_each: server_growth.map(|growth| of_each(growth, 1)),
    };
    Ok((report, samples))
}

async fn open_all(what: &What, channels: &[Handshaker], count: u64, workers: usize) -> (Vec<Held>, Samples) {
    let (mut tasks, mut all, mut samples) = (JoinSet::new(), Vec::new(), Samples::default());
    let (kind, watch) = match what {
        What::Connections(_) => (Kind::Record, Stopwatch::start()),
        What::Handshakes(_) => (Kind::Handshake, Stopwatch::start()),
    };
    let mut channels = channels.iter().cycle().take(usize::try_from(count).unwrap_or(usize::MAX));
    loop {
        while tasks.len() < workers
            && let Some(channel) = channels.next()
        {
            let (what, channel) = (what.clone(), channel.clone());
            tasks.spawn(async move {
                let from = watch.elapsed();
                (from, what.open(channel).await, watch.elapsed())
            });
        }
        let Some(joined) = tasks.join_next().await else { return (all, samples) };
        // One that panics has found a bug of this program.
        let (begun, outcome, ended) = joined.expect("opening does not panic");
        let timing = Timing { due: begun, begun, ended };
        let moved = outcome.map(|held| {
            all.push(held);
            Moved::default()
        });
        samples.add(kind, Duration::ZERO, timing, moved);
    }
}

impl What {
    async fn open(self, channel: Handshaker) -> Result<Held, Failure> {
        match self {
            Self::Connections(settings) => Ok(Held::Pair(Box::new(open_one(settings, channel).await?))),
            Self::Handshakes(service) => begin_one(service, channel).await,
        }
    }
}

/// Begins a handshake, and waits until the service has made its first frame.
async fn begin_one(service: Service, channel: Handshaker) -> Result<Held, Failure> {
    let (near, mut far) = tokio::io::duplex(UNANSWERED);
    let (connector, mut first) = (service.connector(channel), [0; 1]);
    let (sender, receiver) = oneshot::channel();
    let task = tokio::spawn(async move {
        let failed = connector.connect(near, &service.target_name).await.err();
        // Nobody listens any more once the first frame has come.
        let _ = sender.send(failed.map(failure));
    });
    let came = tokio::select! {
        came = far.read(&mut first) => came,
        failed = receiver => return Err(failed.ok().flatten().unwrap_or_else(|| Failure::new("ended", "it ended early"))),
    };
    match came {
        Ok(1..) => Ok(Held::Handshake(task, far)),
        Ok(0) => Err(Failure::new("ended", "the handshake ended before its first frame")),
        Err(problem) => Err(Failure::new("connection_broken", problem.to_string())),
    }
}

async fn open_one(settings: Arc<Settings>, channel: Handshaker) -> Result<Pair, Failure> {
    let broken = |problem: io::Error| Failure::new("connection_broken", problem.to_string());
    let (near, far) = pipe(settings.over).await.map_err(broken)?;
    let (mut near, mut far) = settings.handshake(&channel, near, far).await?;
    let mut taken = [0; MESSAGE.len()];
    near.write_all(&MESSAGE).await.map_err(broken)?;
    near.flush().await.map_err(broken)?;
    far.read_exact(&mut taken).await.map_err(broken)?;
    Ok((near, far))
}

/// Lets this process have as many descriptors as the connections need, two each.
fn allow_descriptors(connections: u64) -> Result<(), Error> {
    let needed = connections.saturating_mul(2).saturating_add(OTHER_DESCRIPTORS);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if let Some(limit) = maximum.filter(|maximum| *maximum < needed) {
        return Err(Error::Descriptors { connections, needed, limit });
    }
    let raised = Rlimit { current: Some(needed), maximum };
    setrlimit(Resource::Nofile, raised).map_err(|problem| Error::Limit(problem.into()))
}

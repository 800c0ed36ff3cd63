//! What open connections cost that do nothing: many are opened, one message goes over each, and then memory is read.

use std::{io, sync::Arc};

use alts_client::{AltsStream, Handshaker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::record::{Pipe, Records, Settings, pipe};
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

/// What is left open.
type Pair = (AltsStream<Box<dyn Pipe>>, AltsStream<Box<dyn Pipe>>);

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

/// Opens `count` connections, `workers` at a time, and reads what they cost.
pub(crate) async fn measure(
    records: &Records,
    count: u64,
    workers: usize,
    server: Option<&ProcessId>,
) -> Result<(IdleReport, Samples), Error> {
    allow_descriptors(count)?;
    let own = ProcessId::own()?;
    // What the first handshakes need stays with this process, and is not of the connections.
    let warm = open_all(records, workers as u64, workers, Stopwatch::start()).await;
    drop(warm);
    let memory = |process: &ProcessId| process.read().map(|reading| reading.resident);
    let before = memory(&own)?;
    let server_before = server.and_then(|server| memory(server).ok());
    let (open, samples) = open_all(records, count, workers, Stopwatch::start()).await;
    let after = memory(&own)?;
    let server_after = server.and_then(|server| memory(server).ok());
    let growth = |before: u64, after: u64| after as i64 - before as i64;
    let streams = (open.len() * 2).max(1);
    let report = IdleReport {
        connections: open.len() as u64,
        resident_before: before,
        resident_after: after,
        bytes_per_stream: growth(before, after) as f64 / streams as f64,
        server_growth: server_before.zip(server_after).map(|(before, after)| growth(before, after)),
    };
    Ok((report, samples))
}

async fn open_all(records: &Records, count: u64, workers: usize, watch: Stopwatch) -> (Vec<Pair>, Samples) {
    let (mut tasks, mut all, mut samples) = (JoinSet::new(), Vec::new(), Samples::default());
    let (settings, mut begun) = (records.settings(), 0);
    loop {
        while begun < count && tasks.len() < workers {
            let (settings, channel) = (settings.clone(), records.channel(begun as usize));
            tasks.spawn(async move {
                let from = watch.elapsed();
                (from, open_one(settings, channel).await, watch.elapsed())
            });
            begun += 1;
        }
        let Some(joined) = tasks.join_next().await else { return (all, samples) };
        let Ok((begun, outcome, ended)) = joined else { continue };
        let timing = Timing { due: begun, begun, ended };
        let moved = outcome.map(|pair| {
            all.push(pair);
            Moved { bytes: MESSAGE.len() as u64, frames: 1 }
        });
        samples.add(Kind::Record, std::time::Duration::ZERO, timing, moved);
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

//! From arguments to what is done over and over.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alts_handshake::SystemRandom;
use zeroize::Zeroizing;

use super::Error;
use crate::{
    cli::{
        Command, Common, ExchangeArgs, HandshakeArgs, MixedArgs, PeerArgs, ServiceArgs, SideArg, StreamArgs,
    },
    cpu::{ProcessId, Unknown},
    pace::{Pace, Window},
    report::LoadFacts,
    run::{self, Load, Measured},
    sample::Kind,
    scenario::{
        Scenario,
        engine_peer::{self, EnginePeer},
        handshake::{Handshakes, Service, Side},
        idle::{self, What},
        mixed::Mixed,
        record::{Over, Records, Settings},
        token::{Exchange, Tokens},
    },
    target::{Named, Target},
};

/// Workers if nothing else is said.
const CLOSED_WORKERS: u32 = 16;
const OPEN_WORKERS: u32 = 256;

/// Largest file with a token, in bytes.
const MAX_TOKEN: usize = 64 * 1024;

/// The type of a subject that is who the kernel says it is.
const LOCAL_PEER: &str = "urn:altsd:token-type:local-peer";

/// What a run will be.
pub(super) struct Plan<'a> {
    common: &'a Common,
    /// Addresses, after look-up.
    pub(super) targets: Vec<String>,
    /// For the report.
    settings: Vec<String>,
    connections: Option<usize>,
    /// Whether things are opened that do nothing, and nothing else.
    is_idle: bool,
}

impl<'a> Plan<'a> {
    /// For this target.
    pub(super) fn new(common: &'a Common, target: &Target) -> Self {
        Self {
            common,
            targets: vec![target.to_string()],
            settings: Vec::new(),
            connections: None,
            is_idle: false,
        }
    }

    fn workers(&self) -> usize {
        let usual = if self.common.rate.is_some() { OPEN_WORKERS } else { CLOSED_WORKERS };
        self.common.workers.unwrap_or(usual) as usize
    }

    /// How long the run is.
    pub(super) fn window(&self) -> Window {
        match self.is_idle {
            // It takes as long as it takes.
            true => Window { warm_up: Duration::ZERO, measured: Duration::ZERO },
            false => Window { warm_up: self.common.warmup, measured: self.common.duration },
        }
    }

    /// What is asked of the run.
    pub(super) fn load(&self) -> Load {
        Load {
            pace: self.common.rate.map_or(Pace::Closed, Pace::Open),
            window: self.window(),
            workers: self.workers(),
            timeout: self.common.timeout,
        }
    }

    /// The same for the report.
    pub(super) fn facts(&self) -> LoadFacts {
        LoadFacts {
            rate: self.common.rate.map(|rate| rate.per_second()),
            workers: self.workers(),
            connections: self.connections,
            warm_up_seconds: self.window().warm_up.as_secs_f64(),
            duration_seconds: self.window().measured.as_secs_f64(),
            settings: self.settings.clone(),
        }
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.push(format!("{name}={}", value.to_string()));
    }

    /// What a command does over and over.
    pub(super) async fn scenario(&mut self, command: &Command, target: Target) -> Result<Scenario, Error> {
        Ok(match command {
            Command::Handshake(args) => Scenario::Handshake(self.handshakes(args, target)?),
            Command::Token(args) => {
                self.set("connections", if args.new_connection { "new" } else { "kept" });
                Scenario::Token(self.tokens(&args.exchange, target, !args.new_connection)?)
            }
            Command::Record(args) => {
                Scenario::Record(self.records(&args.service, &args.stream, target, Over::Duplex)?)
            }
            Command::Mixed(args) => Scenario::Mixed(self.mixed(args, target).await?),
            Command::Compare(_) => return Err(Error::Usage("a comparison has no target")),
        })
    }

    fn service(&mut self, args: &ServiceArgs, target: Target) -> Service {
        if let Some(account) = &args.target_service_account {
            self.set("target-service-account", account);
        }
        Service {
            target,
            timeout: self.common.timeout,
            at_once: self.workers(),
            owned: self.common.i_own_this_target,
            target_account: args.target_service_account.clone(),
            target_name: args.target_name.clone(),
        }
    }

    fn handshakes(&mut self, args: &HandshakeArgs, target: Target) -> Result<Handshakes, Error> {
        self.set("side", args.side.name());
        let peer = || peer(&args.peer).map(Arc::new);
        let side = match args.side {
            SideArg::Both => Side::Both,
            SideArg::Client => Side::Client(peer()?),
            SideArg::Server => Side::Server(peer()?),
        };
        let connections = if args.new_connection { 0 } else { args.service.connections as usize };
        self.connections = Some(connections);
        let service = self.service(&args.service, target);
        Ok(Handshakes::new(service, side, connections)?)
    }

    fn tokens(&mut self, args: &ExchangeArgs, target: Target, is_kept: bool) -> Result<Tokens, Error> {
        if !args.audience.is_empty() {
            self.set("audience", args.audience.join(" "));
        }
        let exchange =
            |token: &str, kind: &str| Exchange::new(token, kind, &args.audience, args.scope.as_deref());
        let exchange = match &args.subject_token_file {
            None => {
                self.set("subject", &args.subject);
                exchange(&args.subject, LOCAL_PEER)
            }
            Some(path) => {
                self.set("subject-token-type", &args.subject_token_type);
                exchange(&subject_token(path)?, &args.subject_token_type)
            }
        };
        Ok(Tokens::new(target, args.token_path.clone(), exchange, is_kept))
    }

    fn records(
        &mut self,
        service: &ServiceArgs,
        stream: &StreamArgs,
        target: Target,
        usually: Over,
    ) -> Result<Records, Error> {
        let over = stream.over.unwrap_or(usually);
        self.set("over", format!("{over:?}").to_lowercase());
        self.set("write-size", stream.write_size.bytes());
        self.set("echo", stream.echo);
        if let Some(bytes) = stream.frame_size {
            self.set("frame-size", bytes);
        }
        self.connections = Some(service.connections as usize);
        let settings = Settings {
            service: self.service(service, target),
            over,
            write_size: stream.write_size.bytes(),
            echo: stream.echo,
            frame_size: stream.frame_size,
        };
        Ok(Records::new(settings, service.connections as usize)?)
    }

    async fn mixed(&mut self, args: &MixedArgs, target: Target) -> Result<Mixed, Error> {
        self.set("mix", &args.mix);
        let mut scenarios = Vec::new();
        for kind in args.mix.kinds() {
            scenarios.push(match kind {
                Kind::Handshake => {
                    let service = self.service(&args.service, target.clone());
                    self.connections = Some(args.service.connections as usize);
                    Scenario::Handshake(Handshakes::new(
                        service,
                        Side::Both,
                        args.service.connections as usize,
                    )?)
                }
                Kind::Token => {
                    let target = self.token_target(args.token_target.as_ref()).await?;
                    Scenario::Token(self.tokens(&args.exchange, target, true)?)
                }
                Kind::Record => {
                    let records = self.records(&args.service, &args.stream, target.clone(), Over::Duplex)?;
                    Scenario::Record(records)
                }
            });
        }
        Ok(Mixed::new(args.mix.clone(), scenarios))
    }

    async fn token_target(&mut self, named: Option<&Named>) -> Result<Target, Error> {
        let named = named.ok_or(Error::Usage("the mix has tokens: say where by --token-target"))?;
        let target = named.find(self.common.i_own_this_target, self.common.timeout).await?;
        self.targets.push(target.to_string());
        Ok(target)
    }

    /// Opens what does nothing, and measures its memory.
    pub(super) async fn idle(
        &mut self,
        command: &Command,
        count: u64,
        target: Target,
        server: Result<ProcessId, Unknown>,
    ) -> Result<Measured, Error> {
        let (what, channels) = match command {
            Command::Record(args) => {
                let records = self.records(&args.service, &args.stream, target, Over::Unix)?;
                if records.settings().over == Over::Duplex {
                    return Err(Error::Usage(
                        "the buffers of a connection in memory would be counted as its own: use --over unix or tcp \
                         with --idle",
                    ));
                }
                (What::Connections(records.settings()), records.channels().to_vec())
            }
            Command::Handshake(args) => {
                self.connections = Some(args.service.connections as usize);
                let mut service = self.service(&args.service, target);
                // All of them are under way at once.
                service.at_once = usize::try_from(count).unwrap_or(usize::MAX);
                let channels = service.channels(args.service.connections as usize)?;
                (What::Handshakes(service), channels)
            }
            _ => return Err(Error::Usage("only handshakes and connections can be idle")),
        };
        self.set("idle", count);
        self.is_idle = true;
        let process = server.as_ref().ok().cloned();
        let work = idle::measure(&what, &channels, count, self.workers(), process.as_ref());
        let (measured, elapsed, server, client) = run::measure(server, work).await;
        let (idle, samples) = measured?;
        Ok(Measured {
            samples,
            elapsed,
            interrupted: false,
            unstarted: 0,
            server,
            client,
            per_second: Vec::new(),
            idle: Some(idle),
        })
    }
}

fn peer(args: &PeerArgs) -> Result<EnginePeer, Error> {
    let missing =
        || Error::Usage("an engine at the other end needs --peer-chain, --peer-key and --peer-roots");
    let file = |file: &Option<PathBuf>| file.clone().ok_or_else(missing);
    let files = engine_peer::Files {
        chain: file(&args.peer_chain)?,
        key: file(&args.peer_key)?,
        roots: file(&args.peer_roots)?,
        authorities: args.peer_authority.clone(),
    };
    Ok(EnginePeer::read(&files, Box::new(SystemRandom::new()))?)
}

fn subject_token(path: &Path) -> Result<Zeroizing<String>, Error> {
    let problem = |problem: String| Error::SubjectToken { path: path.display().to_string(), problem };
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| problem(error.to_string()))?);
    match text.trim() {
        "" => Err(problem("it is empty".to_owned())),
        token if token.len() > MAX_TOKEN => Err(problem(format!("it has more than {MAX_TOKEN} bytes"))),
        token => Ok(Zeroizing::new(token.to_owned())),
    }
}

//! The other end of a handshake, done in this process by the engine itself, without a service.

use std::{fs, path::PathBuf, sync::Arc};

use alts_handshake::{
    AdmitAll, Authority, ClientSetup, Credentials, ExpectedPeers, Handshake, Outcome, Preferences,
    RecordProtocol, RpcVersions, SecureRandom, ServerSetup, Setup, SetupError, Step, Trust,
};
use pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{clock, sample::Failure};

/// The largest record frame that it says it takes, in bytes. Nothing is sent after the handshake.
const FRAME_SIZE: u32 = 16_384;

/// Bytes read at once: more than a whole handshake message of usual certificates.
const BUFFER: usize = 16 * 1024;

/// Where its identity is.
pub(crate) struct Files {
    /// Certificate chain, leaf first, PEM.
    pub(crate) chain: PathBuf,
    /// Key of the leaf, PKCS#8, PEM.
    pub(crate) key: PathBuf,
    /// Roots of the service's certificates, PEM.
    pub(crate) roots: PathBuf,
    /// For whom the roots vouch; if none is named, those of its own certificate.
    pub(crate) authorities: Vec<String>,
}

/// The randomness of a program.
pub(crate) type Random = Box<dyn SecureRandom + Send + Sync>;

/// An end of handshakes that needs no service. It has no `Debug`: it holds a private key.
pub(crate) struct EnginePeer {
    credentials: Arc<Credentials>,
    trust: Arc<Trust>,
    preferences: Preferences,
    random: Random,
}

/// Why there is no such end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path} cannot be read: {problem}")]
    Unreadable { path: String, problem: std::io::Error },
    #[error("{path} is no PEM file with what belongs there: {problem}")]
    Malformed { path: String, problem: String },
    #[error("{path} holds no certificate")]
    Empty { path: String },
    #[error(transparent)]
    Unusable(#[from] SetupError),
}

impl EnginePeer {
    /// Reads its identity and whom it trusts.
    pub(crate) fn read(files: &Files, random: Random) -> Result<Self, Error> {
        let key_text = zeroize::Zeroizing::new(
            fs::read(&files.key)
                .map_err(|problem| Error::Unreadable { path: files.key.display().to_string(), problem })?,
        );
        let key = PrivatePkcs8KeyDer::from_pem_slice(&key_text).map_err(|problem| Error::Malformed {
            path: files.key.display().to_string(),
            problem: problem.to_string(),
        })?;
        let credentials = Credentials::new(&certificates(&files.chain)?, &key, &*random)?;
        let roots = certificates(&files.roots)?;
        let named =
            files.authorities.iter().map(|name| Authority::parse(name)).collect::<Result<Vec<_>, _>>()?;
        let authorities =
            if named.is_empty() { credentials.identity().authorities().collect() } else { named };
        let mut trust = Trust::default();
        for authority in authorities {
            trust.add(authority, &roots)?;
        }
        let versions = RpcVersions { max: (2, 1), min: (2, 1) };
        let record = RecordProtocol::GcmAes128Rekey.name();
        let preferences = Preferences::new(&[record], &["grpc"], &[], versions, FRAME_SIZE)?;
        Ok(Self { credentials: Arc::new(credentials), trust: Arc::new(trust), preferences, random })
    }

    /// Does the handshake on `io` as the end that opened it, and gives `io` back.
    pub(crate) async fn connect<IO>(&self, mut io: IO) -> Result<IO, Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let setup = ClientSetup { common: self.setup(), ticket: None, grease: None };
        let (handshake, first) = Handshake::client(setup, now(), &*self.random).map_err(failure)?;
        io.write_all(&first).await.map_err(broken)?;
        self.carry(handshake, io).await
    }

    /// The same as the end that accepted it.
    pub(crate) async fn accept<IO>(&self, io: IO) -> Result<IO, Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let setup = ServerSetup { common: self.setup(), resumption: None };
        self.carry(Handshake::server(setup), io).await
    }

    fn setup(&self) -> Setup {
        Setup {
            credentials: self.credentials.clone(),
            trust: self.trust.clone(),
            expected: ExpectedPeers::default(),
            admission: Arc::new(AdmitAll),
            preferences: self.preferences.clone(),
        }
    }

    async fn carry<IO>(&self, mut handshake: Handshake, mut io: IO) -> Result<IO, Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = [0; BUFFER];
        loop {
            let read = io.read(&mut buffer).await.map_err(broken)?;
            if read == 0 {
                return Err(Failure::new(
                    "engine_peer_closed",
                    "the service's end closed the connection early",
                ));
            }
            let Step { out_frames, outcome, .. } = handshake.step(&buffer[..read], now(), &*self.random);
            io.write_all(&out_frames).await.map_err(broken)?;
            match outcome {
                Outcome::NeedsInput => {}
                Outcome::Done(_) => return Ok(io),
                Outcome::Failed(error) => return Err(failure(error)),
            }
        }
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, Error> {
    let name = || path.display().to_string();
    let text = fs::read(path).map_err(|problem| Error::Unreadable { path: name(), problem })?;
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem| Error::Malformed { path: name(), problem: problem.to_string() })?;
    if certificates.is_empty() { Err(Error::Empty { path: name() }) } else { Ok(certificates) }
}

fn now() -> UnixTime {
    UnixTime::since_unix_epoch(clock::since_1970())
}

fn failure(error: alts_handshake::Error) -> Failure {
    let text = format!("the engine at the other end: {error}");
    Failure::new(format!("engine_{}", error.reason().code()), text)
}

fn broken(problem: std::io::Error) -> Failure {
    Failure::new("engine_io", problem.to_string())
}

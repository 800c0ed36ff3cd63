//! The command line, the same for the peers of all languages; `Frames` is this peer's own.

use alts_client::{AddressError, Handshaker};
use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) role: Role,
}

#[derive(Subcommand)]
pub(crate) enum Role {
    Server(ServerOptions),
    Client(ClientOptions),
}

#[derive(Args)]
pub(crate) struct ServerOptions {
    #[arg(long)]
    pub(crate) listen: String,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct ClientOptions {
    #[arg(long)]
    pub(crate) target: String,
    #[arg(long)]
    pub(crate) case: Case,
    /// The account that the server has to see.
    #[arg(long)]
    pub(crate) expect_peer: String,
    /// An account that the server may have; repeatable.
    #[arg(long)]
    pub(crate) service_account: Vec<String>,
    /// Of the case many.
    #[arg(long, default_value_t = 100)]
    pub(crate) connections: usize,
    /// Of the cases bulk and rekey.
    #[arg(long, default_value_t = 100)]
    pub(crate) messages: usize,
    /// Bytes of the messages of the case stream.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 1_000, 20_000, 300_000, 3_000_000])]
    pub(crate) sizes: Vec<usize>,
    /// Seconds for a case.
    #[arg(long, default_value_t = 15.0)]
    pub(crate) deadline: f64,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    Unary,
    Stream,
    Many,
    Bulk,
    Rekey,
    Again,
    Reconnect,
}

#[derive(Args)]
pub(crate) struct Common {
    /// HOST:PORT or unix:/path; `metadata` is the name that Google Cloud gives it.
    #[arg(long)]
    handshaker: String,
    #[command(flatten)]
    pub(crate) frames: Frames,
}

impl Common {
    pub(crate) fn handshaker(&self) -> Result<Handshaker, AddressError> {
        Handshaker::new(match self.handshaker.as_str() {
            "metadata" => "metadata.google.internal.:8080",
            other => other,
        })
    }
}

/// How large frames are.
#[derive(Args)]
pub(crate) struct Frames {
    /// Most bytes of payload in a frame that is sent.
    #[arg(long)]
    pub(crate) max_sent_payload: Option<usize>,
    /// The largest frame that this end takes, in bytes.
    #[arg(long)]
    pub(crate) max_frame_size: Option<u32>,
}

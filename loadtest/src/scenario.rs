//! What is done over and over. A [`Scenario`] is shared by all workers; each has a [`Worker`] of its own.

pub(crate) mod counted;
pub(crate) mod engine_peer;
pub(crate) mod handshake;
pub(crate) mod idle;
pub(crate) mod mixed;
pub(crate) mod record;
pub(crate) mod token;

use crate::sample::{Failure, Kind, Moved};

/// What is done over and over.
pub(crate) enum Scenario {
    Handshake(handshake::Handshakes),
    Token(token::Tokens),
    Record(record::Records),
    Mixed(mixed::Mixed),
}

/// One user. It does one operation at a time.
pub(crate) enum Worker {
    Handshake(Box<handshake::Worker>),
    Token(Box<token::Worker>),
    Record(Box<record::Worker>),
    Mixed(Box<mixed::Worker>),
}

impl Scenario {
    /// The worker with this index, counted from 0.
    pub(crate) fn worker(&self, index: usize) -> Worker {
        match self {
            Self::Handshake(handshakes) => Worker::Handshake(Box::new(handshakes.worker(index))),
            Self::Token(tokens) => Worker::Token(Box::new(tokens.worker())),
            Self::Record(records) => Worker::Record(Box::new(records.worker(index))),
            Self::Mixed(mixed) => Worker::Mixed(Box::new(mixed.worker(index))),
        }
    }
}

impl Worker {
    /// Chooses the next operation, and says what it is.
    pub(crate) fn choose(&mut self) -> Kind {
        match self {
            Self::Handshake(_) => Kind::Handshake,
            Self::Token(_) => Kind::Token,
            Self::Record(_) => Kind::Record,
            Self::Mixed(mixed) => mixed.choose(),
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When it fails. What it was done over has to be put away then: see [`Self::reset`].
    pub(crate) async fn operate(&mut self) -> Result<Moved, Failure> {
        match self {
            Self::Handshake(worker) => worker.operate().await,
            Self::Token(worker) => worker.operate().await,
            Self::Record(worker) => worker.operate().await,
            // A future that holds itself has to be boxed.
            Self::Mixed(mixed) => Box::pin(mixed.chosen().operate()).await,
        }
    }

    /// After an operation that failed or was given up: the next one begins with new connections of this worker.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Handshake(_) => {}
            Self::Token(worker) => worker.reset(),
            Self::Record(worker) => worker.reset(),
            Self::Mixed(mixed) => mixed.chosen().reset(),
        }
    }

    /// At the end: whether all that was sent has come.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        match self {
            Self::Handshake(_) | Self::Token(_) => Ok(()),
            Self::Record(worker) => worker.finish().await,
            Self::Mixed(mixed) => Box::pin(mixed.finish()).await,
        }
    }
}

//! Carries a handshake between a byte stream and the handshaker.

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::{
    AltsAuthInfo, Error, Handshaker, Side,
    conversation::{Conversation, Outcome},
    error::WaitingFor,
    established::Established,
    record::FrameLimit,
};

mod input;
mod request;
mod result;

use input::Input;
pub(crate) use request::Start;
use result::Agreed;

/// How long the last frames of a handshake that has failed may take to be sent.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(1);

/// What this end takes when the program does not say it, in bytes.
const MAX_FRAME_SIZE: u32 = 64 << 10;

/// A question about a peer: nothing is wrong with it, or a reason.
pub(crate) type Judge = dyn Fn(&AltsAuthInfo) -> Result<(), String> + Send + Sync;

/// On what terms handshakes are done.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) handshaker: Handshaker,
    /// What this end takes.
    pub(crate) max_frame_size: FrameLimit,
    /// The program's own bound on the payload of a frame it sends, in bytes.
    pub(crate) max_payload: Option<usize>,
    /// All of them are asked.
    pub(crate) judges: Vec<Arc<Judge>>,
}

impl Terms {
    /// The usual ones.
    pub(crate) fn new(handshaker: Handshaker) -> Self {
        Self {
            handshaker,
            max_frame_size: FrameLimit::nearest(MAX_FRAME_SIZE),
            max_payload: None,
            judges: Vec::new(),
        }
    }

    /// Does a handshake on `io`. Dropping the future closes `io` and ends the RPC.
    ///
    /// # Errors
    /// See [`Error`]. `io` is closed.
    pub(crate) async fn handshake<IO>(&self, start: Start<'_>, mut io: IO) -> Result<(IO, Established), Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = self.handshaker.timeout();
        let mut waiting_for = WaitingFor::Place;
        let driven = tokio::time::timeout(limit, self.drive(start, &mut io, &mut waiting_for)).await;
        match driven {
            Ok(Ok(established)) => Ok((io, established)),
            Ok(Err(Failure { error, farewell })) => {
                // It tells the other side why. This side knows already.
                let _ = tokio::time::timeout(FAREWELL, send(&mut io, &farewell)).await;
                Err(error)
            }
            Err(_) => Err(Error::TimedOut { seconds: limit.as_secs_f64(), waiting_for }),
        }
    }

    async fn drive<IO>(
        &self,
        start: Start<'_>,
        io: &mut IO,
        waiting_for: &mut WaitingFor,
    ) -> Result<Established, Failure>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let side = start.side();
        let mut input = Input::default();
        if start.needs_input() {
            // Whoever connects and says nothing gets neither a place nor an RPC.
            *waiting_for = WaitingFor::Peer;
            input.read(io).await?;
        }
        *waiting_for = WaitingFor::Place;
        let _place = self.handshaker.place(side).await;
        *waiting_for = WaitingFor::Handshaker;
        let first = start.request(self.max_frame_size, input.pending());
        let (mut conversation, mut answer) = Conversation::open(&self.handshaker, first).await?;
        let mut has_sent = false;
        let (result, last_frames) = loop {
            let leads_on = input.consume(answer.consumed);
            match answer.outcome {
                Outcome::Open => {}
                Outcome::Done(result) => break (result, answer.out_frames),
                Outcome::Failed(error) => {
                    // A client is done when it has had the server's flight, and would read on as records.
                    let may_be_done = side == Side::Server && has_sent;
                    let farewell = if may_be_done { Vec::new() } else { answer.out_frames };
                    return Err(Failure { error, farewell });
                }
            }
            *waiting_for = WaitingFor::Peer;
            send(io, &answer.out_frames).await.map_err(|error| input.failed(error))?;
            has_sent |= !answer.out_frames.is_empty();
            if !leads_on {
                input.read(io).await?;
            }
            *waiting_for = WaitingFor::Handshaker;
            answer = conversation.ask(request::next(input.pending())).await?;
        };
        drop(conversation);
        // A peer that this side does not accept does not get what would complete the handshake for it.
        let Agreed { key, send_limit, info } = Agreed::of(*result, self.max_frame_size)?;
        self.authorize(&info)?;
        *waiting_for = WaitingFor::Peer;
        send(io, &last_frames).await.map_err(|error| input.failed(error))?;
        Ok(Established {
            side,
            key,
            send_limit,
            receive_limit: self.max_frame_size,
            max_payload: self.max_payload,
            rest: input.rest(),
            info,
        })
    }

    fn authorize(&self, info: &AltsAuthInfo) -> Result<(), Error> {
        let refused =
            |reason| Error::NotAuthorized { account: info.peer_service_account().to_owned(), reason };
        self.judges.iter().try_for_each(|judge| judge(info).map_err(refused))
    }
}

/// Why there is no connection, and what the other side is still sent.
struct Failure {
    error: Error,
    farewell: Vec<u8>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, farewell: Vec::new() }
    }
}

/// Sends all of it before anything is read: the other side may be waiting for its last byte.
async fn send<IO: AsyncWrite + Unpin>(io: &mut IO, frames: &[u8]) -> io::Result<()> {
    if frames.is_empty() {
        return Ok(());
    }
    io.write_all(frames).await?;
    io.flush().await
}

#[cfg(test)]
mod tests;

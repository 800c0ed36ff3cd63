//! Serves until it is told to end.

use std::{error::Error, time::Duration};

use alts_client::{AltsAcceptor, AltsIncoming};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_stream::StreamExt as _;
use tonic::transport::Server;

use crate::{echo::Echo, options::ServerOptions, watched::Watched};

/// How long calls may go on when the end was announced.
const GRACE: Duration = Duration::from_secs(1);

pub(crate) async fn serve(options: ServerOptions) -> Result<(), Box<dyn Error>> {
    let frames = &options.common.frames;
    let mut acceptor = AltsAcceptor::new(options.common.handshaker()?);
    if let Some(bytes) = frames.max_sent_payload {
        acceptor = acceptor.max_sent_payload(bytes);
    }
    if let Some(bytes) = frames.max_frame_size {
        acceptor = acceptor.max_frame_size(bytes);
    }
    let listener = TcpListener::bind(&options.listen).await?;
    let ready = json!({ "ready": listener.local_addr()?.to_string() });
    let incoming = AltsIncoming::new(listener, acceptor)
        .on_failure(|failed| eprintln!("no connection with {}: {}", failed.peer, failed.error))
        .map(|accepted| accepted.map(|stream| Watched::new(stream, None)));
    let serving = Server::builder().add_service(Echo).serve_with_incoming_shutdown(incoming, told_to_end());
    println!("{ready}");
    tokio::select! {
        served = serving => served?,
        () = async { told_to_end().await; tokio::time::sleep(GRACE).await } => {}
    }
    Ok(())
}

async fn told_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(error) => eprintln!("interop_peer: no signal will be noticed: {error}"),
    }
}

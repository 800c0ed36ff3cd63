//! Whole handshakes whose both ends ask altsd, one alone or as a load.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use alts_proto::gcp::{
    HandshakerResult, ServerHandshakeParameters, StartClientHandshakeReq, handshaker_req::ReqOneof,
};
use tokio::task::JoinHandle;
use tonic::{Code, transport::Channel};

use super::{
    node::Node,
    stream::{CORE, GO, Stream, account, client_start, connect, next, server_start},
};

/// Who was refused, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) end: &'static str,
    pub(crate) code: Code,
    pub(crate) details: String,
}

impl Refused {
    pub(crate) fn reason(&self) -> &str {
        self.details.split_once(": ").map_or(&*self.details, |(reason, _)| reason)
    }
}

/// A handshake of which the server has answered the client's first message.
pub(crate) struct Begun {
    client: Stream,
    server: Stream,
    flight: Vec<u8>,
}

impl Begun {
    /// Begins one as this account, or as the first that each end has.
    pub(crate) async fn new(client: &Channel, server: &Channel, wish: Option<&str>) -> Result<Self, Refused> {
        Self::between(client, server, [wish, wish], "").await
    }

    /// Begins one as these accounts, by a client that has called this name.
    pub(crate) async fn between(
        client: &Channel,
        server: &Channel,
        [client_wish, server_wish]: [Option<&str>; 2],
        target_name: &str,
    ) -> Result<Self, Refused> {
        let (mut client, mut server) = (Stream::open(client).await, Stream::open(server).await);
        let start = StartClientHandshakeReq {
            local_identity: client_wish.map(account),
            target_name: target_name.to_owned(),
            ..client_start()
        };
        let init = client.try_ask(ReqOneof::ClientStart(start)).await.map_err(at("client"))?.out_frames;
        let mut start = server_start(&init);
        let parameters = start.handshake_parameters.values_mut();
        parameters.for_each(|one: &mut ServerHandshakeParameters| {
            one.local_identities = server_wish.map(account).into_iter().collect();
        });
        let flight = server.try_ask(ReqOneof::ServerStart(start)).await.map_err(at("server"))?.out_frames;
        Ok(Self { client, server, flight })
    }

    /// The results of client and server.
    pub(crate) async fn finish(mut self) -> Result<[HandshakerResult; 2], Refused> {
        let of_client = self.client.try_ask(next(&self.flight)).await.map_err(at("client"))?;
        let of_server = self.server.try_ask(next(&of_client.out_frames)).await.map_err(at("server"))?;
        let results = [of_client, of_server].map(|response| response.result.expect("there is a result"));
        assert!(results[0].key_data == results[1].key_data, "both ends have the same key");
        Ok(results)
    }
}

fn at(end: &'static str) -> impl Fn((Code, String)) -> Refused {
    move |(code, details)| Refused { end, code, details }
}

/// A whole handshake.
pub(crate) async fn handshake(
    client: &Channel,
    server: &Channel,
    wish: Option<&str>,
) -> Result<[HandshakerResult; 2], Refused> {
    Begun::new(client, server, wish).await?.finish().await
}

/// A whole handshake of which both ends ask this node, as gRPC core does.
pub(crate) async fn within(node: &Node, wish: Option<&str>) -> Result<[HandshakerResult; 2], Refused> {
    let channel = connect(&node.at("s.sock"), CORE).await;
    handshake(&channel, &channel, wish).await
}

/// A whole handshake of a node with itself, from one of its accounts to another, whom the client calls by this name.
pub(crate) async fn call(
    node: &Node,
    client: &str,
    server: &str,
    target_name: &str,
) -> Result<[HandshakerResult; 2], Refused> {
    let channel = connect(&node.at("s.sock"), CORE).await;
    let wishes = [Some(client), Some(server)];
    Begun::between(&channel, &channel, wishes, target_name).await?.finish().await
}

/// Handshakes without a pause, until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Outcome>>,
}

/// What has come of them.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) done: usize,
    pub(crate) failed: Vec<Refused>,
}

impl Load {
    /// One task for each account, with clients of two kinds in turn.
    pub(crate) async fn start(node: &Node, accounts: impl IntoIterator<Item = String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for (account, agent) in accounts.into_iter().zip([CORE, GO].into_iter().cycle()) {
            let (stop, channel) = (stop.clone(), connect(&node.at("s.sock"), agent).await);
            tasks.push(tokio::spawn(async move {
                let mut outcome = Outcome::default();
                while !stop.load(Ordering::Relaxed) {
                    match handshake(&channel, &channel, Some(&account)).await {
                        Ok(_) => outcome.done += 1,
                        Err(refused) => outcome.failed.push(refused),
                    }
                }
                outcome
            }));
        }
        Self { stop, tasks }
    }

    pub(crate) async fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        for task in mem::take(&mut self.tasks) {
            let outcome = task.await.expect("it ends well");
            all.done += outcome.done;
            all.failed.extend(outcome.failed);
        }
        all
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A test that has failed takes its daemon with it; only its own words are of interest.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

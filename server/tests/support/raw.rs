//! DoHandshake streams of callers that send bytes of their own making.

use alts_proto::gcp::HandshakerResp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};
use tonic_prost::ProstCodec;

const PATH: &str = "/grpc.gcp.HandshakerService/DoHandshake";

/// Sends bytes as they are, and reads responses as a program does.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = HandshakerResp;
    type Encoder = Self;
    type Decoder = <ProstCodec<HandshakerResp, HandshakerResp> as Codec>::Decoder;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<HandshakerResp, HandshakerResp>::default().decoder()
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use tonic::codegen::Bytes;
        bytes::BufMut::put(out, Bytes::from(bytes));
        Ok(())
    }
}

/// One stream, which stays open on this end.
pub(crate) struct RawStream {
    _requests: mpsc::Sender<Vec<u8>>,
    responses: Streaming<HandshakerResp>,
}

impl RawStream {
    /// Opens a stream and sends one message.
    pub(crate) async fn open(channel: &Channel, message: &[u8]) -> Self {
        let (requests, receiver) = mpsc::channel(1);
        requests.send(message.to_vec()).await.expect("there is room");
        let mut client = Grpc::new(channel.clone());
        client.ready().await.expect("altsd listens");
        let request = Request::new(ReceiverStream::new(receiver));
        let opened = client.streaming(request, PathAndQuery::from_static(PATH), Raw).await;
        Self { _requests: requests, responses: opened.expect("a stream opens").into_inner() }
    }

    pub(crate) async fn receive(&mut self) -> Result<Option<HandshakerResp>, Status> {
        self.responses.message().await
    }
}

//! The service without a schema, `altsd.interop.Echo`: messages are bytes, and each is answered with the account of the
//! caller, its connection, and the message, with line feeds between them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use alts_client::{AltsAuthInfo, AltsConnectInfo};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, StreamingService, UnaryService},
    transport::server::TcpConnectInfo,
};

pub(crate) const WHO_AM_I: &str = "/altsd.interop.Echo/WhoAmI";
pub(crate) const CHAT: &str = "/altsd.interop.Echo/Chat";
/// Not served here.
pub(crate) const GIVE: &str = "/altsd.interop.Echo/Give";

/// The server's side.
#[derive(Clone)]
pub(crate) struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "altsd.interop.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(RawCodec);
            Ok(match request.uri().path() {
                WHO_AM_I => grpc.unary(Answer, request).await,
                CHAT => grpc.streaming(Answer, request).await,
                other => Status::unimplemented(format!("{other} is not served here")).into_http(),
            })
        })
    }
}

struct Answer;

impl UnaryService<Bytes> for Answer {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        Box::pin(async move { Ok(Response::new(answer(&header(&request)?, request.get_ref()))) })
    }
}

impl StreamingService<Bytes> for Answer {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        Box::pin(async move {
            let header = header(&request)?;
            let answers = request.into_inner().map(move |payload| Ok(answer(&header, &payload?)));
            Ok(Response::new(Box::pin(answers) as Self::ResponseStream))
        })
    }
}

/// What stands in front of the message in every answer to this caller.
fn header<T>(request: &Request<T>) -> Result<String, Status> {
    let extensions = request.extensions();
    let account = AltsAuthInfo::of(extensions).map(AltsAuthInfo::peer_service_account);
    let address = extensions
        .get::<AltsConnectInfo>()
        .and_then(|connection| connection.inner::<TcpConnectInfo>()?.remote_addr());
    let (Some(account), Some(address)) = (account, address) else {
        return Err(Status::unauthenticated("the request did not come over ALTS and TCP"));
    };
    Ok(format!("{account}\n{address}\n"))
}

fn answer(header: &str, payload: &[u8]) -> Bytes {
    let mut answer = BytesMut::with_capacity(header.len() + payload.len());
    answer.put(header.as_bytes());
    answer.put(payload);
    answer.freeze()
}

/// Leaves messages as they are.
#[derive(Clone, Copy)]
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}

//! The token door as HTTP: paths, methods, bodies within bounds, and answers.

mod answer;
mod hosts;
mod metadata;

use std::{sync::Arc, time::Duration};

use alts_handshake::sha256;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{MethodRouter, any, get, post},
};
use bytes::Bytes;
use futures_util::StreamExt;
use hyper::{HeaderMap, header};
use tokio::time::timeout;

pub(crate) use self::hosts::Hosts;
use super::{
    case::Case,
    discovery,
    door::{Door, Who},
    error::TokenError,
    exchange::Issued,
    request::{self, ExchangeRequest, RequestProblem},
};
use crate::attest::Caller;

/// Largest body, in bytes.
const MAX_BODY: usize = 64 << 10;

/// How long a body may take to come.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// How one listener of the door differs from the others.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    /// The address that it has, for the audit trail.
    pub(crate) address: Arc<str>,
    /// Whether the kernel is asked who calls. Where not, only presented tokens prove anything.
    pub(crate) attests: bool,
    pub(crate) hosts: Hosts,
}

/// The door behind one listener.
pub(crate) struct Front {
    pub(crate) door: Arc<Door>,
    entrance: Entrance,
    discovery: Bytes,
    discovery_etag: String,
}

/// What is served on one listener.
pub(crate) fn router(door: Arc<Door>, entrance: Entrance) -> Router {
    let discovery = discovery::document(&door.settings);
    let discovery_etag = format!("\"{}\"", hex::encode(&sha256(&discovery)[..16]));
    let front = Arc::new(Front { door, entrance, discovery, discovery_etag });
    let (token, keys, document) = (posted(post(token)), got(get(keys)), got(get(document)));
    let router = Router::new()
        .route("/token", token.clone())
        .route("/v1/token", token)
        .route("/introspect", posted(post(introspect)))
        .route("/revoke", posted(post(revoke)))
        .route("/jwks", keys.clone())
        .route("/.well-known/jwks.json", keys)
        .route("/.well-known/openid-configuration", document.clone())
        .route("/.well-known/oauth-authorization-server", document);
    // It is for nobody but the callers themselves, and so it is not there where nobody tells who calls.
    let paths = if front.entrance.attests { &metadata::PATHS[..] } else { &[] };
    let router = paths.iter().fold(router, |router, path| router.route(path, any(metadata::answer)));
    router
        .fallback(async || answer::refusal(&TokenError::Path))
        .layer(from_fn_with_state(front.clone(), guard))
        .with_state(front)
}

fn posted(method: MethodRouter<Arc<Front>>) -> MethodRouter<Arc<Front>> {
    method.fallback(async || answer::refusal(&TokenError::Method { allowed: "POST" }))
}

fn got(method: MethodRouter<Arc<Front>>) -> MethodRouter<Arc<Front>> {
    method.fallback(async || answer::refusal(&TokenError::Method { allowed: "GET, HEAD" }))
}

/// Before and behind everything: who may be called so, and that no answer is kept.
async fn guard(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let mut response = match front.entrance.hosts.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            tracing::warn!(reason = error.row().reason, "request refused: {error}");
            answer::refusal(&error)
        }
    };
    answer::not_kept(&mut response);
    response
}

async fn token(State(front): State<Arc<Front>>, request: Request) -> Response {
    let mut case = front.case(&request);
    let exchanged = exchanged(&front, request, &mut case).await;
    front.door.tell(case, exchanged.as_ref().map(|(issued, _)| issued));
    match exchanged {
        Ok((issued, had_scopes)) => answer::issued(&issued, had_scopes),
        Err(error) => answer::refusal(&error),
    }
}

/// The token that a request asks for, and whether it has asked for scopes.
async fn exchanged(front: &Front, request: Request, case: &mut Case) -> Result<(Issued, bool), TokenError> {
    let caller = caller_of(&request);
    let (kind, body) = read(request).await?;
    let request = ExchangeRequest::parse(&kind, &body)?;
    case.presents(request.subject.kind);
    case.asks_for(&request.targets, request.scopes.as_deref().unwrap_or_default());
    let who = front.identify(caller).await?;
    case.comes_from(&who);
    let had_scopes = request.scopes.is_some();
    Ok((front.door.exchange(&who, request, case).await?, had_scopes))
}

async fn introspect(State(front): State<Arc<Front>>, request: Request) -> Response {
    let caller = caller_of(&request);
    let answer = async {
        let who = front.identify(caller).await?;
        // Who may not ask learns nothing of how to ask.
        front.door.may_introspect(&who)?;
        let (kind, body) = read(request).await?;
        front.door.introspect(&who, &request::token_of(&kind, &body)?)
    };
    match answer.await {
        Ok(answer) => answer::json(&answer),
        Err(error) => refused(&error),
    }
}

async fn revoke(State(front): State<Arc<Front>>, request: Request) -> Response {
    let (caller, case) = (caller_of(&request), front.case(&request));
    let answer = async {
        let (kind, body) = read(request).await?;
        let token = request::token_of(&kind, &body)?;
        front.door.revoke(&front.identify(caller).await?, &token, case).await
    };
    match answer.await {
        Ok(()) => answer::done(),
        Err(error) => refused(&error),
    }
}

async fn keys(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    let published = front.door.keys.published();
    answer::public(published.document.clone(), &published.etag, &headers)
}

async fn document(State(front): State<Arc<Front>>, headers: HeaderMap) -> Response {
    answer::public(front.discovery.clone(), &front.discovery_etag, &headers)
}

impl Front {
    /// A request, of which nothing is known yet.
    fn case(&self, request: &Request) -> Case {
        Case::new(self.entrance.address.clone(), caller_of(request))
    }

    /// Who calls, as far as this listener finds out.
    pub(crate) async fn identify(&self, caller: Option<Caller>) -> Result<Who, TokenError> {
        self.door.identify(caller.as_ref(), self.entrance.attests).await
    }
}

/// The other end of the connection that a request came on.
pub(crate) fn caller_of(request: &Request) -> Option<Caller> {
    request.extensions().get().cloned()
}

fn refused(error: &TokenError) -> Response {
    tracing::warn!(reason = error.row().reason, detail = error.detail(), "request refused: {error}");
    answer::refusal(error)
}

/// The type and the bytes of a body, of at most [`MAX_BODY`] and within [`BODY_PATIENCE`].
async fn read(request: Request) -> Result<(String, Vec<u8>), TokenError> {
    let (head, body) = request.into_parts();
    // A page may post a form to any host. It would not see the answer, but what it asks for would be done.
    if head.headers.contains_key(header::ORIGIN) {
        return Err(TokenError::Origin);
    }
    let kind = content_type(&head.headers)?;
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let is_too_large = |length: &str| length.parse::<u64>().is_ok_and(|length| length > MAX_BODY as u64);
    if announced.is_some_and(is_too_large) {
        return Err(TokenError::BodyTooLarge { most: MAX_BODY });
    }
    let body = timeout(BODY_PATIENCE, gathered(body)).await;
    let body = body.map_err(|_| TokenError::BodyTooSlow { seconds: BODY_PATIENCE.as_secs() })??;
    Ok((kind, body))
}

fn content_type(headers: &HeaderMap) -> Result<String, TokenError> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    match (kinds.next().map(|kind| kind.to_str()), kinds.next()) {
        (Some(Ok(kind)), None) => Ok(kind.to_owned()),
        _ => Err(RequestProblem::ContentType.into()),
    }
}

async fn gathered(body: Body) -> Result<Vec<u8>, TokenError> {
    let mut pieces = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| TokenError::BodyBroken)?;
        if whole.len() + piece.len() > MAX_BODY {
            return Err(TokenError::BodyTooLarge { most: MAX_BODY });
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;

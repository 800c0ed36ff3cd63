//! The metadata server over the door: who calls, and a token where the answer is one.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use hyper::{
    StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use super::{Front, caller_of};
use crate::attest::Caller;
use crate::token::{
    case::Case,
    door::{Door, Who},
    error::TokenError,
    exchange::Wish,
    metadata::{Account, Answer, Asked, FLAVOR, Kind, Next, Order, Question},
    request::{Requested, TokenKind},
};

/// Where the metadata server is.
pub(super) const PATHS: [&str; 4] =
    ["/", "/computeMetadata", "/computeMetadata/", "/computeMetadata/{*rest}"];

/// Answers any request to it.
pub(super) async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    let answer = answered(&front, request).await;
    if let Some(reason) = answer.reason {
        tracing::warn!(reason, status = answer.status, "request to the metadata server refused");
    }
    response(answer)
}

async fn answered(front: &Front, request: Request) -> Answer {
    let question = match Question::read(&asked(&request)) {
        Ok(question) => question,
        Err(answer) => return answer,
    };
    let mut case = front.case(&request);
    case.presents(TokenKind::LocalPeer);
    let wants_token = question.wants_token();
    let who = match front.workload(caller_of(&request)).await {
        Ok(who) => who,
        Err(error) => {
            if wants_token {
                front.door.tell(case, Err(&error));
            }
            return refused(&error);
        }
    };
    case.comes_from(&who);
    match question.of(&front.door.accounts(&who)) {
        Next::Answer(answer) => {
            if let Some(reason) = answer.reason.filter(|_| wants_token) {
                let text = answer.body.trim_end().to_owned();
                front.door.tell(case, Err(&TokenError::Caller { reason, text }));
            }
            answer
        }
        Next::Issue(order) => front.door.fill(&who, &order, case).await,
    }
}

impl Front {
    /// The caller, if it is a workload.
    async fn workload(&self, caller: Option<Caller>) -> Result<Who, TokenError> {
        let who = self.identify(caller).await?;
        if who.account().is_some() {
            return Ok(who);
        }
        let (reason, text) = who.why_not();
        Err(TokenError::Caller { reason, text })
    }
}

/// A request as the metadata server sees it. `HeaderMap` compares names in lower case.
fn asked(request: &Request) -> Asked<'_> {
    let (name, value) = FLAVOR;
    let mut flavors = request.headers().get_all(name).iter();
    let has_flavor = flavors.next().is_some_and(|flavor| flavor.as_bytes() == value.as_bytes())
        && flavors.next().is_none();
    Asked {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        has_flavor,
        is_forwarded: request.headers().contains_key("x-forwarded-for"),
    }
}

impl Door {
    /// The accounts of a caller, and what tokens may allow each.
    fn accounts(&self, who: &Who) -> Vec<Account> {
        let account = |identity| {
            let subject = self.local(identity);
            let rule = self.rules.first_for(&subject, Some(identity.account()));
            let scopes = rule.map(|rule| rule.scopes.clone()).unwrap_or_default();
            Account { name: identity.account().to_owned(), scopes }
        };
        who.identities().iter().map(account).collect()
    }

    async fn fill(&self, who: &Who, order: &Order, mut case: Case) -> Answer {
        let wish = match &order.kind {
            Kind::Identity { audience, with_email } => Wish {
                requested: Requested::Jwt,
                targets: vec![audience.clone()],
                scopes: Vec::new(),
                with_email: *with_email,
            },
            Kind::Access { scopes } => Wish {
                requested: Requested::AccessToken,
                targets: Vec::new(),
                scopes: scopes.clone(),
                with_email: false,
            },
        };
        let issued = self.issue_for_caller(who, Some(&order.account), wish, &mut case).await;
        self.tell(case, issued.as_ref());
        match issued {
            Ok(issued) => order.filled(&issued.token, issued.lifetime),
            Err(error) => refused(&error),
        }
    }
}

/// What the door refuses, as a server without OAuth says it.
fn refused(error: &TokenError) -> Answer {
    let row = error.row();
    let status = match error {
        // Nobody can log in here, and what the rules deny is not asked for in the wrong way.
        TokenError::Caller { .. } | TokenError::Denied(_) | TokenError::Proof { .. } => 403,
        _ => row.status,
    };
    let answer = Answer::refused(status, row.reason, &error.description());
    Answer { retry_after: error.retry_after(), ..answer }
}

fn response(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let (name, value) = FLAVOR;
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.media.as_str()));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if answer.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
    }
    if let Some(seconds) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

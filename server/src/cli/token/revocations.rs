//! Tokens and subjects that count no more, over the admin socket: for operators, who hold none of them.

pub(super) mod view;

use alts_proto::{
    Timestamp,
    altsd::{
        CreateTokenRevocationRequest, DeleteTokenRevocationRequest, ListTokenRevocationsRequest,
        TokenRevocation, token_revocation::Revoked, token_revocations_client::TokenRevocationsClient,
    },
};
use serde::Serialize;
use tonic::transport::Channel;

use self::view::View;
use super::{Error, RevokeArgs, ask, check};
use crate::cli::{
    client::{self, Asking, Daemon},
    output,
    policy::Deleted,
};

/// Does what the arguments say.
pub(super) async fn revoke(args: &RevokeArgs, now: u64) -> Result<(), Error> {
    let RevokeArgs { file, id, subject, list: lists, lift: lifts, terms, admin, asking } = args;
    let over_admin =
        Asking { admin: admin.clone(), timeout_seconds: asking.timeout_seconds, output: asking.output };
    let revoked = match (id, subject) {
        (Some(id), _) => Revoked::TokenId(id.clone()),
        (_, Some(subject)) => Revoked::Subject(subject.clone()),
        _ if *lists => return list(&over_admin).await,
        _ => {
            return match lifts {
                Some(name) => lift(name, &over_admin).await,
                None => ask::revoke(asking, file.as_deref()).await,
            };
        }
    };
    let issuer = match &terms.issuer {
        Some(issuer) => issuer.clone(),
        None => check::issuer_of(&asking.door, asking.timeout())
            .await
            .ok_or_else(|| Error::NoIssuer { door: asking.door.to_string() })?,
    };
    let end = terms.until.or(terms.span.map(|span| now.saturating_add(span)));
    let expire_time = end.map(|end| Timestamp { seconds: i64::try_from(end).unwrap_or(i64::MAX), nanos: 0 });
    let token_revocation = TokenRevocation {
        issuer,
        revoked: Some(revoked),
        reason: terms.reason.clone().unwrap_or_default(),
        expire_time,
        ..TokenRevocation::default()
    };
    let (daemon, mut client) = open(&over_admin).await?;
    let request = CreateTokenRevocationRequest {
        token_revocation: Some(token_revocation),
        allow_existing: terms.replace,
    };
    let view = View::from(daemon.ask(client.create_token_revocation(request)).await?);
    Ok(output::print(asking.output, || view::details(&view), &view)?)
}

async fn list(asking: &Asking) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Listed {
        token_revocations: Vec<View>,
    }
    let (daemon, mut client) = open(asking).await?;
    let (mut token_revocations, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListTokenRevocationsRequest { page_size: client::PAGE, page_token };
        let page = daemon.ask(client.list_token_revocations(request)).await?;
        token_revocations.extend(page.token_revocations.into_iter().map(View::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let listed = Listed { token_revocations };
    Ok(output::print(asking.output, || view::list(&listed.token_revocations), &listed)?)
}

async fn lift(name: &str, asking: &Asking) -> Result<(), Error> {
    let (daemon, mut client) = open(asking).await?;
    let name = format!("{}{}", view::COLLECTION, name.strip_prefix(view::COLLECTION).unwrap_or(name));
    let request = DeleteTokenRevocationRequest { name: name.clone(), revision: 0, allow_missing: false };
    let deleted = daemon.ask(client.delete_token_revocation(request)).await?;
    let deleted = Deleted { name, revision: deleted.revision, applied: deleted.applied };
    Ok(output::print(asking.output, || deleted.text(), &deleted)?)
}

async fn open(asking: &Asking) -> Result<(Daemon<'_>, TokenRevocationsClient<Channel>), Error> {
    let daemon = Daemon::of(asking).await?;
    let client = TokenRevocationsClient::new(daemon.channel.clone());
    Ok((daemon, client))
}

#[cfg(test)]
mod tests;

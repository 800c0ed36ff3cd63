//! The service `altsd.v1.Revocations`.

use std::{sync::Arc, time::Duration};

use alts_proto::altsd::{
    CreateRevocationRequest, DeleteResponse, DeleteRevocationRequest, GetRevocationRequest,
    ListRevocationsRequest, ListRevocationsResponse, Revocation as Message,
    revocations_server::{Revocations as RevocationsService, RevocationsServer},
};
use alts_store::{Entry, Error as StoreError, Expected, MAX_LIFETIME, Revision};
use tonic::{Code, Request, Response, Status};

use self::resource::Shown;
use super::{
    access::Operator,
    page,
    refusal::{by_store, conflict, invalid, missing, refuse},
    shelf::{PATIENCE, Shelf, number, revision},
};
use crate::{
    clock::Clock,
    policy::{REVOCATIONS, Revocation, RevocationRecord, Revoked},
    verifier::kinds::REVOCATION,
};

mod resource;

/// Largest request, in bytes: an issuer, a reason and what stands around them.
const MAX_MESSAGE: usize = 16 << 10;

/// A record is swept up so long after its end, in seconds: clocks of nodes differ.
const SLACK: u64 = 86_400;

pub(super) struct Service {
    pub(super) shelf: Shelf,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn into_server(self) -> RevocationsServer<Self> {
        RevocationsServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    /// What is seen of all revocations now.
    fn view(&self) -> View {
        View { now: self.clock.now().as_secs(), decided: self.shelf.decisions().current().revision }
    }

    async fn find(&self, revoked: &Revoked) -> Result<Option<Entry>, Status> {
        self.shelf.store()?.get(&key(revoked)).await.map_err(|error| by_store(&error))
    }
}

/// The moment that resources are shown of.
#[derive(Clone, Copy)]
struct View {
    now: u64,
    decided: Revision,
}

impl View {
    fn show(self, revoked: &Revoked, entry: &Entry) -> Message {
        resource::message(&Shown {
            revoked,
            revocation: resource::read(revoked, entry).as_ref(),
            revision: number(entry.revision),
            is_decided_by: entry.revision <= self.decided,
            now: self.now,
        })
    }
}

#[tonic::async_trait]
impl RevocationsService for Service {
    async fn list_revocations(
        &self,
        request: Request<ListRevocationsRequest>,
    ) -> Result<Response<ListRevocationsResponse>, Status> {
        let ListRevocationsRequest { page_size, page_token } = request.get_ref();
        let size = page::size(*page_size)?;
        if !page_token.is_empty() {
            revoked(page_token).map_err(|_| page::token_invalid())?;
        }
        let view = self.view();
        let listing = self.shelf.store()?.list(REVOCATIONS).await.map_err(|error| by_store(&error))?;
        let rows = listing.entries.into_iter().filter(|entry| entry.key > *page_token).filter_map(|entry| {
            // What is under a key that names nothing is counted as a problem of the policy.
            let revoked = Revoked::parse(entry.key.strip_prefix(REVOCATIONS)?).ok()?;
            Some((revoked, entry))
        });
        let (revocations, next_page_token) = page::fill(
            rows,
            size,
            |(revoked, entry)| view.show(revoked, entry),
            |(_, entry)| entry.key.clone(),
        );
        Ok(Response::new(ListRevocationsResponse { revocations, next_page_token }))
    }

    async fn get_revocation(
        &self,
        request: Request<GetRevocationRequest>,
    ) -> Result<Response<Message>, Status> {
        let revoked = revoked(&request.get_ref().name)?;
        let entry = self.find(&revoked).await?.ok_or_else(|| unknown(&revoked))?;
        Ok(Response::new(self.view().show(&revoked, &entry)))
    }

    async fn create_revocation(
        &self,
        request: Request<CreateRevocationRequest>,
    ) -> Result<Response<Message>, Status> {
        let by = Operator::of(request.extensions());
        let CreateRevocationRequest { revocation, allow_existing } = request.into_inner();
        let message = revocation.ok_or_else(|| missing("revocation"))?;
        let now = self.clock.now().as_secs();
        let record = resource::requested(message, now)?;
        let mut revocation = Revocation::try_from(record).map_err(|refused| invalid(&refused))?;
        let store = self.shelf.store()?;
        let expected = match self.find(revocation.revoked()).await? {
            None => Expected::Absent,
            Some(entry) => {
                let old = resource::read(revocation.revoked(), &entry);
                // One whose time is over, and that has not been swept up yet, is in nobody's way.
                if !old.as_ref().is_some_and(|old| is_over(old, now)) {
                    if !allow_existing {
                        return Err(exists(revocation.revoked()));
                    }
                    revocation = match old {
                        Some(old) => revocation.since(old.create_time()),
                        None => revocation,
                    };
                }
                Expected::At(entry.revision)
            }
        };
        let revoked = revocation.revoked();
        let put = REVOCATION.put(&revoked.to_id(), &RevocationRecord::from(&revocation), expected);
        let mut write = put.map_err(|error| by_store(&error))?;
        write.lifetime = revocation.expire_time().map(|end| lifetime(end, now));
        let revision = store.transact(vec![write]).await.map_err(|error| match error {
            StoreError::Conflict { .. } if !allow_existing => exists(revoked),
            error => by_store(&error),
        })?;
        by.did("revoked", &key(revoked), revision);
        let is_decided_by = self.shelf.decisions().applied(revision, PATIENCE).await;
        Ok(Response::new(resource::message(&Shown {
            revoked,
            revocation: Some(&revocation),
            revision: number(revision),
            is_decided_by,
            now,
        })))
    }

    async fn delete_revocation(
        &self,
        request: Request<DeleteRevocationRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let by = Operator::of(request.extensions());
        let DeleteRevocationRequest { name, revision: seen, allow_missing } = request.into_inner();
        let (revoked, seen) = (revoked(&name)?, revision(seen)?);
        let found = self.find(&revoked).await?.map(|entry| entry.revision);
        let decisions = self.shelf.decisions();
        if let Some(seen) = seen
            && found != Some(seen)
        {
            let now = found.map_or("it is there no more".to_owned(), |at| format!("it has revision {at}"));
            return Err(conflict(&format!("{name} has changed: {now}")));
        }
        if found.is_none() {
            if allow_missing {
                let revision = number(decisions.current().revision);
                return Ok(Response::new(DeleteResponse { revision, applied: true }));
            }
            return Err(unknown(&revoked));
        }
        let expected = seen.map_or(Expected::Anything, Expected::At);
        let deleted = self.shelf.store()?.delete(&key(&revoked), expected).await;
        let revision = deleted.map_err(|error| by_store(&error))?;
        by.did("taken back", &key(&revoked), revision);
        let applied = decisions.applied(revision, PATIENCE).await;
        Ok(Response::new(DeleteResponse { revision: number(revision), applied }))
    }
}

/// Where a revocation is kept, which is its resource name too.
fn key(revoked: &Revoked) -> String {
    format!("{REVOCATIONS}{}", revoked.to_id())
}

fn revoked(name: &str) -> Result<Revoked, Status> {
    let form = "a name is revocations/accounts/ACCOUNT, revocations/certificates/SHA-256 OF THE ISSUER/SERIAL \
                NUMBER or revocations/keys/SHA-256";
    let problem = match name.strip_prefix(REVOCATIONS).map(Revoked::parse) {
        Some(Ok(revoked)) => return Ok(revoked),
        Some(Err(problem)) => format!("no revocation has this name: {problem}; {form}"),
        None => form.to_owned(),
    };
    Err(refuse(Code::InvalidArgument, "name_invalid", &problem))
}

fn unknown(revoked: &Revoked) -> Status {
    let text = format!("there is no revocation {}; `altsd revoke list` shows what there is", key(revoked));
    refuse(Code::NotFound, "revocation_unknown", &text)
}

fn exists(revoked: &Revoked) -> Status {
    let text = format!(
        "{} is there already; to change its reason and end, say that it may be replaced (--replace)",
        key(revoked)
    );
    refuse(Code::AlreadyExists, "revocation_exists", &text)
}

fn is_over(revocation: &Revocation, now: u64) -> bool {
    revocation.expire_time().is_some_and(|end| end <= now)
}

/// How long a record is kept that ends at `end`.
fn lifetime(end: u64, now: u64) -> Duration {
    Duration::from_secs(end.saturating_sub(now).saturating_add(SLACK).clamp(1, MAX_LIFETIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_outlives_its_end_by_a_day_and_no_more_than_a_store_keeps() {
        for (end, now, seconds) in
            [(100, 40, 86_460), (40, 40, 86_400), (30, 40, 86_400), (u64::MAX, 40, MAX_LIFETIME)]
        {
            assert_eq!(lifetime(end, now).as_secs(), seconds);
        }
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_forms_of_names() {
        for name in
            ["", "accounts/a@b.example", "revocations/", "revocations/accounts/x", "revocations/keys/00"]
        {
            let status = revoked(name).expect_err(name);
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains("revocations/keys/SHA-256"), "{status}");
        }
    }
}

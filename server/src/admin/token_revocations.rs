//! The service `altsd.v1.TokenRevocations`.

use std::sync::Arc;

use alts_proto::altsd::{
    CreateTokenRevocationRequest, DeleteResponse, DeleteTokenRevocationRequest, ListTokenRevocationsRequest,
    ListTokenRevocationsResponse, TokenRevocation as Message,
    token_revocations_server::{TokenRevocations as TokenRevocationsService, TokenRevocationsServer},
};
use alts_store::{Entry, Error as StoreError, Expected, Store};
use tonic::{Code, Request, Response, Status};

use self::resource::Shown;
use super::{
    access::Operator,
    page,
    refusal::{by_store, conflict, missing, refuse, store_missing},
    shelf::{PATIENCE, number, revision},
};
use crate::{
    clock::Clock,
    token::ledger::{
        Ledger,
        kinds::{REVOCATION, REVOCATIONS, Record, Revoked},
        lifetime,
    },
};

mod resource;

/// Largest request, in bytes: an issuer, a subject, a reason and what stands around them.
const MAX_MESSAGE: usize = 16 << 10;

pub(super) struct Service {
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn into_server(self) -> TokenRevocationsServer<Self> {
        TokenRevocationsServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }

    fn store(&self) -> Result<&dyn Store, Status> {
        self.store.as_deref().ok_or_else(store_missing)
    }

    async fn find(&self, revoked: &Revoked) -> Result<Option<Entry>, Status> {
        self.store()?.get(&revoked.key()).await.map_err(|error| by_store(&error))
    }

    /// The write that a request asks for, by what is there now.
    async fn asked(&self, record: Record, allow_existing: bool) -> Result<(Record, Expected), Status> {
        let revoked = record.revoked();
        let Some(entry) = self.find(&revoked).await? else { return Ok((record, Expected::Absent)) };
        let old = Record::read(&revoked, &entry).ok();
        // One whose time is over, and that has not been swept up yet, is in nobody's way.
        if old.as_ref().and_then(Record::until).is_some_and(|until| until <= record.create_time) {
            return Ok((record, Expected::At(entry.revision)));
        }
        if !allow_existing {
            return Err(exists(&revoked));
        }
        let create_time = old.map_or(record.create_time, |old| old.create_time.min(record.create_time));
        Ok((Record { create_time, ..record }, Expected::At(entry.revision)))
    }
}

#[tonic::async_trait]
impl TokenRevocationsService for Service {
    async fn list_token_revocations(
        &self,
        request: Request<ListTokenRevocationsRequest>,
    ) -> Result<Response<ListTokenRevocationsResponse>, Status> {
        let ListTokenRevocationsRequest { page_size, page_token } = request.get_ref();
        let size = page::size(*page_size)?;
        if !page_token.is_empty() {
            Revoked::of_key(page_token).ok_or_else(page::token_invalid)?;
        }
        let (now, applied) = (self.clock.now().as_secs(), self.ledger.revision());
        let listing = self.store()?.list(REVOCATIONS).await.map_err(|error| by_store(&error))?;
        let rows = listing.entries.into_iter().filter(|entry| entry.key > *page_token);
        // What is under a key that names nothing is counted as a problem, and revokes nothing.
        let rows = rows.filter_map(|entry| Some((Revoked::of_key(&entry.key)?, entry)));
        let show = |(revoked, entry): &(Revoked, Entry)| {
            resource::message(&Shown {
                revoked,
                record: Record::read(revoked, entry).ok().as_ref(),
                revision: number(entry.revision),
                is_applied: entry.revision <= applied,
                now,
            })
        };
        let (token_revocations, next_page_token) =
            page::fill(rows, size, show, |(_, entry)| entry.key.clone());
        Ok(Response::new(ListTokenRevocationsResponse { token_revocations, next_page_token }))
    }

    async fn create_token_revocation(
        &self,
        request: Request<CreateTokenRevocationRequest>,
    ) -> Result<Response<Message>, Status> {
        let by = Operator::of(request.extensions());
        let CreateTokenRevocationRequest { token_revocation, allow_existing } = request.into_inner();
        let message = token_revocation.ok_or_else(|| missing("token_revocation"))?;
        let now = self.clock.now().as_secs();
        let record = Record { by: by.uid(), ..resource::requested(message, now)? };
        let record = record
            .reasoned()
            .map_err(|problem| refuse(Code::InvalidArgument, problem.code(), &problem.to_string()))?;
        let (record, expected) = self.asked(record, allow_existing).await?;
        let revoked = record.revoked();
        let put = REVOCATION.put(&revoked.name(), &record, expected);
        let mut write = put.map_err(|error| by_store(&error))?;
        write.lifetime = record.until().map(|until| lifetime(until, now));
        let revision = self.store()?.transact(vec![write]).await.map_err(|error| match error {
            StoreError::Conflict { .. } if !allow_existing => exists(&revoked),
            error => by_store(&error),
        })?;
        by.did("revoked", &revoked.key(), revision);
        let is_applied = self.ledger.applied(revision, PATIENCE).await;
        Ok(Response::new(resource::message(&Shown {
            revoked: &revoked,
            record: Some(&record),
            revision: number(revision),
            is_applied,
            now,
        })))
    }

    async fn delete_token_revocation(
        &self,
        request: Request<DeleteTokenRevocationRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        let by = Operator::of(request.extensions());
        let DeleteTokenRevocationRequest { name, revision: seen, allow_missing } = request.into_inner();
        let (revoked, seen) = (revoked(&name)?, revision(seen)?);
        let found = self.find(&revoked).await?.map(|entry| entry.revision);
        if let Some(seen) = seen
            && found != Some(seen)
        {
            let now = found.map_or("it is there no more".to_owned(), |at| format!("it has revision {at}"));
            return Err(conflict(&format!("{name} has changed: {now}")));
        }
        if found.is_none() {
            if allow_missing {
                let revision = number(self.ledger.revision());
                return Ok(Response::new(DeleteResponse { revision, applied: true }));
            }
            return Err(unknown(&revoked));
        }
        let expected = seen.map_or(Expected::Anything, Expected::At);
        let deleted = self.store()?.delete(&revoked.key(), expected).await;
        let revision = deleted.map_err(|error| by_store(&error))?;
        by.did("taken back", &revoked.key(), revision);
        let applied = self.ledger.applied(revision, PATIENCE).await;
        Ok(Response::new(DeleteResponse { revision: number(revision), applied }))
    }
}

fn revoked(name: &str) -> Result<Revoked, Status> {
    Revoked::of_key(name).ok_or_else(|| {
        let text = "a name is token-revocations/tokens/HASH or token-revocations/subjects/HASH, with a SHA-256 in 64 \
                    lower-case hexadecimal digits";
        refuse(Code::InvalidArgument, "name_invalid", text)
    })
}

fn unknown(revoked: &Revoked) -> Status {
    let text =
        format!("there is no revocation {}; `altsd token revoke --list` shows what there is", revoked.key());
    refuse(Code::NotFound, "revocation_unknown", &text)
}

fn exists(revoked: &Revoked) -> Status {
    let text = format!(
        "{} is there already; to change its reason and end, say that it may be replaced (--replace)",
        revoked.key()
    );
    refuse(Code::AlreadyExists, "revocation_exists", &text)
}

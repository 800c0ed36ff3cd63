//! One identity as the keeper sees it: what is held, what has failed, who waits.

use std::{mem, sync::Arc};

use alts_handshake::{CertificateInfo, Credentials, Identity};
use pki_types::UnixTime;
use tokio::sync::oneshot;

use super::{DemandError, Failure, Issued, RotateError, Status};
use crate::identity::{
    Source, SourceError,
    rotation::{Decision, Failing, Held, Wanted, decide, decide_for_files},
    watch::Note,
};

/// Handshakes that wait for one identity.
pub(super) const MAX_WAITING: usize = 4_096;

/// One identity.
pub(super) struct Entry {
    pub(super) identity: Identity,
    pub(super) source: Arc<dyn Source>,
    /// Whether it is kept fresh. Once it is, it stays so.
    pub(super) is_warm: bool,
    pub(super) is_in_work: bool,
    pub(super) wanted: Wanted,
    pub(super) held: Option<Held>,
    pub(super) certificate: Option<CertificateInfo>,
    pub(super) failing: Option<Failing>,
    pub(super) problem: Option<(&'static str, String)>,
    /// Counts the changes of its files: the same problem with other files is another bad state.
    pub(super) generation: u64,
    pub(super) noted: Option<(u64, &'static str)>,
    pub(super) waiting: Vec<Waiting>,
}

pub(super) enum Waiting {
    Rotate(oneshot::Sender<Result<Status, RotateError>>),
    Demand(oneshot::Sender<Result<(), DemandError>>),
}

impl Entry {
    pub(super) fn new(issued: Issued) -> Self {
        Self {
            identity: issued.identity,
            source: issued.source,
            is_warm: issued.at_start,
            is_in_work: false,
            wanted: Wanted::No,
            held: None,
            certificate: None,
            failing: None,
            problem: None,
            generation: 0,
            noted: None,
            waiting: Vec::new(),
        }
    }

    pub(super) fn decide(&self, now: UnixTime) -> Decision {
        if self.source.origin().is_renewed_by_us() {
            decide(now, self.held.as_ref(), self.failing.as_ref(), self.wanted)
        } else {
            decide_for_files(now, self.failing.as_ref(), self.wanted)
        }
    }

    pub(super) fn hold(&mut self, credentials: &Credentials, draw: u64) {
        self.held = Some(Held::new(credentials.validity(), draw));
        self.certificate = Some(credentials.certificate());
    }

    fn what(&self) -> String {
        format!("certificate of {}", self.identity)
    }

    pub(super) fn succeed(&mut self, credentials: &Credentials, draw: u64) -> Note {
        self.hold(credentials, draw);
        self.wanted = Wanted::No;
        (self.failing, self.problem) = (None, None);
        match self.noted.take() {
            Some(_) => Note::Good { what: self.what() },
            None => Note::Replaced { what: self.what() },
        }
    }

    /// The note of a new bad state. Of one that goes on there is none.
    pub(super) fn fail(&mut self, error: &SourceError, now: UnixTime, draw: u64) -> Option<Note> {
        self.failing = Some(if self.source.origin().is_renewed_by_us() {
            Failing::again(self.failing, self.held.as_ref(), now, draw)
        } else {
            // Either they change or time makes them good.
            self.wanted = Wanted::No;
            Failing::steadily(self.failing, now)
        });
        let (code, problem) = (error.code(), error.to_string());
        self.problem = Some((code, problem.clone()));
        let state = Some((self.generation, code));
        let is_new = mem::replace(&mut self.noted, state) != state;
        is_new.then(|| Note::Bad { what: self.what(), code, problem })
    }

    /// The answer to a demand, or nothing if it must wait.
    pub(super) fn demand(&mut self, now: UnixTime) -> Option<Result<(), DemandError>> {
        // Somebody else's demand may have been met since this one was sent.
        if self.held.is_some_and(|held| held.is_valid(now)) {
            return Some(Ok(()));
        }
        self.is_warm = true;
        if self.waiting.len() >= MAX_WAITING {
            return Some(Err(DemandError::Busy));
        }
        let is_coming = self.is_in_work || matches!(self.decide(now), Decision::Renew { .. });
        (!is_coming).then(|| Err(self.not_served()))
    }

    fn not_served(&self) -> DemandError {
        let expired = "it is not valid now, and no newer one has come";
        let problem = self.problem.as_ref().map_or(expired, |(_, problem)| problem);
        DemandError::Failed { account: self.identity.account().to_owned(), problem: problem.to_owned() }
    }

    /// Answers all who wait, by how it is now.
    pub(super) fn answer(&mut self) {
        match self.problem.as_ref().map(|(_, problem)| problem.clone()) {
            Some(problem) => self.answer_failed(&problem),
            None => {
                for waiting in mem::take(&mut self.waiting) {
                    // Who has gone away needs no answer.
                    match waiting {
                        Waiting::Rotate(answer) => drop(answer.send(Ok(self.status()))),
                        Waiting::Demand(answer) => drop(answer.send(Ok(()))),
                    }
                }
            }
        }
    }

    pub(super) fn answer_failed(&mut self, problem: &str) {
        let (account, problem) = (self.identity.account().to_owned(), problem.to_owned());
        for waiting in mem::take(&mut self.waiting) {
            let (account, problem) = (account.clone(), problem.clone());
            match waiting {
                Waiting::Rotate(answer) => drop(answer.send(Err(RotateError::Failed { account, problem }))),
                Waiting::Demand(answer) => drop(answer.send(Err(DemandError::Failed { account, problem }))),
            }
        }
    }

    pub(super) fn status(&self) -> Status {
        let failure =
            self.failing.as_ref().zip(self.problem.as_ref()).map(|(failing, (code, problem))| Failure {
                code,
                problem: problem.clone(),
                since: failing.since,
                attempts: failing.attempts,
                retry_at: failing.retry_at(),
            });
        let origin = self.source.origin();
        Status {
            identity: self.identity.clone(),
            origin,
            certificate: self.certificate.clone(),
            not_after: self.held.map(|held| held.not_after),
            renew_at: self.held.map(|held| held.renew_at).filter(|_| origin.is_renewed_by_us()),
            failure,
        }
    }
}

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
    pub(super) noted: Option<BadState>,
    pub(super) waiting: Vec<Waiting>,
}

/// What makes one bad state another: the files, the problem, and whether the old certificate still serves.
#[derive(PartialEq, Eq)]
pub(super) struct BadState {
    generation: u64,
    code: &'static str,
    old_serves: bool,
}

pub(super) enum Waiting {
    Rotate(oneshot::Sender<Result<Status, RotateError>>),
    Demand(oneshot::Sender<Result<(), DemandError>>),
}

impl Waiting {
    fn is_awaited(&self) -> bool {
        match self {
            Self::Rotate(answer) => !answer.is_closed(),
            Self::Demand(answer) => !answer.is_closed(),
        }
    }
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
            decide_for_files(now, self.held.as_ref(), self.failing.as_ref(), self.wanted)
        }
    }

    pub(super) fn hold(&mut self, credentials: &Credentials, draw: u64) {
        self.held = Some(Held::new(credentials.validity(), draw));
        self.certificate = Some(credentials.certificate());
    }

    fn what(&self) -> String {
        format!("certificate of {}", self.identity)
    }

    fn is_valid(&self, now: UnixTime) -> bool {
        self.held.is_some_and(|held| held.is_valid(now))
    }

    /// A job has ended. What was wanted since it began is not done by it: its files may have changed behind it.
    fn is_done(&mut self) {
        if self.wanted == Wanted::InTurn {
            self.wanted = Wanted::No;
        }
    }

    pub(super) fn succeed(&mut self, credentials: &Credentials, draw: u64) -> Note {
        self.hold(credentials, draw);
        self.is_done();
        (self.failing, self.problem) = (None, None);
        match self.noted.take() {
            Some(_) => Note::Good { what: self.what() },
            None => Note::Replaced { what: self.what() },
        }
    }

    /// The files have changed while they were read. The watch sees it, and then another job is started.
    pub(super) fn put_off(&mut self, now: UnixTime) {
        self.is_done();
        // Otherwise it would be due at once.
        if self.failing.is_some() || !self.is_valid(now) {
            self.failing = Some(Failing::steadily(self.failing, now));
        }
        self.answer_failed("files_changing", "the files are being changed; try again");
    }

    /// The note of a new bad state. Of one that goes on there is none.
    pub(super) fn fail(&mut self, error: &SourceError, now: UnixTime, draw: u64) -> Option<Note> {
        self.failing = Some(if self.source.origin().is_renewed_by_us() {
            Failing::again(self.failing, self.held.as_ref(), now, draw)
        } else {
            // Either they change or time makes them good.
            self.is_done();
            Failing::steadily(self.failing, now)
        });
        let (code, problem) = (error.code(), error.to_string());
        self.problem = Some((code, problem.clone()));
        let old_serves = self.is_valid(now);
        let state = Some(BadState { generation: self.generation, code, old_serves });
        let is_new = self.noted != state;
        self.noted = state;
        is_new.then(|| Note::Bad { what: self.what(), code, problem, old_serves })
    }

    /// Whether one more may wait.
    pub(super) fn has_room(&mut self) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            // Those who have given up leave room for others.
            self.waiting.retain(Waiting::is_awaited);
        }
        self.waiting.len() < MAX_WAITING
    }

    /// The answer to a demand, or nothing if it must wait.
    pub(super) fn demand(&mut self, now: UnixTime) -> Option<Result<(), DemandError>> {
        // Somebody else's demand may have been met since this one was sent.
        if self.is_valid(now) {
            return Some(Ok(()));
        }
        self.is_warm = true;
        if !self.has_room() {
            return Some(Err(DemandError::Busy));
        }
        let is_coming = self.is_in_work || matches!(self.decide(now), Decision::Renew { .. });
        (!is_coming).then(|| Err(self.not_served()))
    }

    fn not_served(&self) -> DemandError {
        let code = self.problem.as_ref().map_or("own_certificate_not_valid", |(code, _)| code);
        DemandError::Failed { account: self.identity.account().to_owned(), code }
    }

    /// Answers all who wait, by how it is now.
    pub(super) fn answer(&mut self) {
        if let Some((code, problem)) = self.problem.clone() {
            return self.answer_failed(code, &problem);
        }
        for waiting in mem::take(&mut self.waiting) {
            // Who has gone away needs no answer.
            match waiting {
                Waiting::Rotate(answer) => drop(answer.send(Ok(self.status()))),
                Waiting::Demand(answer) => drop(answer.send(Ok(()))),
            }
        }
    }

    fn answer_failed(&mut self, code: &'static str, problem: &str) {
        for waiting in mem::take(&mut self.waiting) {
            let account = self.identity.account().to_owned();
            match waiting {
                Waiting::Rotate(answer) => {
                    drop(answer.send(Err(RotateError::Failed { account, problem: problem.to_owned() })));
                }
                Waiting::Demand(answer) => drop(answer.send(Err(DemandError::Failed { account, code }))),
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

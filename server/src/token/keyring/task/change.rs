//! What operators want done with keys.

use tokio::task::spawn_blocking;

use super::{Command, Problem, Reason, State, Task};
use crate::token::keyring::{
    ChangeError, Changed, KeyStatus,
    files::import,
    own::Moment,
    status::{of_other, of_own},
};

/// How often the record of another node's key is written anew, if that node writes it at the same time.
const TRIES: usize = 4;

impl Task {
    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Rotate { emergency, answer } => drop(answer.send(self.rotate(emergency).await)),
            Command::Retire { kid, answer } => drop(answer.send(self.retire(&kid).await)),
            Command::Turn { answer } => {
                self.turn().await;
                let _ = answer.send(());
            }
        }
    }

    async fn rotate(&mut self, emergency: bool) -> Result<Changed, ChangeError> {
        self.read_offered(emergency).await?;
        self.absorb();
        let waiting = self.own.iter_mut().find(|held| held.facts.state() == State::Next && held.facts.fits);
        let kid = match waiting {
            Some(next) if !emergency => {
                next.facts.soon = true;
                next.is_dirty = true;
                next.kid().to_owned()
            }
            _ => self.make(emergency, true, Reason::Asked).await.map_err(not_made)?,
        };
        let mut withdrawn = Vec::new();
        if emergency {
            let (now, instant) = (self.now(), self.shared.clock.monotonic());
            for held in self.own.iter_mut().filter(|held| held.facts.kid != kid) {
                if held.facts.withdrawn.is_none() {
                    tracing::warn!(kid = held.kid(), "a key is withdrawn: an operator asked for it");
                    withdrawn.push(held.kid().to_owned());
                    held.withdraw(now, Moment::now(instant));
                }
            }
        }
        self.turn().await;
        self.told(&withdrawn)?;
        if emergency && self.own.iter().any(|held| held.kid() == kid && held.facts.published.is_none()) {
            return Err(self.not_told(&withdrawn));
        }
        Ok(self.changed(Some(&kid), &withdrawn))
    }

    /// Reads the file of the operator again, if keys come from there.
    async fn read_offered(&mut self, emergency: bool) -> Result<(), ChangeError> {
        let Some(path) = self.settings.private_key.clone() else { return Ok(()) };
        let (algorithm, read) = (self.settings.algorithm, path.clone());
        let imported = spawn_blocking(move || import(&read, algorithm)).await;
        let imported = match imported {
            Ok(imported) => imported.map_err(|error| not_made(error.into()))?,
            Err(_) => return Err(ChangeError::Stopping),
        };
        let kid = imported.key.kid().to_owned();
        if self.is_used_up(&kid) {
            return Err(ChangeError::UsedUp { path, kid });
        }
        let known = self.own.iter().find(|held| held.kid() == kid).map(|held| held.facts.state());
        if known == Some(State::Active) || (emergency && known.is_some()) {
            return Err(ChangeError::SameFile { path });
        }
        self.offered = Some(imported);
        Ok(())
    }

    async fn retire(&mut self, kid: &str) -> Result<Changed, ChangeError> {
        if !self.is_own(kid) {
            return self.retire_foreign(kid).await;
        }
        let (now, instant) = (self.now(), self.shared.clock.monotonic());
        let mut was_active = false;
        if let Some(held) = self.held(kid)
            && held.facts.withdrawn.is_none()
        {
            tracing::warn!(kid, "a key is withdrawn: an operator asked for it");
            was_active = held.facts.state() == State::Active;
            held.withdraw(now, Moment::now(instant));
        }
        if was_active {
            self.hasten();
        }
        self.turn().await;
        let withdrawn = [kid.to_owned()];
        self.told(&withdrawn)?;
        let active = self.own.iter().find(|held| held.facts.state() == State::Active);
        let active = active.map(|held| held.kid().to_owned()).filter(|_| was_active);
        Ok(self.changed(active.as_deref(), &withdrawn))
    }

    /// Withdraws the key of another node, which sees it in the store.
    async fn retire_foreign(&mut self, kid: &str) -> Result<Changed, ChangeError> {
        (self.away, self.problem) = (None, None);
        if !self.has_told {
            self.list().await.map_err(ChangeError::Store)?;
        }
        for _ in 0..TRIES {
            let Some(record) = self.fleet.get(kid) else {
                return Err(ChangeError::Unknown { kid: kid.to_owned() });
            };
            let mut record = record.clone();
            if record.withdrawn.is_none() || self.fleet.stored(kid).is_none() {
                record.withdrawn = record.withdrawn.or(Some(self.now()));
                match self.put(kid, record.clone()).await {
                    Ok(true) => {
                        tracing::warn!(kid, "the key of another node is withdrawn: an operator asked for it")
                    }
                    Ok(false) => continue,
                    Err(problem) => {
                        let error = self.away.clone();
                        return Err(error.map_or(not_made(problem), ChangeError::Store));
                    }
                }
            }
            self.turn().await;
            return Ok(Changed { key: None, withdrawn: vec![of_other(&record)] });
        }
        Err(ChangeError::Busy)
    }

    /// Whether the store knows that these are withdrawn.
    fn told(&self, withdrawn: &[String]) -> Result<(), ChangeError> {
        let is_untold =
            |kid: &&String| self.own.iter().any(|held| held.kid() == **kid && !held.facts.in_store);
        if withdrawn.iter().any(|kid| is_untold(&kid)) {
            return Err(self.not_told(withdrawn));
        }
        Ok(())
    }

    fn not_told(&self, withdrawn: &[String]) -> ChangeError {
        let problem =
            self.problem.as_ref().map_or("it has not answered".to_owned(), |problem| problem.text.clone());
        ChangeError::NotTold { withdrawn: withdrawn.join(", "), problem }
    }

    fn changed(&self, key: Option<&str>, withdrawn: &[String]) -> Changed {
        let status = |kid: &str| -> Option<KeyStatus> {
            let held = self.own.iter().find(|held| held.kid() == kid)?;
            Some(of_own(held, &self.settings.node, &self.rules))
        };
        Changed {
            key: key.and_then(status),
            withdrawn: withdrawn.iter().filter_map(|kid| status(kid)).collect(),
        }
    }
}

fn not_made(problem: Problem) -> ChangeError {
    ChangeError::NotMade { code: problem.code, problem: problem.text }
}

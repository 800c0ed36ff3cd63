//! Which sources of certificates the configuration means: the only place that names them.

use std::sync::Arc;

use super::Error;
use crate::{
    clock::Clock,
    config::{Ca, Callers, Configured, Launch, Source},
    identity::{
        self, Random, dev,
        external::ExecSource,
        keeper::{self, Issued, TrustSettings},
        signing::SigningService,
    },
    metrics::Metrics,
};

/// What the keeper of certificates is made of.
pub(super) fn keeping(
    launch: &Launch,
    clock: Arc<dyn Clock>,
    random: Random,
) -> Result<keeper::Parts, Error> {
    let now = clock.now();
    let skew_allowance = launch.limits.clock_skew;
    let mut trust = TrustSettings { files: Vec::new(), fixed: Vec::new(), skew_allowance };
    let (files, issued) = match &launch.source {
        Source::Dev { user } => {
            let (service, identity) = dev::service(user, now, random.clone())?;
            trust.fixed = service.roots();
            (Vec::new(), vec![Issued { identity, source: Arc::new(service), at_start: true }])
        }
        Source::Configured(Configured { files, issued, ca }) => {
            trust.files.clone_from(&files.trust);
            let source: Option<Arc<dyn identity::Source>> = match ca {
                Some(Ca::SigningService(settings)) => {
                    let service = SigningService::open_or_create(settings, now, random.clone())?;
                    trust.fixed = service.roots();
                    Some(Arc::new(service))
                }
                Some(Ca::External(settings)) => {
                    Some(Arc::new(ExecSource::new(settings.clone(), random.clone())?))
                }
                None => None,
            };
            // The reader of the configuration has seen to it that there is a source if anything is issued.
            let issued = issued.iter().zip(source.iter().cycle()).map(|(identity, source)| Issued {
                identity: identity.clone(),
                source: source.clone(),
                at_start: launch.listeners.iter().any(|one| one.callers == Callers::Fixed(identity.clone())),
            });
            (files.identities.clone(), issued.collect())
        }
    };
    let observer = Arc::new(Metrics);
    Ok(keeper::Parts { clock, random, observer, trust, files, issued, poll: keeper::POLL })
}

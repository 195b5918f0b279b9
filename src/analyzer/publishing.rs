//! The publisher's thread: takes what waits in the outbox to the broker whenever a window was let go.
//!
//! A broker that is away is tried again by [`Backoff`], said once and then rarely. Where only an
//! operator can help (wrong credentials, a channel that is not allowed) that is said at once, reported
//! ([`Kind::BrokerRefuses`]), and tried every ten minutes. So is a store or a disk that fails, lest
//! what was sent be sent again and again. With `--once` a broker that is away for half a minute, or
//! refuses, ends the run with 69 and all is kept.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::patience::{GaveUp, Patience};
use super::status;
use crate::config::Config;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::hpfeeds::outbox::Outbox;
use crate::hpfeeds::pseudonym::{Key, Pseudonyms};
use crate::hpfeeds::publisher::{self, Publisher};
use crate::hpfeeds::sent::Sent;
use crate::hpfeeds::{Backoff, Broker, Fault};
use crate::notification::Kind;
use crate::store::{Engine, MainStore};
use crate::watchdog;

/// How often a broker that stays away is said again.
const SAY_EVERY: Duration = Duration::from_secs(300);

/// How often a pause looks whether it is to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is shared, and where it waits.
pub(super) struct Sharing {
    /// `None` where nothing is shared.
    pub(super) outbox: Option<Outbox>,
    pub(super) sent: Sent,
    pseudonyms: Option<Pseudonyms>,
}

impl Sharing {
    /// The sharing of a configuration; the outbox and the key of pseudonyms are made when missing.
    pub(super) fn of(config: &Config, patience: &Patience) -> Result<Sharing, GaveUp> {
        let hpfeeds = &config.hpfeeds;
        let sent = Sent::new(&hpfeeds.spam_path, &hpfeeds.attach_path);
        if !hpfeeds.enabled {
            return Ok(Sharing {
                outbox: None,
                sent,
                pseudonyms: None,
            });
        }
        let open = || Outbox::open(&hpfeeds.outbox, hpfeeds.outbox_max);
        let outbox = patience.until("outbox", open)?;
        let key = || match hpfeeds.pseudonyms {
            true => Key::make(&hpfeeds.pseudonym_key).map(Some),
            false => Ok(None),
        };
        let key = patience.until("outbox", key)?;
        Ok(Sharing {
            outbox: Some(outbox),
            sent,
            pseudonyms: key.as_ref().map(Pseudonyms::new),
        })
    }

    /// The publisher to this broker.
    pub(super) fn publisher(&self, broker: Broker) -> Option<Publisher> {
        Some(Publisher {
            outbox: self.outbox.clone()?,
            broker,
            pseudonyms: self.pseudonyms.clone(),
            sent: self.sent.clone(),
        })
    }
}

/// An outage of the broker.
struct Outage {
    since: Instant,
    said: Instant,
}

/// The publisher with what it needs to wait.
pub(super) struct Publishing<'a> {
    publisher: Publisher,
    stores: &'a dyn Engine,
    patience: &'a Patience,
    backoff: Backoff,
    outage: Option<Outage>,
    status: status::Sharing,
}

impl<'a> Publishing<'a> {
    pub(super) fn new(
        publisher: Publisher,
        stores: &'a dyn Engine,
        patience: &'a Patience,
        status: status::Sharing,
    ) -> Publishing<'a> {
        Publishing {
            publisher,
            stores,
            patience,
            backoff: Backoff::random(),
            outage: None,
            status,
        }
    }

    /// Publishes what waits, and again whenever a window was let go, until nobody says so any more.
    pub(super) fn run(mut self, released: &Receiver<()>) -> Result<(), GaveUp> {
        let mut payloads = 0;
        while released.recv().is_ok() {
            let mut main = None;
            while let Some(published) = self.batch(&mut main)? {
                payloads += published;
            }
            if payloads > 0 {
                log::info!("event=hpfeeds.published payloads={payloads}");
                payloads = 0;
            }
        }
        Ok(())
    }

    /// Publishes a batch, however often that has to be tried; `None` when nothing waits, or to stop.
    fn batch(&mut self, main: &mut Option<Box<dyn MainStore>>) -> Result<Option<u64>, GaveUp> {
        while !self.patience.is_stopped() {
            let mut store = match main.take() {
                Some(store) => store,
                None => self.patience.until("database", || self.stores.main())?,
            };
            match self.publisher.publish(store.as_mut()) {
                Ok(published) => {
                    self.works();
                    *main = Some(store);
                    return Ok(published);
                }
                // After any failure with a fresh connection to the store.
                Err(publisher::Failure::Broker(fault)) if fault.needs_operator() => {
                    let notifier = self.patience.notifier();
                    notifier.report(Kind::BrokerRefuses, &fault.to_string());
                    self.wait("refused", &fault)?;
                }
                Err(publisher::Failure::Broker(fault)) => self.wait("away", &fault)?,
                Err(publisher::Failure::Store(error)) => {
                    self.wait("stuck", &Fault::Lost(error.to_string()))?;
                }
                Err(publisher::Failure::Files(error)) => {
                    self.wait("stuck", &Fault::Lost(error.to_string()))?;
                }
            }
        }
        Ok(None)
    }

    fn works(&mut self) {
        self.backoff.worked();
        self.status.works();
        if let Some(outage) = self.outage.take() {
            let seconds = outage.since.elapsed().as_secs();
            log::warn!("event=hpfeeds.back after_seconds={seconds}");
        }
    }

    /// Says what happened, once and then rarely, and waits, or gives up.
    fn wait(&mut self, event: &str, fault: &Fault) -> Result<(), GaveUp> {
        self.status.waits(fault);
        let now = Instant::now();
        let since = self.outage.as_ref().map_or(now, |outage| outage.since);
        let due = |outage: &Outage| now.duration_since(outage.said) >= SAY_EVERY;
        if self.outage.as_ref().is_none_or(due) {
            let text = fault.to_string();
            let reason = escape::value(&text);
            log::error!("event=hpfeeds.{event} reason={reason} action=waiting");
            self.outage = Some(Outage { since, said: now });
        }
        let mut pause = self.backoff.pause(fault);
        if let Some(limit) = self.patience.limit() {
            if fault.needs_operator() || now.duration_since(since) >= limit {
                let what = format!("{fault}; all is kept in the outbox, and the next run goes on");
                return Err(GaveUp::TooLong(Failure::new(Exit::Unavailable, what)));
            }
            pause = pause.min(limit / 10);
        }
        while now.elapsed() < pause && !self.patience.is_stopped() {
            watchdog::still_alive();
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

//! Correlation: closed windows go into the main store.
//!
//! One transaction of the main store takes a closed window in, with a marker in it. Within it,
//! what others added meanwhile is read, the window's records are compared with what the store
//! held before the window, all of them before any goes in, and then they go in. After it the
//! samples that no record keeps are removed and the window's rows deleted. Each step can be
//! repeated: a window found half way is finished.
//!
//! Where it is to be shared, the window's records are in the outbox ([`crate::hpfeeds::outbox`]) before
//! the transaction is committed, and are let go after it.
//!
//! The index over the main store ([`index`]) is built at start, outside of a transaction, and kept up
//! after that. Records that others published go in likewise ([`gathering`]).

pub mod gathering;
mod index;

use std::collections::HashMap;
use std::io;
use std::path::Path;

use crate::crash;
use crate::hpfeeds::outbox::{self, Dropped, Outbox, Writer};
use crate::hpfeeds::sent::Sent;
use crate::queue::maildir::remove;
use crate::sameness::Rule;
use crate::store::{
    MainStore, Place, Result, StoreError, StoreErrorKind, TakeIn, WindowKey, WindowStore,
};
use index::MainIndex;

/// Takes closed windows into the main store.
pub struct Correlation {
    windows: Box<dyn WindowStore>,
    main: Box<dyn MainStore>,
    known: MainIndex,
    outbox: Option<Outbox>,
    sent: Option<Sent>,
    /// Whether the process was told to stop: a large store takes minutes to read.
    is_stopped: Box<dyn Fn() -> bool + Send>,
}

impl Correlation {
    /// Correlates with connections of its own, so that analysis goes on beside.
    pub fn new(rule: Rule, windows: Box<dyn WindowStore>, main: Box<dyn MainStore>) -> Correlation {
        Correlation {
            windows,
            main,
            outbox: None,
            sent: None,
            is_stopped: Box::new(|| false),
            known: MainIndex::new(rule),
        }
    }

    /// Puts records into this outbox, if any, and finds content where it was moved when it was
    /// sent.
    pub fn sharing(self, outbox: Option<Outbox>, sent: Sent) -> Correlation {
        Correlation {
            outbox,
            sent: Some(sent),
            ..self
        }
    }

    /// Gives up reading the main store, with an error, when this says so.
    pub fn until(self, is_stopped: impl Fn() -> bool + Send + 'static) -> Correlation {
        Correlation {
            is_stopped: Box::new(is_stopped),
            ..self
        }
    }

    /// Reads into the index what came into the main store since it was read; returns how many
    /// records the index has.
    pub fn catch_up(&mut self) -> Result<usize> {
        let (known, is_stopped) = (&mut self.known, &self.is_stopped);
        self.main.each_known(known.last(), &mut |number, record| {
            if is_stopped() {
                return Err(StoreError {
                    kind: StoreErrorKind::Unavailable,
                    what: "the analyzer stops".into(),
                });
            }
            known.add(number, &record)
        })?;
        Ok(known.len())
    }

    /// Takes in every closed window that waits, oldest first; returns how many.
    pub fn take_in_waiting(&mut self) -> Result<usize> {
        // Most of it here, where nobody waits for us.
        self.catch_up()?;
        let waiting = self.windows.waiting()?;
        for window in &waiting {
            self.take_in(*window)?;
        }
        Ok(waiting.len())
    }

    /// The recipients that tests of the relay were sent to, as far as the main store has them.
    pub fn probe_recipients(&mut self, most: usize) -> Result<Vec<String>> {
        self.main.probe_recipients(most)
    }

    fn take_in(&mut self, window: u64) -> Result<()> {
        let key = self.windows.key(window)?;
        if !self.main.is_taken(&key)? {
            let (windows, known) = (&mut self.windows, &mut self.known);
            let (outbox, sent) = (self.outbox.as_ref(), self.sent.as_ref());
            self.main.take_in(&key, &mut |taking| {
                taking.each_known(known.last(), &mut |number, record| {
                    known.add(number, &record)
                })?;
                let places = places(known, windows.as_mut(), window)?;
                records(windows.as_mut(), &key, &places, (outbox, sent), taking)?;
                counts(windows.as_mut(), window, taking)?;
                crash::point("window-before-commit");
                Ok(())
            })?;
        }
        crash::point("window-taken");
        if let Some(outbox) = &self.outbox {
            release(outbox, &key).map_err(|error| outbox_failed(&error))?;
        }
        self.remove_samples(window)?;
        crash::point("window-samples-removed");
        self.windows.drop_window(window)
    }

    /// Removes the samples of records that went into another one.
    fn remove_samples(&mut self, window: u64) -> Result<()> {
        let main = &mut self.main;
        self.windows.each_sample(window, &mut |id, sample| {
            if sample.is_empty() || main.keeps_sample(id, sample)? {
                return Ok(());
            }
            remove(Path::new(sample)).map_err(|error| StoreError {
                kind: StoreErrorKind::Unavailable,
                what: format!("cannot remove the sample {sample}: {error}"),
            })
        })
    }
}

/// Hands a window's records over to the main store, and to the outbox.
fn records(
    windows: &mut dyn WindowStore,
    key: &WindowKey,
    places: &HashMap<String, String>,
    (outbox, sent): (Option<&Outbox>, Option<&Sent>),
    taking: &mut dyn TakeIn,
) -> Result<()> {
    let failed = |error: io::Error| outbox_failed(&error);
    let mut writer = outbox
        .map(|outbox| outbox.begin(&outbox::name(key)))
        .transpose()
        .map_err(failed)?;
    windows.each_record(key.window, &mut |mut record| {
        // A part may have been sent, for another record, since it was kept.
        if let Some(sent) = sent {
            for part in &mut record.sets.parts {
                part.path = sent.find_part(&part.path, &part.sha256);
            }
        }
        if let Some(writer) = &mut writer {
            writer.add(&record).map_err(failed)?;
        }
        let id = &record.record.known.id;
        let place = places.get(id).cloned().map_or(Place::New, Place::Into);
        taking.record(&record, &place)?;
        crash::point("window-half-taken");
        Ok(())
    })?;
    writer.map_or(Ok(()), Writer::finish).map_err(failed)
}

/// Hands over what a window counted beside its records.
fn counts(windows: &mut dyn WindowStore, window: u64, taking: &mut dyn TakeIn) -> Result<()> {
    for (date, reason, count) in windows.undeliverable(window)? {
        taking.undeliverable(&date, &reason, count)?;
    }
    for (date, reason, count) in windows.unrelayed(window)? {
        taking.unrelayed(&date, &reason, count)?;
    }
    for probe in windows.probes(window)? {
        taking.probe(&probe)?;
    }
    Ok(())
}

/// Lets a window's records be published, and keeps the outbox to its bound.
fn release(outbox: &Outbox, key: &WindowKey) -> io::Result<()> {
    outbox.release(&outbox::name(key))?;
    let dropped = outbox.make_room()?;
    if dropped != Dropped::default() {
        let (raw, parsed) = (dropped.raw, dropped.parsed);
        log::error!(
            "event=hpfeeds.dropped samples={raw} records={parsed} reason=\"outboxmax is reached\" \
             action=\"the rest waits for the broker\""
        );
    }
    Ok(())
}

fn outbox_failed(error: &io::Error) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unavailable,
        what: format!("the outbox of hpfeeds: {error}"),
    }
}

/// Which of a window's records belong to one of the main store: id by id.
fn places(
    known: &mut MainIndex,
    windows: &mut dyn WindowStore,
    window: u64,
) -> Result<HashMap<String, String>> {
    let mut places = HashMap::new();
    windows.each_known(window, &mut |record| {
        if let Some(id) = known.find(&record) {
            places.insert(record.id, id);
        }
        Ok(())
    })?;
    Ok(places)
}

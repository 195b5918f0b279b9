//! The correlation's thread: takes closed windows into the main store, at start and whenever a
//! window was closed, and lets the publisher know.

use crossbeam_channel::{Receiver, Sender};

use super::patience::{GaveUp, Patience};
use super::publishing::Sharing;
use crate::correlation::Correlation;
use crate::relay::KnownProbes;
use crate::relay::policy::KNOWN_PROBES_MAX;
use crate::sameness::Rule;
use crate::store::{Engine, StoreError};

/// What the thread works with.
pub(super) struct TakingIn<'a> {
    pub(super) stores: &'a dyn Engine,
    pub(super) rule: Rule,
    pub(super) sharing: Sharing,
    /// Learns the recipients of relay tests that the main store has.
    pub(super) known: KnownProbes,
    /// Says that windows were let go to be published.
    pub(super) released: Sender<()>,
}

impl TakingIn<'_> {
    /// Works until nobody closes windows any more.
    pub(super) fn run(&self, patience: &Patience, closed: &Receiver<()>) -> Result<(), GaveUp> {
        let mut correlation: Option<Correlation> = None;
        while closed.recv().is_ok() {
            patience.until("database", || -> Result<(), StoreError> {
                // After a failure with fresh connections and a fresh index.
                let mut ready = match correlation.take() {
                    Some(ready) => ready,
                    None => {
                        let stopping = patience.clone();
                        self.correlation()?.until(move || stopping.is_stopped())
                    }
                };
                let taken = ready.take_in_waiting()?;
                if taken > 0 {
                    log::info!("event=window.taken windows={taken}");
                }
                for recipient in ready.probe_recipients(KNOWN_PROBES_MAX)? {
                    self.known.add(&recipient);
                }
                correlation = Some(ready);
                Ok(())
            })?;
            // At start, too: there may be something from before.
            let _ = self.released.send(());
        }
        Ok(())
    }

    fn correlation(&self) -> Result<Correlation, StoreError> {
        let (windows, main) = (self.stores.windows()?, self.stores.main()?);
        let (outbox, sent) = (self.sharing.outbox.clone(), self.sharing.sent.clone());
        Ok(Correlation::new(self.rule, windows, main).sharing(outbox, sent))
    }
}

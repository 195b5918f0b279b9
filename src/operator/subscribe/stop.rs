//! When the program is to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{LOOK_EVERY, spawn};
use crate::exit::{Exit, Failure};

/// The order to stop. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Set when SIGTERM, SIGINT or SIGHUP comes. Who sends a second one does not want to wait for the
    /// end of anything.
    pub(super) fn at_signals() -> Result<Stop, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let cannot =
            |error| Failure::new(Exit::Unavailable, format!("cannot heed signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let runtime = runtime.map_err(cannot)?;
        let listened = {
            let _inside = runtime.enter();
            [
                SignalKind::terminate(),
                SignalKind::interrupt(),
                SignalKind::hangup(),
            ]
            .map(signal)
        };
        let [terminate, interrupt, hangup] = listened;
        let mut terminate = terminate.map_err(cannot)?;
        let mut interrupt = interrupt.map_err(cannot)?;
        let mut hangup = hangup.map_err(cannot)?;
        let stop = Stop::default();
        let set = stop.clone();
        spawn("signals", move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = interrupt.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    if set.0.swap(true, Ordering::Relaxed) {
                        std::process::exit(Exit::Unavailable as i32);
                    }
                }
            });
        })?;
        Ok(stop)
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits; false when it was to stop meanwhile.
    pub(super) fn sleep(&self, pause: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < pause && !self.is_set() {
            std::thread::sleep(LOOK_EVERY.min(pause));
        }
        !self.is_set()
    }
}

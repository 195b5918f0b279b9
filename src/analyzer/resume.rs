//! The analyzer's start: what a death interrupted is settled, and the open window resumed.

use crossbeam_channel::Sender;

use super::ledger::{Ledger, Settled};
use super::patience::{GaveUp, Patience};
use super::recovery;
use super::threads::no_thread;
use crate::archive::Archive;
use crate::config::Config;
use crate::queue::Maildir;
use crate::relay::policy::KNOWN_PROBES_MAX;
use crate::relay::{KnownProbes, Relaying};
use crate::store::{Engine, WindowStore};
use crate::timestamp::Timestamp;

/// The ledger with the open window, as it was left: what a death interrupted is settled first. The
/// recipients that tests of the relay were sent to are `known` after it.
pub(super) fn resume(
    config: &Config,
    stores: &dyn Engine,
    maildir: &Maildir,
    known: &KnownProbes,
    settled: Sender<Settled>,
    patience: &Patience,
) -> Result<Ledger, GaveUp> {
    let archive = patience.until("disk", || Archive::open(config))?;
    let mut windows = open_windows(stores, patience)?;
    let counted = recovery::recover(maildir, windows.as_mut(), patience)?;
    if counted > 0 {
        log::info!("event=queue.recovered files={counted}");
    }
    settle_interrupted(windows.as_mut(), patience)?;
    for recipient in patience.until("database", || windows.probe_recipients())? {
        known.add(&recipient);
    }
    // Before the first mail is judged. Where the main store is away nobody waits: those who take
    // windows in learn them as soon as it is back.
    let of_main = stores
        .main()
        .and_then(|mut main| main.probe_recipients(KNOWN_PROBES_MAX));
    for recipient in of_main.unwrap_or_default() {
        known.add(&recipient);
    }
    let relaying = Relaying::start(&config.relay, &config.queuepath, known.clone());
    let mut ledger = Ledger::resume(
        config.analyzer.rule,
        windows,
        archive,
        relaying.map_err(no_thread)?,
        patience.clone(),
        maildir.clone(),
        settled,
    )?;
    let number = ledger.window().number();
    if recovery::is_set_back(stores, number, patience)? {
        log::warn!("event=database.set_back window={number}");
        ledger.close_window()?;
    }
    Ok(ledger)
}

/// The window store belongs to one analyzer, whatever queue another one has.
fn open_windows(stores: &dyn Engine, patience: &Patience) -> Result<Box<dyn WindowStore>, GaveUp> {
    patience.until("database", || {
        stores.prepare()?;
        stores.own_windows()
    })
}

/// The relays that were under way when the process before died.
fn settle_interrupted(windows: &mut dyn WindowStore, patience: &Patience) -> Result<(), GaveUp> {
    let now = Timestamp::now();
    let settled = patience.until("database", || windows.settle_interrupted(now))?;
    if settled > 0 {
        log::warn!("event=relay.interrupted copies={settled} action=\"counted as relayed\"");
    }
    Ok(())
}

//! The stores: where what was found is kept.
//!
//! Two of them, each behind a trait. The [`WindowStore`] holds the open window, closed windows
//! that wait, and the names of counted queue files; one transaction of it makes a batch count.
//! The [`MainStore`] holds the distinct spams of all windows; one transaction of it takes a
//! window in, with a marker that makes taking it in twice the same as once. A [`Reader`] answers
//! the operator's questions over both.
//!
//! An [`Engine`] opens them; engines are files beside this one ([`sqlite`], [`mysql`]), and `sql/`
//! holds their schemas. An engine fails with a [`StoreError`], whose kind says what the caller does:
//! wait, or look for the mail whose content was refused.

pub mod bounds;
pub mod mysql;
pub mod record;
pub mod relay;
pub mod sqlite;

use std::fmt;

use sha2::{Digest, Sha256};

use crate::queue::QueueName;
use crate::queue::name::token;
use crate::timestamp::Timestamp;
pub use record::{
    Batch, Day, Delta, Find, Known, NewRecord, Part, Sets, Spam, TakenRecord, TopSpam, Totals,
};
pub use relay::{Fate, LedgerLine, Probe, ProbeSeen, Relay, Settlement};

/// What a caller does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// Away, locked, full or broken: not the mail's fault. Wait and try again.
    Unavailable,
    /// There is no such store yet. `shiva-dbcreate` makes it.
    Missing,
    /// The store is of a newer SHIVA, or no store at all.
    Unfit,
    /// A value was refused for what it is: find the mail and set it aside.
    Refused,
    /// Another analyzer has it.
    Taken,
}

/// A store's failure: what, on what.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// What the caller does about it.
    pub kind: StoreErrorKind,
    /// What failed, for the operator.
    pub what: String,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The result of a store's work.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A part of the stores, and what [`Engine::create`] did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// What it is, for the operator.
    pub what: String,
    /// Whether anything was done to it now.
    pub now: bool,
    /// What was done, for the operator.
    pub done: String,
}

/// What is said of a part that was missing.
const MADE: &str = "made";
/// What is said of a part that was there.
const UNCHANGED: &str = "there already, unchanged";

/// Where both stores are, and how they are opened.
pub trait Engine: Send + Sync {
    /// Makes what is missing of both stores and upgrades what is old; says of each part what was
    /// done.
    fn create(&self) -> Result<Vec<Made>>;

    /// The statements that [`create`](Engine::create) would execute now, for a reader. Changes
    /// nothing.
    fn plan(&self) -> Result<Vec<String>>;

    /// What the analyzer makes by itself when it starts: embedded stores. Databases on a server
    /// are made by `shiva-dbcreate`, by whoever may.
    fn prepare(&self) -> Result<()>;

    /// The window store, for its one analyzer: `Taken` where another one has it. It is its own
    /// until the store is dropped.
    fn own_windows(&self) -> Result<Box<dyn WindowStore>>;

    /// The window store, for another thread of its analyzer.
    fn windows(&self) -> Result<Box<dyn WindowStore>>;

    /// The main store.
    fn main(&self) -> Result<Box<dyn MainStore>>;

    /// Both stores, to read.
    fn reader(&self) -> Result<Box<dyn Reader>>;
}

/// The open window as the store has it.
#[derive(Debug)]
pub struct OpenWindow {
    /// Its number: 1, 2, 3 …
    pub number: u64,
    /// When it opened; a restart does not change it.
    pub opened: Timestamp,
    /// Its records in the order first seen; the position is the record's number in the window.
    pub records: Vec<Known>,
    /// Relay slots in use: the record's number, how many.
    pub slots: Vec<(u64, u64)>,
}

/// What could not be analysed or relayed: date, reason, how many.
pub type Reasons = Vec<(String, String, u64)>;

/// A store of windows and of counted queue files.
pub trait WindowStore: Send {
    /// The id of the queue that this store is bound to; none before it was first.
    fn bound_to(&mut self) -> Result<Option<String>>;

    /// Binds this store, which must be owned, to a queue: the counted files are that one's. When
    /// an analyzer of another queue has bound it since, each call is `Taken`.
    fn bind(&mut self, queue: &str) -> Result<()>;

    /// Called again and again while the owner has nothing to commit: gives a sign of life where
    /// that is due and the store would be somebody else's without.
    fn keep(&mut self) -> Result<()> {
        Ok(())
    }

    /// What names a window of this store, open or waiting, in the main store's markers.
    fn key(&mut self, window: u64) -> Result<WindowKey>;

    /// The open window, to go on with after a start.
    fn open_window(&mut self) -> Result<OpenWindow>;

    /// The names of files that were counted and are not yet forgotten.
    fn counted_files(&mut self) -> Result<Vec<QueueName>>;

    /// Makes a batch count: its changes and its file names, all or nothing. The names of the
    /// batches before it are forgotten in the same transaction: the caller has unlinked those
    /// files and synced their directory. A batch that turns out to be counted already (the
    /// answer to its commit was lost) is a success.
    fn commit(&mut self, batch: &Batch) -> Result<()>;

    /// Forgets all file names; the caller has unlinked the files and synced their directory.
    fn forget_files(&mut self) -> Result<()>;

    /// Closes the open window at `at` and opens the next. The old one waits.
    fn close_window(&mut self, at: Timestamp) -> Result<()>;

    /// The numbers of the closed windows that wait to be taken in, oldest first. One with a relay
    /// under way does not wait yet.
    fn waiting(&mut self) -> Result<Vec<u64>>;

    /// Writes what became of relays. Can be repeated: what is settled stays as it is.
    fn settle_relays(&mut self, settled: &[Settlement]) -> Result<()>;

    /// Settles what was under way, in any window, when the process before died: nobody knows what
    /// became of it. Returns how many.
    fn settle_interrupted(&mut self, at: Timestamp) -> Result<u64>;

    /// The recipients that tests of the relay were sent to, in all windows that are here.
    fn probe_recipients(&mut self) -> Result<Vec<String>>;

    /// Gives each record of a window to `each`, in the order first seen, without its sets and
    /// its bodies.
    fn each_known(&mut self, window: u64, each: &mut dyn FnMut(Known) -> Result<()>) -> Result<()>;

    /// Gives each record of a window to `each`, in the order first seen, with all that is known
    /// of it.
    fn each_record(
        &mut self,
        window: u64,
        each: &mut dyn FnMut(TakenRecord) -> Result<()>,
    ) -> Result<()>;

    /// Gives the id and the sample of each record of a window to `each`.
    fn each_sample(
        &mut self,
        window: u64,
        each: &mut dyn FnMut(&str, &str) -> Result<()>,
    ) -> Result<()>;

    /// The undeliverable messages of a window.
    fn undeliverable(&mut self, window: u64) -> Result<Reasons>;

    /// What was not relayed in a window.
    fn unrelayed(&mut self, window: u64) -> Result<Reasons>;

    /// The tests of the relay in a window.
    fn probes(&mut self, window: u64) -> Result<Vec<ProbeSeen>>;

    /// Deletes a window's rows, some at a time so that commits can go on between.
    fn drop_window(&mut self, window: u64) -> Result<()>;
}

/// Names a window among those of all analyzers, or what was taken in like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowKey {
    /// The analyzer's name, which its window store has had from the beginning.
    pub analyzer: String,
    /// The window's number.
    pub window: u64,
    /// Drawn when the window was opened: in a store that was set back from a backup the numbers
    /// come again, and this does not.
    pub token: String,
}

impl WindowKey {
    /// What names a payload that was received over hpfeeds: 127 bits of its SHA-256.
    pub fn of_payload(payload: &[u8]) -> WindowKey {
        let hash = Sha256::digest(payload);
        let number = |skipped| {
            let bytes = hash.iter().skip(skipped).take(8);
            bytes.fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
        };
        WindowKey {
            analyzer: "hpfeeds".into(),
            // One bit less: SQLite's numbers have a sign.
            window: number(0) >> 1,
            token: format!("{:016x}", number(8)),
        }
    }

    /// A token for a window that is opened now.
    fn draw() -> Result<String> {
        token().map_err(|error| StoreError {
            kind: StoreErrorKind::Unavailable,
            what: format!("the system has no random bits: {error}"),
        })
    }

    /// There is no window of this number.
    fn none(window: u64) -> StoreError {
        StoreError {
            kind: StoreErrorKind::Unfit,
            what: format!(
                "the window store has no window {window}, or names no analyzer; restore it from a \
                 backup, or put it away and let shiva-dbcreate make a new one"
            ),
        }
    }
}

/// Where a window's record goes in the main store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is new to the main store.
    New,
    /// It adds to the record with this id.
    Into(String),
}

/// A store of the distinct spams of all windows.
pub trait MainStore: Send {
    /// Gives each record that came in after number `after` to `each`, in the order they came,
    /// with its number.
    fn each_known(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Known) -> Result<()>,
    ) -> Result<()>;

    /// Whether a window was taken in.
    fn is_taken(&mut self, key: &WindowKey) -> Result<bool>;

    /// One transaction that adds to the store; no other adds anything until it ends. `fill` may be
    /// called again, where what it did before was undone.
    fn add(&mut self, fill: &mut dyn FnMut(&mut dyn TakeIn) -> Result<()>) -> Result<()>;

    /// Takes a window in: one transaction with the marker in it. `fill` asks what came in since
    /// it last looked, which nobody changes until the transaction ends, and hands over each of the
    /// window's records with the place it goes to, and each of its undeliverable counts. It is
    /// not called for a window that was taken in before.
    fn take_in(
        &mut self,
        key: &WindowKey,
        fill: &mut dyn FnMut(&mut dyn TakeIn) -> Result<()>,
    ) -> Result<()> {
        self.add(&mut |taking| match taking.mark(key)? {
            true => fill(taking),
            false => Ok(()),
        })
    }

    /// Whether the main store's record of this id keeps this sample.
    fn keeps_sample(&mut self, id: &str, sample: &str) -> Result<bool>;

    /// The record's sample lies somewhere else now. Twice is once.
    fn move_sample(&mut self, id: &str, from: &str, to: &str) -> Result<()>;

    /// Attachments and inline parts of this content lie there now. Twice is once.
    fn move_part(&mut self, sha256: &str, to: &str) -> Result<()>;

    /// Recipients that tests of the relay were sent to, those of late first, so many at most.
    fn probe_recipients(&mut self, most: usize) -> Result<Vec<String>>;
}

/// The open transaction of [`MainStore::add`].
pub trait TakeIn {
    /// Writes the marker of a window or payload; false where it was there before.
    fn mark(&mut self, key: &WindowKey) -> Result<bool>;
    /// As [`MainStore::each_known`], within the transaction.
    fn each_known(
        &mut self,
        after: u64,
        each: &mut dyn FnMut(u64, Known) -> Result<()>,
    ) -> Result<()>;
    /// Adds a record of the window. Where the record it goes to is no more, it is new.
    fn record(&mut self, record: &TakenRecord, place: &Place) -> Result<()>;
    /// Adds undeliverable messages.
    fn undeliverable(&mut self, date: &str, reason: &str, count: u64) -> Result<()>;
    /// Adds what was not relayed.
    fn unrelayed(&mut self, date: &str, reason: &str, count: u64) -> Result<()>;
    /// Adds tests of the relay.
    fn probe(&mut self, probe: &ProbeSeen) -> Result<()>;
}

/// Answers the operator's questions over both stores, while the analyzer runs or not.
pub trait Reader {
    /// The totals of all windows, open, waiting and taken in.
    fn totals(&mut self) -> Result<Totals>;
    /// The most frequent records, most frequent first.
    fn top(&mut self, most: usize) -> Result<Vec<TopSpam>>;
    /// The records whose id begins with this.
    fn find(&mut self, id: &str) -> Result<Find>;
    /// Gives every recipient of every record, those of several records several times, to `each`.
    fn each_recipient(&mut self, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()>;
    /// The lines of the relay's ledger, newest first, so many at most.
    fn relays(&mut self, most: usize) -> Result<Vec<LedgerLine>>;
    /// What was not relayed: reason, how many. Copies whose slot was given back are not in it.
    fn unrelayed(&mut self) -> Result<Vec<(String, u64)>>;
    /// How many lines of the ledger have each fate.
    fn fates(&mut self) -> Result<Vec<(Fate, u64)>>;
    /// The recipients that tests of the relay were sent to, those of late first, so many at most.
    fn probes(&mut self, most: usize) -> Result<Vec<Probe>>;
}

//! The ledger: one place decides which record a spam belongs to, and makes batches count.
//!
//! [`Ledger::enter`] decides and gathers; nothing it does counts yet. [`Ledger::commit`] makes it
//! count, by the protocol of "exactly once":
//!
//! 1. the archive is synced: every file the batch refers to is durable;
//! 2. one transaction of the window store holds the batch and the names of its queue files;
//! 3. the queue files are unlinked, and their directories synced, by a thread beside
//!    ([`super::sweep`]) while the next batch is gathered;
//! 4. only when that is done may the next transaction forget the names.
//!
//! Copies that are to be relayed have their slots in the same transaction, and are handed to the relay
//! after it ([`crate::relay`]).
//!
//! What fails for want of disk or database is waited for. What the store refuses for its content
//! is undone, and the batch halved until the mail is found and set aside. A batch whose archive
//! could not be synced is undone too and done again later: a failed sync is never retried over the
//! same files.

mod entry;
mod relays;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::patience::{GaveUp, Patience};
use super::sweep::{self, Sweep};
use super::worker::{Outcome, Result as Examination};
use crate::archive::Archive;
use crate::crash;
use crate::escape;
use crate::logging::Rarely;
use crate::notification::Kind;
use crate::queue::{Claim, Maildir, QueueName};
use crate::relay::Relaying;
use crate::sameness::Rule;
use crate::store::{Batch, StoreErrorKind, WindowStore};
use crate::timestamp::Timestamp;
use crate::window::Window;

/// Most messages of a batch.
const BATCH_MAX: usize = 2048;

/// How long a message may wait for its batch to be committed.
const BATCH_AGE: Duration = Duration::from_millis(500);

/// Why a message is set aside whose content the store does not take. It is counted under these words
/// alone: the store's own, which follow, may be what it would refuse again.
const REFUSED: &str = "the database refused what stands in this message";

/// What happened to the files of a batch.
#[derive(Debug)]
pub enum Settled {
    /// They count and are gone from the queue.
    Done(Vec<QueueName>),
    /// They do not count and lie in the queue as before.
    Undone(Vec<QueueName>),
    /// They could not be read, or what was kept of them not synced, which is not their fault: try
    /// again a little later.
    Postponed(Vec<QueueName>),
}

/// Decides, gathers and commits.
pub struct Ledger {
    rule: Rule,
    store: Box<dyn WindowStore>,
    archive: Archive,
    window: Window,
    relaying: Relaying,
    patience: Patience,
    maildir: Maildir,
    settled: Sender<Settled>,
    sweep: Sweep,
    batch: Batch,
    claims: Vec<Claim>,
    began: Instant,
    answers_written: Instant,
    batch_max: usize,
    /// What the store would not take, and its words about it.
    refused: HashMap<QueueName, String>,
    unreadable: Rarely,
    undeliverable: Rarely,
    undone: Rarely,
    /// Messages that counted since the start.
    pub counted: u64,
}

impl Ledger {
    /// Goes on with the open window of a store whose counted files are gone (see
    /// [`super::recovery`]).
    pub fn resume(
        rule: Rule,
        mut store: Box<dyn WindowStore>,
        archive: Archive,
        mut relaying: Relaying,
        patience: Patience,
        maildir: Maildir,
        settled: Sender<Settled>,
    ) -> Result<Ledger, GaveUp> {
        let sweep = patience.until("queue", || Sweep::start(maildir.clone()))?;
        let window = patience.until("database", || store.open_window())?;
        relaying.resume(&window);
        let window = Window::resume(&window, rule);
        Ok(Ledger {
            rule,
            store,
            archive,
            window,
            relaying,
            patience,
            maildir,
            settled,
            sweep,
            batch: Batch::default(),
            claims: Vec::new(),
            began: Instant::now(),
            answers_written: Instant::now(),
            batch_max: BATCH_MAX,
            refused: HashMap::new(),
            unreadable: Rarely::default(),
            undeliverable: Rarely::default(),
            undone: Rarely::default(),
            counted: 0,
        })
    }

    /// The open window.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Whether the batch is to be committed now.
    pub fn is_due(&self) -> bool {
        self.claims.len() >= self.batch_max
            || !self.claims.is_empty() && self.began.elapsed() >= BATCH_AGE
    }

    /// Whether anything was entered since the last commit.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Enters an examined message. What is not to be entered now goes back to the queue.
    pub fn enter(&mut self, examination: Examination) -> Result<(), GaveUp> {
        let claim = examination.claim;
        if self.claims.is_empty() {
            self.began = Instant::now();
            self.batch.window = self.window.number();
        }
        if let Some(words) = self.refused.remove(&claim.name) {
            self.set_aside_unread(&claim, &format!("{REFUSED}: {words}"), REFUSED)?;
        } else {
            match examination.outcome {
                Outcome::Spam(spam) => self.enter_spam(&claim, *spam)?,
                Outcome::Unreadable {
                    message,
                    envelope,
                    received_at,
                    reason,
                } => {
                    let (archive, name) = (&mut self.archive, &claim.name);
                    self.patience.until("disk", || {
                        archive.set_aside(name, &message, &reason, envelope.as_deref())
                    })?;
                    self.count_undeliverable(&claim, received_at, &reason, &reason);
                }
                Outcome::Unread(reason) => self.set_aside_unread(&claim, &reason, &reason)?,
                Outcome::Gone => {
                    self.settle(Settled::Done(vec![claim.name]));
                    return Ok(());
                }
                Outcome::Later(error) => {
                    if let Some(held_back) = self.unreadable.now() {
                        let file = escape::value(claim.name.as_str());
                        log::error!(
                            "event=queue.unreadable file={file} reason=\"{error}\" \
                             action=retrying held_back={held_back}"
                        );
                    }
                    self.settle(Settled::Postponed(vec![claim.name]));
                    return Ok(());
                }
            }
        }
        self.batch.files.push(claim.name.clone());
        self.claims.push(claim);
        Ok(())
    }

    /// Nothing is entered any more: the intake need not wait to hear.
    pub fn hang_up(&mut self) {
        let (nobody, _) = crossbeam_channel::bounded(0);
        self.settled = nobody;
    }

    /// Tells the intake what became of some files.
    fn settle(&self, settled: Settled) {
        // It may have ended already; then nobody wants to know.
        let _ = self.settled.send(settled);
    }

    fn set_aside_unread(
        &mut self,
        claim: &Claim,
        reason: &str,
        counted_as: &str,
    ) -> Result<(), GaveUp> {
        let archive = &mut self.archive;
        self.patience.until("disk", || {
            archive.set_aside_unread(&claim.name, &claim.path, reason)
        })?;
        self.count_undeliverable(claim, Timestamp::now(), reason, counted_as);
        Ok(())
    }

    fn count_undeliverable(
        &mut self,
        claim: &Claim,
        received_at: Timestamp,
        reason: &str,
        counted_as: &str,
    ) {
        let detail = format!("{}: {reason}", claim.name);
        self.patience
            .notifier()
            .report(Kind::Undeliverable, &detail);
        if let Some(held_back) = self.undeliverable.now() {
            let (file, why) = (escape::value(claim.name.as_str()), escape::value(reason));
            log::warn!(
                "event=message.undeliverable file={file} reason={why} held_back={held_back}"
            );
        }
        let key = (received_at.date(), counted_as.to_owned());
        *self.batch.undeliverable.entry(key).or_default() += 1;
    }

    /// Makes everything entered count, and begins to take its files out of the queue.
    pub fn commit(&mut self) -> Result<(), GaveUp> {
        if self.claims.is_empty() {
            return Ok(());
        }
        crash::point("batch-entered");
        if let Err(error) = self.archive.sync() {
            let reason = format!("the archive cannot be synced: {error}");
            return self.undo(&reason, Settled::Postponed);
        }
        crash::point("batch-archived");
        self.swept()?;
        let (store, batch) = (&mut self.store, &self.batch);
        let refused = self
            .patience
            .until("database", || match store.commit(batch) {
                Ok(()) => Ok(None),
                Err(error) if error.kind == StoreErrorKind::Refused => Ok(Some(error)),
                Err(error) => Err(error),
            })?;
        if let Some(error) = refused {
            if let [only] = self.batch.files.as_slice() {
                let words = escape::line(&error.what).into_owned();
                self.refused.insert(only.clone(), words);
            }
            self.batch_max = (self.claims.len() / 2).max(1);
            let reason = format!("the database refused its content: {error}");
            return self.undo(&reason, Settled::Undone);
        }
        crash::point("batch-committed");
        self.relaying.hand_over();
        self.batch = Batch::default();
        self.sweep.begin(std::mem::take(&mut self.claims));
        self.batch_max = (self.batch_max * 2).min(BATCH_MAX);
        Ok(())
    }

    /// Keeps the store ours while there is nothing to commit.
    pub fn keep(&mut self) -> Result<(), GaveUp> {
        let store = &mut self.store;
        self.patience.until("database", || store.keep())
    }

    /// Waits until the files of the last batch are out of the queue.
    pub fn swept(&mut self) -> Result<(), GaveUp> {
        let Some((claims, result)) = self.sweep.finish() else {
            return Ok(());
        };
        if result.is_err() {
            let maildir = &self.maildir;
            self.patience
                .until("queue", || sweep::unlink(maildir, &claims))?;
        }
        self.counted += claims.len() as u64;
        let files = claims.into_iter().map(|claim| claim.name).collect();
        self.settle(Settled::Done(files));
        Ok(())
    }

    /// Undoes a batch: its files are claimed again.
    fn undo(
        &mut self,
        reason: &str,
        settled: impl FnOnce(Vec<QueueName>) -> Settled,
    ) -> Result<(), GaveUp> {
        if let Some(held_back) = self.undone.now() {
            let (messages, reason) = (self.claims.len(), escape::value(reason));
            log::error!(
                "event=batch.undone messages={messages} reason={reason} action=retrying \
                 held_back={held_back}"
            );
        }
        self.archive.forget();
        let files = std::mem::take(&mut self.batch).files;
        self.claims.clear();
        self.swept()?;
        self.settle(settled(files));
        self.reload()
    }

    /// Closes the window; the next opens now.
    pub fn close_window(&mut self) -> Result<(), GaveUp> {
        self.commit()?;
        let (records, number) = (self.window.len(), self.window.number());
        let (store, now) = (&mut self.store, Timestamp::now());
        self.patience
            .until("database", || store.close_window(now))?;
        crash::point("window-closed");
        self.reload()?;
        log::info!("event=window.closed window={number} distinct={records}");
        Ok(())
    }

    /// Waits until all counted files are out of the queue, and forgets their names.
    pub fn forget_files(&mut self) -> Result<(), GaveUp> {
        self.swept()?;
        let store = &mut self.store;
        self.patience.until("database", || store.forget_files())
    }

    fn reload(&mut self) -> Result<(), GaveUp> {
        let store = &mut self.store;
        let stored = self.patience.until("database", || store.open_window())?;
        self.relaying.resume(&stored);
        self.window = Window::resume(&stored, self.rule);
        Ok(())
    }
}

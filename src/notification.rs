//! What needs a person is mailed to one.
//!
//! Any thread of the analyzer reports with a [`Notifier`], which never waits. A thread of its own
//! hears the reports, decides which of them become a notice ([`Notices`]: one an hour of each
//! [`Kind`], with the number of those held back), writes it ([`Mail`]) and has it sent. How mail is
//! sent is given from outside.
//!
//! # What is guaranteed
//! - Reporting never blocks and never fails. What the thread cannot take at once counts as held
//!   back.
//! - A notice that cannot be sent is in the log instead (`event=notification.not_sent`), and the
//!   next of its kind is tried five minutes later.
//! - A service that starts again and again does not mail again and again: times and counts are kept
//!   in [`STATE`] of a directory (the queue). The file is written before a notice is sent. It may
//!   be missing, broken or not to be written: the hour then begins with the process.
//! - A stranger's bytes in a report stand escaped in the body of the mail and nowhere else.
//!
//! Where `[notification]` is off, a [`Notifier`] does nothing: what happened is in the log anyway.

pub mod disk;
mod mail;
mod notices;
mod send;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use crate::config;
use crate::escape;
use crate::queue::maildir::{named, open_regular, own_file};
use crate::timestamp::Timestamp;
pub use mail::Mail;
pub use notices::{EVERY, Kind, Notice, Notices, RETRY};
pub use send::through;

/// The file in the queue's directory that remembers when what was mailed.
pub const STATE: &str = ".analyzer.notices";

/// Reports that may wait for the thread.
const REPORTS_MAX: usize = 64;

/// Bytes of a report's detail that are kept.
const DETAIL_MAX: usize = 1000;

/// Bytes of the state file that are read.
const STATE_MAX: u64 = 4096;

/// How long counts of held back reports may be in memory only.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// How a mail is sent; an error says why it was not.
pub type SendMail = Box<dyn FnMut(&Mail) -> Result<(), String> + Send>;

/// What happened, on the way to the thread.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub kind: Kind,
    pub at: Timestamp,
    pub detail: String,
}

/// Reports what needs a person. Clones report to the same thread.
#[derive(Clone, Debug, Default)]
pub struct Notifier(Option<Line>);

#[derive(Clone, Debug)]
struct Line {
    reports: Sender<Report>,
    /// By kind, how many found no room.
    missed: Arc<[AtomicU64; Kind::ALL.len()]>,
}

impl Notifier {
    /// Reports to nobody.
    pub fn off() -> Notifier {
        Notifier(None)
    }

    /// Says that something of this kind happened. `detail` says what and where; it may hold what a
    /// stranger sent.
    pub fn report(&self, kind: Kind, detail: &str) {
        let Some(line) = &self.0 else {
            return;
        };
        let end = detail.floor_char_boundary(DETAIL_MAX);
        let report = Report {
            kind,
            at: Timestamp::now(),
            detail: detail.get(..end).unwrap_or_default().to_owned(),
        };
        if let Err(TrySendError::Full(report)) = line.reports.try_send(report) {
            line.missed[report.kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A notifier whose reports come out of a channel, for tests of those who report.
    #[cfg(test)]
    pub(crate) fn to_channel() -> (Notifier, Receiver<Report>) {
        let (reports, heard) = bounded(REPORTS_MAX);
        let missed = Arc::default();
        (Notifier(Some(Line { reports, missed })), heard)
    }
}

/// The thread that mails.
#[derive(Debug)]
pub struct Mailer {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Mailer {
    /// Begins, with the state file in `directory`. `None` and a notifier that does nothing where
    /// `[notification]` is off.
    pub fn start(
        config: &config::Notification,
        directory: &Path,
        send: SendMail,
    ) -> io::Result<(Notifier, Option<Mailer>)> {
        if !config.enabled {
            return Ok((Notifier::off(), None));
        }
        let (reports, heard) = bounded(REPORTS_MAX);
        let missed: Arc<[AtomicU64; Kind::ALL.len()]> = Arc::default();
        let (stop, stopped) = bounded(1);
        let desk = Desk {
            config: config.clone(),
            state: directory.join(STATE),
            notices: Notices::read(&read_state(&directory.join(STATE))),
            missed: Arc::clone(&missed),
            saved: true,
            warned: false,
            send,
        };
        let thread = std::thread::Builder::new()
            .name("notification".into())
            .spawn(move || desk.work(&heard, &stopped))?;
        let notifier = Notifier(Some(Line { reports, missed }));
        Ok((notifier, Some(Mailer { stop, thread })))
    }

    /// Sends what was reported before and ends.
    pub fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// What the thread has.
struct Desk {
    config: config::Notification,
    state: PathBuf,
    notices: Notices,
    missed: Arc<[AtomicU64; Kind::ALL.len()]>,
    saved: bool,
    warned: bool,
    send: SendMail,
}

impl Desk {
    fn work(mut self, heard: &Receiver<Report>, stopped: &Receiver<()>) {
        loop {
            select! {
                recv(heard) -> report => match report {
                    Ok(report) => self.take(report),
                    Err(_) => break,
                },
                recv(stopped) -> _ => break,
                default(SAVE_AFTER) => self.save(),
            }
        }
        heard.try_iter().for_each(|report| self.take(report));
        self.save();
    }

    fn take(&mut self, report: Report) {
        let Report { kind, at, detail } = report;
        let missed = self.missed[kind as usize].swap(0, Ordering::Relaxed);
        self.notices.hold_back(kind, missed);
        self.saved = false;
        if let Some(notice) = self.notices.consider(kind, detail, at) {
            self.save();
            self.deliver(&notice);
        }
    }

    fn deliver(&mut self, notice: &Notice) {
        let (kind, held_back) = (notice.kind.name(), notice.held_back);
        match (self.send)(&mail::compose(notice, &self.config)) {
            Ok(()) => log::info!("event=notification.sent kind={kind} held_back={held_back}"),
            Err(error) => {
                let (reason, detail) = (escape::value(&error), escape::value(&notice.detail));
                log::error!(
                    "event=notification.not_sent kind={kind} held_back={held_back} \
                     reason={reason} detail={detail}"
                );
                self.notices.was_not_sent(notice);
                self.saved = false;
            }
        }
    }

    /// Writes the state file, if there is something new. That it cannot be written is said once.
    fn save(&mut self) {
        if self.saved {
            return;
        }
        self.saved = true;
        if let Err(error) = write_state(&self.state, &self.notices.to_string())
            && !self.warned
        {
            self.warned = true;
            let error = error.to_string();
            let reason = escape::value(&error);
            log::warn!("event=notification.not_kept reason={reason}");
        }
    }
}

/// The state file's text; empty where it cannot be read.
fn read_state(path: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(file) = open_regular(path) {
        let _ = file.take(STATE_MAX).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn write_state(path: &Path, text: &str) -> io::Result<()> {
    let write = |mut file: File| {
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    };
    own_file(path).and_then(|file| write(file).map_err(|error| named(path, &error)))
}

#[cfg(test)]
mod tests;

//! The session log: what every client did, a JSON object a line.
//!
//! [`SessionLog::record`] is called by the thread that serves all sessions and never waits: lines
//! go to a thread of their own, and what finds no room in [`WAITING_MAX`] bytes, or cannot be
//! written, is lost and counted. When there is room again a line says how many are missing
//! (`shiva.log.lost`), and so does the receiver once a minute.
//!
//! The file is appended to, mode 0640. It is opened anew after [`SessionLog::reopen`] (logrotate
//! has moved it, and sent SIGHUP) and when it is not under its name any more. Where that fails the
//! old one is written on, the log says so once, and it is tried again. Lines are whole: what a full
//! disk cut short is taken back. Nothing is synced: a record of sessions is not worth a disk's wait,
//! nor its last bytes: strangers decide how much there is to record, and it is mail that we are for.

mod event;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::party::Party;
use crate::escape;
use crate::logging::Rarely;
use crate::timestamp::Timestamp;
pub use event::{Closed, Event, Mail, Outcome};

/// Bytes of lines that may wait for the disk.
pub const WAITING_MAX: usize = 8 << 20;

/// Bytes written at once, about.
const WRITE: usize = 256 * 1024;

/// How often it is looked whether the file is still under its name.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Only the receiver's user and group read what strangers said.
const MODE: u32 = 0o640;

/// The way to record; nothing happens where no log is kept.
#[derive(Debug)]
pub struct SessionLog(Option<Kept>);

#[derive(Debug)]
struct Kept {
    sensor: String,
    sender: Sender<Entry>,
    backlog: Arc<Backlog>,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    Reopen,
    KeepFree(u64),
}

/// What waits, and what was lost.
#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    /// Lines lost that no line has told of yet.
    untold: AtomicU64,
    /// Lines lost since the last minute was said.
    lost: AtomicU64,
}

impl Backlog {
    /// Takes room for a line, if there is some.
    fn enter(&self, bytes: usize) -> bool {
        let entered = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= WAITING_MAX;
        if !entered {
            self.leave(bytes);
            self.lose(1);
        }
        entered
    }

    fn leave(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lose(&self, lines: u64) {
        self.untold.fetch_add(lines, Ordering::Relaxed);
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }
}

impl SessionLog {
    /// No log is kept.
    pub fn off() -> SessionLog {
        SessionLog(None)
    }

    /// Opens the log of a sensor and starts its thread, which ends when the last way to it is
    /// gone and all is written. So many bytes of its disk it leaves free.
    pub fn open(
        path: PathBuf,
        sensor: &str,
        keep_free: u64,
    ) -> io::Result<(SessionLog, JoinHandle<()>)> {
        let (sender, entries) = unbounded();
        let backlog = Arc::new(Backlog::default());
        let writer = Writer {
            file: open(&path)?,
            path,
            sensor: sensor.to_owned(),
            backlog: Arc::clone(&backlog),
            keep_free,
            looked: Instant::now(),
            failing: false,
            refused: Rarely::default(),
        };
        let thread = std::thread::Builder::new().name("session-log".into());
        let thread = thread.spawn(move || writer.run(&entries))?;
        let kept = Kept {
            sensor: sensor.to_owned(),
            sender,
            backlog,
        };
        Ok((SessionLog(Some(kept)), thread))
    }

    /// Records what happened in a session.
    pub fn record(&self, party: &Party, event: &Event<'_>) {
        let Some(kept) = &self.0 else {
            return;
        };
        let line = event::line(party, &kept.sensor, Timestamp::now(), event);
        // Its thread ends after its last sender.
        if kept.backlog.enter(line.len()) {
            let _ = kept.sender.send(Entry::Line(line));
        }
    }

    /// Has the file opened anew: another one may be under its name.
    pub fn reopen(&self) {
        if let Some(kept) = &self.0 {
            let _ = kept.sender.send(Entry::Reopen);
        }
    }

    /// From now on so many bytes of its disk are left free.
    pub fn keep_free(&self, bytes: u64) {
        if let Some(kept) = &self.0 {
            let _ = kept.sender.send(Entry::KeepFree(bytes));
        }
    }

    /// How many lines were lost since the last call.
    pub fn take_lost(&self) -> u64 {
        let take = |kept: &Kept| kept.backlog.lost.swap(0, Ordering::Relaxed);
        self.0.as_ref().map_or(0, take)
    }
}

/// Opens a log for appending. A pipe or a device is none: opening one could wait for ever.
fn open(path: &PathBuf) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    let file = options.custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// Bytes that we may still write to the disk of a file; all there can be where that is not known.
fn free(file: &File) -> u64 {
    let free = rustix::fs::fstatvfs(file).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    free.unwrap_or(u64::MAX)
}

/// The thread's own.
struct Writer {
    file: File,
    path: PathBuf,
    sensor: String,
    backlog: Arc<Backlog>,
    keep_free: u64,
    looked: Instant,
    /// The last attempt to open it anew failed, and the log says so.
    failing: bool,
    refused: Rarely,
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(first) = entries.recv() {
            let mut lines = Vec::new();
            let mut count = 0;
            let mut reopen = false;
            for entry in std::iter::once(first).chain(entries.try_iter()) {
                match entry {
                    Entry::Line(line) => {
                        lines.extend_from_slice(&line);
                        count += 1;
                    }
                    Entry::Reopen => reopen = true,
                    Entry::KeepFree(bytes) => self.keep_free = bytes,
                }
                if lines.len() >= WRITE || reopen {
                    break;
                }
            }
            self.write(&lines, count);
            // What was recorded before goes into the file that was there.
            if reopen {
                self.reopen();
            }
        }
    }

    fn write(&mut self, lines: &[u8], count: u64) {
        if self.looked.elapsed() >= LOOK_EVERY && !self.is_under_its_name() {
            self.reopen();
        }
        let told = self.backlog.untold.swap(0, Ordering::Relaxed);
        let written = match told {
            0 => Ok(()),
            _ => self.append(&event::lost(&self.sensor, Timestamp::now(), told)),
        };
        if written.is_err() {
            self.backlog.untold.fetch_add(told, Ordering::Relaxed);
        }
        if let Err(error) = written.and_then(|()| self.append(lines)) {
            self.backlog.lose(count);
            if let Some(held_back) = self.refused.now() {
                log::error!(
                    "event=session_log.failed file={} reason=\"{error}\" held_back={held_back}",
                    escape::value(&self.path.display().to_string())
                );
            }
        }
        self.backlog.leave(lines.len());
    }

    /// Writes whole lines or none.
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let free = free(&self.file);
        if free < self.keep_free {
            return Err(io::Error::other(format!("its disk has {free} bytes free")));
        }
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(lines);
        if written.is_err() {
            let _ = self.file.set_len(before);
        }
        written
    }

    fn is_under_its_name(&mut self) -> bool {
        self.looked = Instant::now();
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
            _ => false,
        }
    }

    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.failing = false;
            }
            Err(error) if !self.failing => {
                self.failing = true;
                log::error!(
                    "event=session_log.not_opened file={} reason=\"{error}\" \
                     action=\"the old file is written, and it is tried again\"",
                    escape::value(&self.path.display().to_string())
                );
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;

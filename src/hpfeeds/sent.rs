//! What was sent moves: samples to `hpfeedspam`, attachments and inline parts to `hpfeedattach`, and
//! the main store's paths with them.
//!
//! A file first has its second name, on disk; then the store says so; then the first name goes. A
//! crash in between leaves two names, and the next time does the rest. Content that lies in
//! `hpfeedattach` was sent: it is not sent again, and new records refer to it there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::queue::maildir::{KEPT, make_directory, named, remove, sync_directory};
use crate::store::{MainStore, Result, StoreError, StoreErrorKind};

/// Where sent files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    spam: PathBuf,
    attach: PathBuf,
}

impl Sent {
    /// Samples in the one directory, attachments and inline parts in the other.
    pub fn new(spam: &Path, attach: &Path) -> Sent {
        Sent {
            spam: spam.to_owned(),
            attach: attach.to_owned(),
        }
    }

    /// Where content lies once it was sent.
    pub fn part(&self, sha256: &str) -> PathBuf {
        self.attach.join(shelf(sha256)).join(sha256)
    }

    /// Where content lies now that was kept there.
    pub fn find_part(&self, kept: &str, sha256: &str) -> String {
        let sent = self.part(sha256);
        match !sha256.is_empty() && sent.exists() {
            true => sent.to_string_lossy().into_owned(),
            false => kept.to_owned(),
        }
    }

    /// Moves a record's sample, if the main store keeps it.
    pub fn move_sample(&self, main: &mut dyn MainStore, id: &str, sample: &str) -> Result<()> {
        let from = Path::new(sample);
        let Some(name) = from.file_name().filter(|_| !from.starts_with(&self.spam)) else {
            return Ok(());
        };
        if !main.keeps_sample(id, sample)? {
            return Ok(());
        }
        let to = self.spam.join(shelf(id)).join(name);
        second_name(from, &to).map_err(|error| failed(&error))?;
        main.move_sample(id, sample, &to.to_string_lossy())?;
        remove(from).map_err(|error| failed(&error))
    }

    /// Moves content of this SHA-256.
    pub fn move_part(&self, main: &mut dyn MainStore, path: &str, sha256: &str) -> Result<()> {
        let (from, to) = (Path::new(path), self.part(sha256));
        if from == to {
            return Ok(());
        }
        second_name(from, &to).map_err(|error| failed(&error))?;
        main.move_part(sha256, &to.to_string_lossy())?;
        remove(from).map_err(|error| failed(&error))
    }
}

/// The directory for names that begin like this one.
fn shelf(name: &str) -> &str {
    name.get(..2).unwrap_or("00")
}

/// Gives a file a second name for good, or makes a copy on another file system. One that is gone
/// has been moved.
fn second_name(from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().unwrap_or(Path::new("/"));
    make_directory(directory, KEPT)?;
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(from, to)?,
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
            ) =>
        {
            return Err(named(from, &error));
        }
        _ => {}
    }
    sync_directory(directory)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let temporary = to.with_file_name(format!(".{name}"));
    fs::copy(from, &temporary).map_err(|error| named(&temporary, &error))?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, to).map_err(|error| named(to, &error))
}

fn failed(error: &io::Error) -> StoreError {
    StoreError {
        kind: StoreErrorKind::Unavailable,
        what: format!("what was sent cannot be moved: {error}"),
    }
}

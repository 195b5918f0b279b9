//! Samples and attachments that were received, in a directory.
//!
//! ```text
//! DIR/spam/ab/<sha256>.eml        samples
//! DIR/attachments/ab/<sha256>     attachments and inline parts
//! DIR/index.jsonl                 a line for each that came, a JSON object
//! ```
//!
//! Names are made of the content's SHA-256 and of nothing that a stranger sent. Nothing is written
//! outside of DIR ([`shelf`]). A file is written under a temporary name, synced and
//! renamed, so that a name never stands for half a content; one that is there is kept as it is. Mode
//! 0440: nobody runs it, and nobody changes it by mistake.
//!
//! Files that come together are synced together: [`Keeper::keep`] takes them, and they are there, the
//! index with them, after [`Keeper::settle`]. What came last may be lost when the machine dies: a broker
//! keeps nothing either. After an error all that were not settled are given up, and can come again.

use std::collections::HashSet;
use std::fs::{DirBuilder, File as OsFile};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::shelf::{self, DIRECTORY, Written};
use crate::fingerprint::hex;
use crate::hpfeeds::Message;
use crate::hpfeeds::received::{Content, File};
use crate::timestamp::Timestamp;

/// Mode of samples and attachments.
const KEPT: u32 = 0o440;
/// Mode of the index.
const INDEX: u32 = 0o640;

/// The index's name.
const INDEX_NAME: &str = "index.jsonl";

/// Files, and bytes of them, that are synced together at most.
const TOGETHER: usize = 128;
const TOGETHER_BYTES: usize = 16 << 20;

/// From this many files on, one sync of the file system is cheaper than one of each file.
const SYNC_TOGETHER: usize = 4;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sample,
    Attachment,
}

impl Kind {
    fn directory(self) -> &'static str {
        match self {
            Kind::Sample => "spam",
            Kind::Attachment => "attachments",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Kind::Sample => ".eml",
            Kind::Attachment => "",
        }
    }
}

/// A line of the index.
#[derive(Serialize)]
struct Line<'a> {
    received_at: String,
    channel: &'a str,
    ident: &'a str,
    s_id: String,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    ip: &'a str,
    /// Below DIR; `null` for what was too long to be sent.
    file: Option<String>,
    size: u64,
    changed: bool,
}

/// The directory.
pub(super) struct Keeper {
    path: PathBuf,
    root: OwnedFd,
    pending: Pending,
    /// The last line of the index may lack its end.
    torn: bool,
}

/// What was taken and is not settled.
#[derive(Default)]
struct Pending {
    files: Vec<Written>,
    bytes: usize,
    /// Where these files will be, below DIR.
    places: HashSet<String>,
    /// Their lines of the index, and those of files that were there.
    lines: Vec<u8>,
    count: u64,
}

/// Files were not kept.
#[derive(Debug)]
pub(super) struct NotKept {
    /// How many.
    pub(super) files: u64,
    /// Why.
    pub(super) error: io::Error,
}

impl Keeper {
    /// The directory of this name, made when missing.
    pub(super) fn open(path: &Path) -> io::Result<Keeper> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY)
            .create(path)?;
        let directory = OFlags::DIRECTORY.bits().cast_signed();
        let root = OsFile::options()
            .read(true)
            .custom_flags(directory)
            .open(path)?;
        let keeper = Keeper {
            path: path.to_owned(),
            root: root.into(),
            pending: Pending::default(),
            torn: false,
        };
        // What cannot be written is to be known now.
        for kind in [Kind::Sample, Kind::Attachment] {
            shelf::descend(&keeper.root, kind.directory())?;
        }
        keeper.index()?;
        Ok(keeper)
    }

    /// The name, for a person.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps what came, and says in the index what it was called.
    pub(super) fn keep(
        &mut self,
        message: &Message,
        kind: Kind,
        file: &File,
    ) -> Result<(), NotKept> {
        self.pending.count += 1;
        if let Err(error) = self.take(message, kind, file) {
            return Err(self.give_up(error));
        }
        match self.pending.count >= TOGETHER as u64 || self.pending.bytes >= TOGETHER_BYTES {
            true => self.settle(),
            false => Ok(()),
        }
    }

    /// Gives what was taken its names, synced, and writes the index.
    pub(super) fn settle(&mut self) -> Result<(), NotKept> {
        if self.pending.count == 0 {
            return Ok(());
        }
        match self.settled() {
            Ok(()) => {
                self.pending = Pending::default();
                Ok(())
            }
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn give_up(&mut self, error: io::Error) -> NotKept {
        let files = std::mem::take(&mut self.pending).count;
        NotKept { files, error }
    }

    fn settled(&mut self) -> io::Result<()> {
        let files = &self.pending.files;
        match files.len() >= SYNC_TOGETHER {
            true => rustix::fs::syncfs(&self.root)?,
            false => files.iter().try_for_each(Written::sync)?,
        }
        files.iter().try_for_each(Written::rename)?;
        let mut index = self.index()?;
        if self.torn {
            index.write_all(b"\n")?;
        }
        self.torn = true;
        index.write_all(&self.pending.lines)?;
        self.torn = false;
        Ok(())
    }

    fn take(&mut self, message: &Message, kind: Kind, file: &File) -> io::Result<()> {
        let kept = match &file.content {
            Content::Whole(bytes) => Some(self.write(kind, bytes)?),
            Content::Oversize(_) => None,
        };
        let line = Line {
            received_at: Timestamp::now().to_string(),
            channel: &message.channel,
            ident: &message.ident,
            s_id: file.id.to_string(),
            name: &file.name,
            ip: &file.ip,
            file: kept,
            size: file.content.size(),
            changed: file.changed,
        };
        serde_json::to_writer(&mut self.pending.lines, &line)?;
        self.pending.lines.push(b'\n');
        Ok(())
    }

    /// Writes a content, unless it is there; returns where it will be, below DIR.
    fn write(&mut self, kind: Kind, content: &[u8]) -> io::Result<String> {
        let hash = hex(&Sha256::digest(content));
        let shelf = hash.get(..2).unwrap_or("00");
        let name = format!("{hash}{}", kind.extension());
        let place = format!("{}/{shelf}/{name}", kind.directory());
        if self.pending.places.contains(&place) {
            return Ok(place);
        }
        let directory = shelf::descend(&self.root, kind.directory())?;
        let directory = shelf::descend(&directory, shelf)?;
        if !shelf::is_there(&directory, &name)? {
            let written = Written::new(directory, &name, KEPT, content)?;
            self.pending.files.push(written);
            self.pending.bytes += content.len();
            self.pending.places.insert(place.clone());
        }
        Ok(place)
    }

    /// The index, opened each time: somebody may have put it away.
    fn index(&self) -> io::Result<OsFile> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
        let index = shelf::open(&self.root, INDEX_NAME, flags, INDEX)?;
        shelf::must_be_file(rustix::fs::fstat(&index)?.st_mode, INDEX_NAME)?;
        Ok(index.into())
    }
}

#[cfg(test)]
mod tests;

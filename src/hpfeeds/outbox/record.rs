//! A window's records in the outbox: one JSON object a line.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Outbox, Stage, create};
use crate::parsed::ParsedSpam;
use crate::queue::maildir::{named, remove, sync_directory};
use crate::store::{Part, Spam, TakenRecord};

/// A record as it waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The record, as it is known here: recipients included.
    pub parsed: ParsedSpam,
    /// Where the store has its sample; empty where there is none.
    pub sample: String,
    /// Its attachments and inline parts.
    pub parts: Vec<EntryPart>,
}

/// An attachment or inline part as it waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EntryPart {
    /// The sender's file name.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// SHA-256 of the content, hex.
    pub sha256: String,
    /// Where the content lies.
    pub path: String,
}

impl From<&Part> for EntryPart {
    fn from(part: &Part) -> EntryPart {
        EntryPart {
            name: part.name.clone(),
            media_type: part.media_type.clone(),
            sha256: part.sha256.clone(),
            path: part.path.clone(),
        }
    }
}

impl From<&TakenRecord> for Entry {
    fn from(taken: &TakenRecord) -> Entry {
        let seen = taken.seen();
        let spam = Spam {
            record: taken.record.clone(),
            count: taken.count,
            first_seen: seen.first_seen,
            last_seen: seen.last_seen,
            relayed: taken.relayed_days().values().map(|day| day.count).sum(),
            sets: taken.sets.clone(),
        };
        Entry {
            parsed: ParsedSpam::from(&spam),
            sample: taken.record.sample.clone(),
            parts: taken.sets.parts.iter().map(EntryPart::from).collect(),
        }
    }
}

/// Writes a window's records.
pub struct Writer<'o> {
    pub(super) outbox: &'o Outbox,
    pub(super) name: String,
    pub(super) samples: PathBuf,
    pub(super) temporary: PathBuf,
    pub(super) file: BufWriter<File>,
    pub(super) records: u64,
}

impl Writer<'_> {
    /// Adds a record, and gives its sample a second name here.
    pub fn add(&mut self, taken: &TakenRecord) -> io::Result<()> {
        self.records += 1;
        let entry = Entry::from(taken);
        if !entry.sample.is_empty() {
            keep(
                Path::new(&entry.sample),
                &self.samples.join(sample_name(&entry)),
            )?;
        }
        serde_json::to_writer(&mut self.file, &entry)?;
        self.file
            .write_all(b"\n")
            .map_err(|error| named(&self.temporary, &error))
    }

    /// All records are in: makes them durable. A window without any leaves nothing.
    pub fn finish(self) -> io::Result<()> {
        if self.records == 0 {
            remove(&self.temporary)?;
            return self.outbox.forget(&self.name, Stage::Parsed);
        }
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let failed = |error: io::Error| named(&self.temporary, &error);
        file.sync_all().map_err(failed)?;
        sync_directory(&self.samples)?;
        let new = self.outbox.path(&self.name, "new");
        fs::rename(&self.temporary, new).map_err(failed)?;
        sync_directory(&self.outbox.root)
    }
}

/// Reads a window's records.
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) file: BufReader<File>,
    pub(super) at: u64,
}

impl Reader {
    /// The next record, and the position behind it. A line that is none is passed over: it was not
    /// written by us.
    pub fn entry(&mut self) -> io::Result<Option<(Entry, u64)>> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.file.read_until(b'\n', &mut line);
            let read = read.map_err(|error| named(&self.path, &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.at += read as u64;
            if let Ok(entry) = serde_json::from_slice(&line) {
                return Ok(Some((entry, self.at)));
            }
        }
    }
}

/// The name of a record's sample among those of its window. No stranger's: an id is hex.
pub(super) fn sample_name(entry: &Entry) -> String {
    format!("{}.eml", entry.parsed.id)
}

/// Gives a file a second name, or makes a copy where that cannot be. One that is gone is not kept.
fn keep(file: &Path, target: &Path) -> io::Result<()> {
    remove(target)?;
    match fs::hard_link(file, target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            let content = fs::read(file).map_err(|error| named(file, &error))?;
            let mut copy = create(target)?;
            copy.write_all(&content)
                .map_err(|error| named(target, &error))?;
            copy.sync_all()
        }
    }
}

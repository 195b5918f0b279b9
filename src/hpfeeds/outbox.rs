//! The outbox: what is to be published waits on disk, for as long as the broker is away.
//!
//! In its directory, for each closed window of a name that never comes again:
//!
//! ```text
//! NAME.new        its records, before the window is in the main store
//! NAME.parsed     its records, to be published
//! NAME.raw        its records, published; their samples and attachments are to be
//! NAME.at         how many bytes of that file are published for good
//! NAME.samples/   second names (or copies) of its samples: main may not keep them
//! dropped         how much was dropped for want of room, as JSON
//! ```
//!
//! A file of records holds one JSON object a line. It gets its name when it is whole and on disk.
//! All that waits as `parsed` goes before all that waits as `raw`, oldest first. What is published may
//! be published again after a crash, never forgotten before.
//!
//! The outbox is bounded. Over the bound the oldest samples go first, then the oldest records; both
//! are counted and said. Errors name the file; the caller waits and tries again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::parsed::ParsedSpam;
use crate::queue::maildir::{FILE_MODE, KEPT, make_directory, named, sync_directory};
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
    /// SHA-256 of the content, hex.
    pub sha256: String,
    /// Where the content lies.
    pub path: String,
}

impl From<&Part> for EntryPart {
    fn from(part: &Part) -> EntryPart {
        EntryPart {
            name: part.name.clone(),
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

/// What of a window's records is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The records themselves, their links and source addresses.
    Parsed,
    /// Their samples and attachments.
    Raw,
}

impl Stage {
    fn extension(self) -> &'static str {
        match self {
            Stage::Parsed => "parsed",
            Stage::Raw => "raw",
        }
    }
}

/// A window that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    name: String,
    /// What of it is to be published.
    pub stage: Stage,
    /// Bytes of its file that are published for good.
    at: u64,
}

/// What was dropped for want of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Samples.
    pub raw: u64,
    /// Records.
    pub parsed: u64,
}

/// The outbox of an analyzer. Clones share its directory.
#[derive(Clone, Debug)]
pub struct Outbox {
    root: PathBuf,
    /// Bytes it may take.
    most: u64,
}

impl Outbox {
    /// The outbox in this directory, made when missing, of at most this many bytes.
    pub fn open(root: &Path, most: u64) -> io::Result<Outbox> {
        make_directory(root, KEPT)?;
        Ok(Outbox {
            root: root.to_owned(),
            most,
        })
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.root.join(format!("{name}.{extension}"))
    }

    /// Begins with a window's records, in place of what a crash left of it.
    pub fn begin(&self, name: &str) -> io::Result<Writer<'_>> {
        let samples = self.path(name, "samples");
        make_directory(&samples, KEPT)?;
        let temporary = self.path(name, "tmp");
        let file = create(&temporary)?;
        Ok(Writer {
            outbox: self,
            name: name.to_owned(),
            samples,
            temporary,
            file: BufWriter::new(file),
        })
    }

    /// Lets a window's records be published: it is in the main store. Twice is once.
    pub fn release(&self, name: &str) -> io::Result<()> {
        let (new, parsed) = (self.path(name, "new"), self.path(name, "parsed"));
        match fs::rename(&new, parsed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(&new, &error)),
            Err(_) => Ok(()),
            Ok(()) => sync_directory(&self.root),
        }
    }

    /// The window to publish next: the oldest with records to be published, else the oldest with
    /// samples.
    pub fn next(&self) -> io::Result<Option<Waiting>> {
        let mut found: Vec<(bool, String, Stage)> = Vec::new();
        for name in self.names()? {
            for stage in [Stage::Parsed, Stage::Raw] {
                if let Some(window) = name.strip_suffix(&format!(".{}", stage.extension())) {
                    found.push((stage == Stage::Raw, window.to_owned(), stage));
                }
            }
        }
        let first = found
            .into_iter()
            .min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(first.map(|(_, name, stage)| Waiting {
            at: fs::read_to_string(self.path(&name, "at"))
                .ok()
                .and_then(|at| at.trim().parse().ok())
                .unwrap_or(0),
            name,
            stage,
        }))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.root).map_err(|error| named(&self.root, &error))?;
        let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
        let names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
        let mut names: Vec<String> = names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The records of a window that are still to be published.
    pub fn read(&self, waiting: &Waiting) -> io::Result<Reader> {
        let path = self.path(&waiting.name, waiting.stage.extension());
        let open = || -> io::Result<BufReader<File>> {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(waiting.at))?;
            Ok(BufReader::new(file))
        };
        let file = open().map_err(|error| named(&path, &error))?;
        Ok(Reader {
            path,
            file,
            at: waiting.at,
        })
    }

    /// A sample of a window that waits; `None` where it was dropped.
    pub fn sample(&self, waiting: &Waiting, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(&waiting.name, "samples").join(sample_name(entry));
        match fs::read(&path) {
            Ok(sample) => Ok(Some(sample)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&path, &error)),
        }
    }

    /// Everything up to this position is published for good.
    pub fn advance(&self, waiting: &Waiting, at: u64) -> io::Result<()> {
        let (path, temporary) = (
            self.path(&waiting.name, "at"),
            self.path(&waiting.name, "at.tmp"),
        );
        let mut file = create(&temporary)?;
        writeln!(file, "{at}").map_err(|error| named(&temporary, &error))?;
        file.sync_all()?;
        fs::rename(&temporary, &path).map_err(|error| named(&path, &error))?;
        sync_directory(&self.root)
    }

    /// All of it is published for good: records wait for their samples, what had samples is
    /// forgotten.
    pub fn done(&self, waiting: &Waiting) -> io::Result<()> {
        // First the position: of a file of another stage it would skip records.
        remove(&self.path(&waiting.name, "at"))?;
        let path = self.path(&waiting.name, waiting.stage.extension());
        match waiting.stage {
            Stage::Parsed => {
                let raw = self.path(&waiting.name, Stage::Raw.extension());
                fs::rename(&path, raw).map_err(|error| named(&path, &error))?;
            }
            Stage::Raw => self.forget(&waiting.name, Stage::Raw)?,
        }
        sync_directory(&self.root)
    }

    fn forget(&self, name: &str, stage: Stage) -> io::Result<()> {
        remove(&self.path(name, stage.extension()))?;
        remove(&self.path(name, "at"))?;
        let samples = self.path(name, "samples");
        match fs::remove_dir_all(&samples) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(&samples, &error)),
            _ => Ok(()),
        }
    }

    /// Keeps to the bound: drops the oldest samples, then the oldest records. Returns what was
    /// dropped now; the sum of all is written down.
    pub fn make_room(&self) -> io::Result<Dropped> {
        let mut dropped = Dropped::default();
        let names = self.names()?;
        let sizes: io::Result<Vec<u64>> = names
            .iter()
            .map(|name| size(&self.root.join(name)))
            .collect();
        let mut taken: u64 = sizes?.iter().sum();
        let windows = names
            .iter()
            .filter_map(|name| name.strip_suffix(".samples"));
        for window in windows {
            let samples = self.path(window, "samples");
            for sample in fs::read_dir(&samples).map_err(|error| named(&samples, &error))? {
                if taken <= self.most {
                    break;
                }
                let path = sample?.path();
                taken = taken.saturating_sub(size(&path)?);
                remove(&path)?;
                dropped.raw += 1;
            }
        }
        for stage in [Stage::Raw, Stage::Parsed] {
            let ending = format!(".{}", stage.extension());
            for window in names.iter().filter_map(|name| name.strip_suffix(&ending)) {
                if taken <= self.most {
                    break;
                }
                let path = self.path(window, stage.extension());
                taken = taken.saturating_sub(size(&path)?);
                if stage == Stage::Parsed {
                    dropped.parsed += lines(&path)?;
                }
                self.forget(window, stage)?;
            }
        }
        if dropped != Dropped::default() {
            self.count(dropped)?;
        }
        Ok(dropped)
    }

    /// All that was ever dropped.
    pub fn dropped(&self) -> Dropped {
        let text = fs::read(self.root.join("dropped")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn count(&self, now: Dropped) -> io::Result<()> {
        let before = self.dropped();
        let all = Dropped {
            raw: before.raw + now.raw,
            parsed: before.parsed + now.parsed,
        };
        let (path, temporary) = (self.root.join("dropped"), self.root.join("dropped.tmp"));
        let mut file = create(&temporary)?;
        file.write_all(&serde_json::to_vec(&all)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path).map_err(|error| named(&path, &error))?;
        sync_directory(&self.root)
    }
}

/// Writes a window's records.
pub struct Writer<'o> {
    outbox: &'o Outbox,
    name: String,
    samples: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
}

impl Writer<'_> {
    /// Adds a record, and gives its sample a second name here.
    pub fn add(&mut self, taken: &TakenRecord) -> io::Result<()> {
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

    /// All records are in: makes them durable.
    pub fn finish(self) -> io::Result<()> {
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
    path: PathBuf,
    file: BufReader<File>,
    at: u64,
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
fn sample_name(entry: &Entry) -> String {
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

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|error| named(path, &error))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, &error)),
        _ => Ok(()),
    }
}

/// Bytes of a file, or of the files in a directory.
fn size(path: &Path) -> io::Result<u64> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other.map_err(|error| named(path, &error))?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let entries = fs::read_dir(path).map_err(|error| named(path, &error))?;
    entries.map(|entry| size(&entry?.path())).sum()
}

fn lines(path: &Path) -> io::Result<u64> {
    let mut file = BufReader::new(File::open(path).map_err(|error| named(path, &error))?);
    let mut lines = 0;
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        line.clear();
        lines += 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;

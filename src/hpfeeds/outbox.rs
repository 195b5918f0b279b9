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

mod record;
mod room;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::queue::maildir::{FILE_MODE, KEPT, make_directory, named, remove, sync_directory};
use crate::store::WindowKey;
pub use record::{Entry, EntryPart, Reader, Writer};
pub use room::Dropped;

/// The name of a window in the outbox; in the order of their numbers.
pub fn name(key: &WindowKey) -> String {
    format!("{:020}.{}", key.window, key.token)
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
            records: 0,
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
        let path = self
            .path(&waiting.name, "samples")
            .join(record::sample_name(entry));
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

#[cfg(test)]
mod tests;

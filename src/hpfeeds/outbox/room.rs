//! The outbox's bound: what is dropped where it is reached.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Outbox, Stage, create};
use crate::queue::maildir::{named, remove, sync_directory};

/// What was dropped for want of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Samples.
    pub raw: u64,
    /// Records.
    pub parsed: u64,
}

impl Outbox {
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

/// Bytes of a file, or of the files in a directory.
pub(super) fn size(path: &Path) -> io::Result<u64> {
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

//! What is in work, so that a mail that kills the process cannot do so for ever.
//!
//! `.analyzer.work` in the queue lists the names given out and not yet done. It is written, not
//! synced: it must survive the process, not the machine. What it lists at start is suspect: one
//! of these may have killed the process before. Suspects are tried alone, one after the other,
//! and `.analyzer.alone` (this one synced) counts the starts of the one in work; it is removed
//! when that one is done. A mail that was alone in work at [`DEATHS_MAX`] deaths is set aside
//! unread.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::maildir::own_file;
use super::name::QueueName;

/// Deaths of the process, with one mail alone in work, that convict the mail.
const DEATHS_MAX: u32 = 2;

/// The list is written anew when it has grown to this many bytes.
const LIST_MAX: usize = 1 << 20;

/// The lists of what is in work.
pub struct Work {
    list: File,
    listed: usize,
    alone: PathBuf,
    suspects: VecDeque<QueueName>,
}

impl Work {
    /// Reads what was in work when the process before this one ended.
    pub fn open(queue: &Path) -> io::Result<Work> {
        let path = queue.join(".analyzer.work");
        let before = fs::read_to_string(&path).unwrap_or_default();
        let list = own_file(&path)?;
        Ok(Work {
            list,
            listed: before.len(),
            alone: queue.join(".analyzer.alone"),
            suspects: before.lines().filter_map(QueueName::new).collect(),
        })
    }

    /// Whether some of what was in work at a death is still to be tried alone.
    pub fn has_suspects(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// The next suspect that still lies in the queue (`lies_in` says where), and whether it is
    /// convicted.
    pub fn next_suspect<T>(
        &mut self,
        lies_in: impl Fn(&QueueName) -> Option<T>,
    ) -> io::Result<Option<(QueueName, T, bool)>> {
        while let Some(name) = self.suspects.pop_front() {
            let Some(place) = lies_in(&name) else {
                continue;
            };
            let before = fs::read_to_string(&self.alone).unwrap_or_default();
            let deaths = match before.trim_end().rsplit_once(' ') {
                Some((before, deaths)) if before == name.as_str() => deaths.parse().unwrap_or(0),
                _ => 0,
            };
            if deaths >= DEATHS_MAX {
                return Ok(Some((name, place, true)));
            }
            let mut file = own_file(&self.alone)?;
            file.set_len(0)?;
            writeln!(file, "{name} {}", deaths + 1)?;
            file.sync_all()?;
            return Ok(Some((name, place, false)));
        }
        Ok(None)
    }

    /// These are given out now.
    pub fn begin<'a>(&mut self, names: impl IntoIterator<Item = &'a QueueName>) -> io::Result<()> {
        let mut text = String::new();
        for name in names {
            text.push_str(name.as_str());
            text.push('\n');
        }
        self.listed += text.len();
        self.list.write_all(text.as_bytes())
    }

    /// Only these are still given out.
    pub fn done(&mut self, in_flight: &HashSet<String>) -> io::Result<()> {
        if !in_flight.is_empty() && self.listed < LIST_MAX {
            return Ok(());
        }
        self.list.set_len(0)?;
        self.listed = 0;
        if in_flight.is_empty() && self.alone.exists() {
            fs::remove_file(&self.alone)?;
        }
        // The suspects not yet tried stay on the list: the process may die again.
        let suspects: Vec<QueueName> = self.suspects.iter().cloned().collect();
        let in_flight = in_flight.iter().filter_map(|name| QueueName::new(name));
        let in_flight: Vec<QueueName> = in_flight.collect();
        self.begin(suspects.iter().chain(&in_flight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(work: &mut Work) -> Option<(QueueName, bool)> {
        let suspect = work.next_suspect(|_| Some(())).unwrap();
        suspect.map(|(name, (), convicted)| (name, convicted))
    }

    #[test]
    fn two_deaths_alone_convict() {
        let scratch = tempfile::tempdir().unwrap();
        let names: Vec<QueueName> = ["a", "b"]
            .iter()
            .filter_map(|n| QueueName::new(n))
            .collect();
        Work::open(scratch.path()).unwrap().begin(&names).unwrap();
        // "b" kills the process each time it is in work; "a" does not.
        let mut work = Work::open(scratch.path()).unwrap();
        assert_eq!(next(&mut work), Some((names[0].clone(), false)));
        work.done(&HashSet::new()).unwrap();
        for convicted in [false, false, true] {
            assert_eq!(next(&mut work), Some((names[1].clone(), convicted)));
            work = Work::open(scratch.path()).unwrap();
        }
    }

    #[test]
    fn nothing_is_suspect_after_all_was_done() {
        let scratch = tempfile::tempdir().unwrap();
        let name = QueueName::new("a").unwrap();
        let mut work = Work::open(scratch.path()).unwrap();
        work.begin([&name]).unwrap();
        work.done(&HashSet::new()).unwrap();
        assert!(!Work::open(scratch.path()).unwrap().has_suspects());
    }
}

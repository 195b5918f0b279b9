//! The kill switch: `shiva relay off` and `on`.
//!
//! Off is a file in the queue directory; a dot-file, so no mail. It lies there until somebody
//! switches on again, whatever restarts. It is looked for before a slot is taken and before each
//! delivery, so that it works at once. Where it cannot be looked for, relaying is off.

use std::io;
use std::path::{Path, PathBuf};

use crate::queue::maildir::{own_file, remove, sync_directory};

/// The file that means off.
const FILE: &str = ".relay-off";

/// Whether relaying was switched off.
#[derive(Clone, Debug)]
pub struct Switch(PathBuf);

impl Switch {
    /// The switch of the analyzer that has this queue.
    pub fn of(queue: &Path) -> Switch {
        Switch(queue.join(FILE))
    }

    /// Whether it is off, or cannot be seen.
    pub fn is_off(&self) -> bool {
        self.look() != Some(true)
    }

    /// Whether it is on; `None` where that cannot be seen.
    pub fn look(&self) -> Option<bool> {
        // A link that leads nowhere is off, too.
        match self.0.symlink_metadata() {
            Ok(_) => Some(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(true),
            Err(_) => None,
        }
    }

    /// Switches relaying off, for good: the file is on disk when this returns.
    pub fn turn_off(&self) -> io::Result<()> {
        own_file(&self.0)?.sync_all()?;
        self.sync()
    }

    /// Switches relaying on again, where the configuration has it on.
    pub fn turn_on(&self) -> io::Result<()> {
        remove(&self.0)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(self.0.parent().unwrap_or(Path::new("/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn off_is_off_until_it_is_on_again() {
        let queue = tempfile::tempdir().unwrap();
        let switch = Switch::of(queue.path());
        assert!(!switch.is_off());
        switch.turn_on().unwrap();
        switch.turn_off().unwrap();
        switch.turn_off().unwrap();
        assert!(Switch::of(queue.path()).is_off());
        switch.turn_on().unwrap();
        assert!(!switch.is_off());
    }

    #[test]
    fn a_switch_that_cannot_be_seen_is_off() {
        let queue = tempfile::tempdir().unwrap();
        let file = queue.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Switch::of(&file).is_off());
    }
}

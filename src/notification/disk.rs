//! Whether a disk is nearly full: asked of the kernel once a minute, said once, reported until
//! there is room again.
//!
//! A disk is nearly full when less than a twentieth of it is free, but not with more than
//! [`ROOM_MOST`] and always with less than [`ROOM_LEAST`] (of a small disk: a quarter of it); or
//! when less than a twentieth of the files it can hold are left. File systems that count no files
//! have no end of them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::{Kind, Notifier};
use crate::escape;

/// Free bytes that are always enough.
pub const ROOM_MOST: u64 = 10 << 30;

/// Free bytes that are never enough.
pub const ROOM_LEAST: u64 = 256 << 20;

/// How often the kernel is asked.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// Whether so many free bytes are few, of so many in all.
pub fn is_short_of_bytes(free: u64, total: u64) -> bool {
    free < (total / 20).clamp(ROOM_LEAST, ROOM_MOST).min(total / 4)
}

/// Whether so many more files are few, of so many in all.
pub fn is_short_of_files(free: u64, total: u64) -> bool {
    free < total / 20
}

/// The room on the disk of a directory, as far as ordinary users may fill it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The directory.
    pub directory: PathBuf,
    /// Bytes free, and in all.
    pub bytes: (u64, u64),
    /// Files that can be made, and that there can be in all.
    pub files: (u64, u64),
}

impl Room {
    /// Asks the kernel.
    pub fn of(directory: &Path) -> io::Result<Room> {
        let disk = statvfs(directory)?;
        Ok(Room {
            directory: directory.to_owned(),
            bytes: (
                disk.f_bavail.saturating_mul(disk.f_frsize),
                disk.f_blocks.saturating_mul(disk.f_frsize),
            ),
            files: (disk.f_favail, disk.f_files),
        })
    }

    /// Whether it is nearly full.
    pub fn is_short(&self) -> bool {
        is_short_of_bytes(self.bytes.0, self.bytes.1)
            || is_short_of_files(self.files.0, self.files.1)
    }

    /// What is left in thousandths, of bytes or of files, whichever is less.
    fn share(&self) -> u128 {
        let share = |(free, total): (u64, u64)| match total {
            0 => 1000,
            total => u128::from(free) * 1000 / u128::from(total),
        };
        share(self.bytes).min(share(self.files))
    }
}

/// `DIRECTORY: 1234 MiB (3 %) free, room for 5678 files (12 %)`
impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |(free, total): (u64, u64)| u128::from(free) * 100 / u128::from(total.max(1));
        let (directory, bytes) = (self.directory.display(), percent(self.bytes));
        write!(
            f,
            "{directory}: {} MiB ({bytes} %) free",
            self.bytes.0 >> 20
        )?;
        if self.files.1 > 0 {
            let files = percent(self.files);
            write!(f, ", room for {} files ({files} %)", self.files.0)?;
        }
        Ok(())
    }
}

/// The fullest disk of some directories; one that is nearly full comes before others. A directory
/// that is not there, or not to be asked about, has none.
pub fn fullest<'a>(directories: impl IntoIterator<Item = &'a PathBuf>) -> Option<Room> {
    let rooms = directories.into_iter();
    fullest_of(rooms.filter_map(|directory| Room::of(directory).ok()))
}

fn fullest_of(rooms: impl Iterator<Item = Room>) -> Option<Room> {
    rooms.min_by_key(|room| (!room.is_short(), room.share()))
}

/// Looks after the disks of some directories.
#[derive(Debug)]
pub struct Watch {
    directories: Vec<PathBuf>,
    asked: Option<Instant>,
    said: bool,
}

impl Watch {
    /// Of these directories.
    pub fn new(directories: Vec<PathBuf>) -> Watch {
        Watch {
            directories,
            asked: None,
            said: false,
        }
    }

    /// To be called often; asks once a minute.
    pub fn look(&mut self, notifier: &Notifier) {
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            self.asked = Some(Instant::now());
            self.heed(fullest(&self.directories), notifier);
        }
    }

    fn heed(&mut self, fullest: Option<Room>, notifier: &Notifier) {
        let Some(room) = fullest.filter(Room::is_short) else {
            self.said = false;
            return;
        };
        let detail = room.to_string();
        notifier.report(Kind::DiskNearlyFull, &detail);
        if !std::mem::replace(&mut self.said, true) {
            log::warn!("event=disk.nearly_full room={}", escape::value(&detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(directory: &str, bytes: (u64, u64), files: (u64, u64)) -> Room {
        Room {
            directory: directory.into(),
            bytes,
            files,
        }
    }

    #[test]
    fn few_bytes_are_a_twentieth_within_bounds() {
        for (free, total, short) in [
            (6 * GIB, 100 * GIB, false),
            (5 * GIB, 100 * GIB, false),
            (5 * GIB - 1, 100 * GIB, true),
            (10 * GIB, 10_000 * GIB, false),
            (10 * GIB - 1, 10_000 * GIB, true),
            (ROOM_LEAST, 2 * GIB, false),
            (ROOM_LEAST - 1, 2 * GIB, true),
            (16 << 20, 64 << 20, false),
            ((16 << 20) - 1, 64 << 20, true),
            (0, GIB, true),
            (0, 0, false),
            (u64::MAX, u64::MAX, false),
        ] {
            assert_eq!(is_short_of_bytes(free, total), short, "{free} of {total}");
        }
    }

    #[test]
    fn few_files_are_a_twentieth() {
        for (free, total, short) in [
            (1000, 1000, false),
            (50, 1000, false),
            (49, 1000, true),
            (0, 1000, true),
            (0, 0, false),
        ] {
            assert_eq!(is_short_of_files(free, total), short, "{free} of {total}");
        }
    }

    #[test]
    fn the_fullest_is_named() {
        let none = (0, 0);
        let rooms = [
            room("/half", (50 * GIB, 100 * GIB), (90, 100)),
            room("/large", (300 * GIB, 10_000 * GIB), none),
            room("/files", (90 * GIB, 100 * GIB), (4, 100)),
        ];
        let fullest = fullest_of(rooms.into_iter()).unwrap();
        // Of the large one less is left, and it is enough.
        assert_eq!(fullest.directory, Path::new("/files"));
        assert_eq!(
            fullest.to_string(),
            "/files: 92160 MiB (90 %) free, room for 4 files (4 %)"
        );
        assert_eq!(room("/x", (0, 0), none).to_string(), "/x: 0 MiB (0 %) free");
    }

    #[test]
    fn the_kernel_is_asked_about_what_is_there() {
        let scratch = tempfile::tempdir().unwrap();
        let missing = scratch.path().join("missing");
        assert_eq!(fullest([&missing]), None);
        let there = scratch.path().to_owned();
        let room = fullest([&missing, &there]).unwrap();
        assert_eq!(room.directory, there);
        assert!(room.bytes.1 >= room.bytes.0 && room.bytes.1 > 0, "{room}");
    }

    #[test]
    fn a_short_disk_is_reported_each_time_and_said_once() {
        let (notifier, heard) = Notifier::to_channel();
        let mut watch = Watch::new(Vec::new());
        let short = || Some(room("/x", (0, GIB), (0, 0)));
        watch.heed(short(), &notifier);
        assert!(watch.said);
        watch.heed(short(), &notifier);
        assert_eq!(heard.try_iter().count(), 2);
        watch.heed(Some(room("/x", (GIB, GIB), (0, 0))), &notifier);
        watch.heed(None, &notifier);
        assert!(!watch.said);
        assert_eq!(heard.try_iter().count(), 0);
    }
}

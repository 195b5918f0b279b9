//! The queue's directories: a maildir, `tmp/` `new/` `cur/` under `queuepath`.
//!
//! The receiver writes into `tmp/` and renames into `new/`; the analyzer takes from `new/`,
//! `cur/` and the queue directory itself. A name in `new/` is durable once [`sync_directory`]
//! returned for the directory it was renamed into.
//!
//! Receiver and analyzer may be two users who share the queue's group. The analyzer's owns the
//! queue; the receiver's writes files into `tmp/` and `new/` and can put nothing in the place of
//! these directories, for the one above is closed to it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::name::{QueueName, token};

/// The queue's directories.
#[derive(Clone, Debug)]
pub struct Maildir {
    root: PathBuf,
}

/// Keeps a second receiver from the queue.
pub const RECEIVER_LOCK: &str = ".receiver.lock";

/// Bears the queue's id.
const ID: &str = ".queue.id";

/// Mode of a queue file: the analyzer reads it through the group.
pub const FILE_MODE: u32 = 0o640;

/// Mode of what several of our users write: the queue's directories, lists and locks (these
/// without the `x`), and the embedded databases, which who only reads them must write to as well.
pub const SHARED: u32 = 0o770;

/// Mode of a directory that one user fills and its group reads.
pub const KEPT: u32 = 0o750;

impl Maildir {
    /// The maildir under `root`, its missing directories made.
    pub fn open(root: &Path) -> io::Result<Maildir> {
        for part in ["tmp", "new", "cur"] {
            make_directory(&root.join(part), SHARED)?;
        }
        Ok(Maildir {
            root: root.to_owned(),
        })
    }

    /// The maildir under `root` as it is, nothing made.
    pub fn look(root: &Path) -> Maildir {
        Maildir {
            root: root.to_owned(),
        }
    }

    /// The queue directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The queue's id: 16 hex digits, drawn and made durable when it is asked for first. It tells
    /// this queue from every other one that may have names in the same window store. Only whoever
    /// has the queue may ask.
    pub fn id(&self) -> io::Result<String> {
        let path = self.root.join(ID);
        match open_regular(&path) {
            Ok(file) => read_id(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_id(&path),
            Err(error) => Err(error),
        }
        .map_err(|error| named(&path, &error))
    }

    fn make_id(&self, path: &Path) -> io::Result<String> {
        let unfinished = self.root.join(format!("{ID}.new"));
        let id = token()?;
        let mut file = own_file(&unfinished)?;
        file.set_len(0)?; // by one that died here
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_directory(&self.root)?;
        Ok(id)
    }

    /// Where messages are written before they count.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where messages wait for the analyzer.
    pub fn new_mail(&self) -> PathBuf {
        self.root.join("new")
    }

    /// How many messages wait; counting stops at `most`. `None` where we may not look.
    pub fn count(&self, most: usize) -> Option<usize> {
        let mut count = 0;
        for directory in [self.new_mail(), self.cur(), self.root.clone()] {
            let entries = match fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
                // One that is not there yet holds nothing.
                Err(_) => continue,
            };
            let messages = entries.filter_map(Result::ok).filter(|entry| {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                !hidden && entry.file_type().is_ok_and(|kind| kind.is_file())
            });
            count += messages.take(most - count).count();
        }
        Some(count)
    }

    /// Files of `cur/` by their names without flags: where a mail tool may have moved what it was
    /// shown in `new/`.
    pub fn flagged(&self) -> io::Result<Vec<(QueueName, PathBuf)>> {
        let mut flagged = Vec::new();
        for entry in fs::read_dir(self.cur())? {
            let entry = entry?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().and_then(QueueName::new)
                && name.unique() != name.as_str()
            {
                flagged.push((name, entry.path()));
            }
        }
        Ok(flagged)
    }

    /// Where a mail tool may have moved them.
    pub fn cur(&self) -> PathBuf {
        self.root.join("cur")
    }
}

fn read_id(file: File) -> io::Result<String> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text)?;
    let id = text.trim_end();
    if id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(id.to_owned());
    }
    let what = "it holds no id of a queue; delete it, and a new one is drawn";
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Makes a directory and its parents. A set-group-id bit is inherited, never asked for: the
/// services may not (systemd's `RestrictSUIDSGID`).
pub fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    make_missing(path, mode).map_err(|error| named(path, &error))
}

fn make_missing(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent, mode)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// An error of the file system with the path it concerns.
pub fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Creates a list, lock or database of ours, or opens it as it is. Nothing but a regular file.
pub fn own_file(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(SHARED & 0o666)
        .custom_flags(open_flags())
        .open(path)
        .and_then(regular)
        .map_err(|error| named(path, &error))
}

/// Opens a file that somebody else may have put there: follows no link, and waits for nobody, as
/// it would at a named pipe.
pub fn open_regular(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(open_flags())
        .open(path)
        .and_then(regular)
}

fn open_flags() -> i32 {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or(0)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("not a regular file"))
}

/// Takes a lock that ends with the process. `WouldBlock` when another has it.
pub fn lock(path: &Path) -> io::Result<File> {
    let file = own_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(named(path, &error)),
    }
}

/// Removes a file; one that is gone already is well. The error names it.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, &error)),
        _ => Ok(()),
    }
}

/// Makes every name in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| named(path, &error))
}

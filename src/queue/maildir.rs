//! The queue's directories: a maildir, `tmp/` `new/` `cur/` under `queuepath`.
//!
//! The receiver writes into `tmp/` and renames into `new/`; the analyzer takes from `new/`,
//! `cur/` and the queue directory itself. A name in `new/` is durable once [`sync_directory`]
//! returned for the directory it was renamed into.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::name::QueueName;

/// The queue's directories.
#[derive(Clone, Debug)]
pub struct Maildir {
    root: PathBuf,
}

/// Mode of directories made by us: nobody but owner and group looks in.
const DIRECTORY_MODE: u32 = 0o750;

impl Maildir {
    /// The maildir under `root`, its missing directories made.
    pub fn open(root: &Path) -> io::Result<Maildir> {
        for part in ["tmp", "new", "cur"] {
            make_directory(&root.join(part))?;
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

    /// Where messages are written before they count.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where messages wait for the analyzer.
    pub fn new_mail(&self) -> PathBuf {
        self.root.join("new")
    }

    /// How many messages wait; counting stops at `most`.
    pub fn count(&self, most: usize) -> usize {
        let directories = [self.new_mail(), self.cur(), self.root.clone()];
        let entries = directories
            .iter()
            .filter_map(|path| fs::read_dir(path).ok());
        entries
            .flatten()
            .filter_map(Result::ok)
            .filter(|entry| {
                let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                !hidden && entry.file_type().is_ok_and(|kind| kind.is_file())
            })
            .take(most)
            .count()
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

/// Makes a directory and its parents, each with the owner and group of the directory it is put
/// in (so that what root's commands make belongs to the service's user).
pub fn make_directory(path: &Path) -> io::Result<()> {
    make_missing(path).map_err(|error| named(path, &error))
}

fn make_missing(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => {
            inherit_owner(path)?;
            path.parent().map_or(Ok(()), sync_directory)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives a file or directory the owner and group of the directory it is in. Only root can, and
/// only root need.
pub fn inherit_owner(path: &Path) -> io::Result<()> {
    let Some(parent) = path
        .parent()
        .filter(|_| rustix::process::geteuid().is_root())
    else {
        return Ok(());
    };
    let parent = fs::metadata(parent)?;
    std::os::unix::fs::lchown(path, Some(parent.uid()), Some(parent.gid()))
}

/// An error of the file system with the path it concerns.
pub fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Creates a file of ours in the queue, or opens it as it is, owned as its directory is.
pub fn own_file(path: &Path) -> io::Result<File> {
    let open = || -> io::Result<File> {
        let file = File::options()
            .append(true)
            .create(true)
            .mode(0o640)
            .open(path)?;
        inherit_owner(path)?;
        Ok(file)
    };
    open().map_err(|error| named(path, &error))
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

/// Makes every name in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| named(path, &error))
}

//! Files below a directory, opened one from the other and never through a symbolic link.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::queue::name::token;

/// Mode of directories.
pub(super) const DIRECTORY: u32 = 0o750;

/// A file that is written and has a temporary name. Dropped, it is removed.
pub(super) struct Written {
    directory: OwnedFd,
    temporary: String,
    name: String,
    file: File,
}

impl Written {
    /// Writes a file for this name in this directory.
    pub(super) fn new(
        directory: OwnedFd,
        name: &str,
        mode: u32,
        content: &[u8],
    ) -> io::Result<Written> {
        let temporary = format!(".{}", token()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = open(&directory, &temporary, flags, mode)?;
        let mut written = Written {
            directory,
            temporary,
            name: name.to_owned(),
            file: file.into(),
        };
        written.file.write_all(content)?;
        Ok(written)
    }

    /// Brings its content to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Gives it its name. It is synced.
    pub(super) fn rename(&self) -> io::Result<()> {
        let directory = &self.directory;
        Ok(rustix::fs::renameat(
            directory,
            &self.temporary,
            directory,
            &self.name,
        )?)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        let _ = rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty());
    }
}

/// Opens a file of a directory, never through a symbolic link.
pub(super) fn open(
    directory: impl AsFd,
    name: &str,
    flags: OFlags,
    mode: u32,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(
        directory,
        name,
        flags,
        Mode::from_raw_mode(mode),
    )?)
}

/// A directory in another, made when missing.
pub(super) fn descend(directory: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(DIRECTORY)) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    open(directory, name, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// Whether there is a regular file of this name; anything else is an error.
pub(super) fn is_there(directory: &OwnedFd, name: &str) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(stat) => must_be_file(stat.st_mode, name).map(|()| true),
    }
}

/// Fails for what is no regular file.
pub(super) fn must_be_file(mode: u32, name: &str) -> io::Result<()> {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(io::Error::other(format!("{name} is no regular file"))),
    }
}

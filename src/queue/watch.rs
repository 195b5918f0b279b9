//! inotify on the queue's directories: what arrives complete, as it arrives.
//!
//! A file counts as arrived when it was moved in or closed after writing. inotify drops events
//! when too many wait ([`Arrived::overflow`]); then a walk has to find what they would have told.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Bytes of events read at once.
const BUFFER: usize = 16 * 1024;

/// The directories watched.
pub struct Watch {
    inotify: OwnedFd,
    directories: Vec<(i32, PathBuf)>,
}

/// What arrived since the last look.
#[derive(Default)]
pub struct Arrived {
    /// Directory and name of each file.
    pub names: Vec<(PathBuf, OsString)>,
    /// Some are missing here.
    pub overflow: bool,
}

impl Watch {
    /// Nothing watched yet.
    pub fn new() -> io::Result<Watch> {
        Ok(Watch {
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            directories: Vec::new(),
        })
    }

    /// Watches a directory.
    pub fn add(&mut self, directory: PathBuf) -> io::Result<()> {
        let events = WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE;
        let watch = inotify::add_watch(&self.inotify, &directory, events)?;
        self.directories.push((watch, directory));
        Ok(())
    }

    /// Watches the directory that bears this path now, in place of the one that did.
    pub fn renew(&mut self, directory: PathBuf) -> io::Result<()> {
        self.directories.retain(|(_, path)| *path != directory);
        self.add(directory)
    }

    /// Waits until something arrived, at most this long.
    pub fn wait(&self, most: Duration) -> io::Result<()> {
        let mut ready = [PollFd::new(&self.inotify, PollFlags::IN)];
        let most = Timespec::try_from(most).ok();
        match poll(&mut ready, most.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What arrived; does not wait.
    pub fn read(&self) -> io::Result<Arrived> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        let mut arrived = Arrived::default();
        loop {
            match reader.next() {
                Ok(event) => {
                    arrived.overflow |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                    let watch = event.wd();
                    let directory = self.directories.iter().find(|(wd, _)| *wd == watch);
                    if let (Some((_, directory)), Some(name)) = (directory, event.file_name()) {
                        let name = OsString::from_vec(name.to_bytes().to_vec());
                        arrived.names.push((directory.clone(), name));
                    }
                    if reader.is_buffer_empty() {
                        return Ok(arrived);
                    }
                }
                Err(Errno::AGAIN) => return Ok(arrived),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

//! The way into the queue: durable, or not at all.
//!
//! A message gathers in an [`Incoming`]: in memory while it is small, in a file in `tmp/` from
//! [`MEMORY_MAX`] on. Committed to the [`Spool`], it is written, synced, renamed into `new/`, and
//! the directory synced; only then is its answer given. Two threads do this for everybody: one
//! writes, the other takes what was written while it worked as the next group, and a group shares
//! its syncs.
//!
//! When a sync fails, the whole group fails and its files are unlinked; when one file cannot be
//! written or renamed, only that one does. Nothing that failed stays in `new/`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::maildir::{FILE_MODE, Maildir};
use super::name::{Namer, Origin, QueueName, Ticket};
use crate::logging::Rarely;
use crate::timestamp::Timestamp;

/// Bytes of a message kept in memory before it goes to a file.
pub const MEMORY_MAX: usize = 64 * 1024;

/// Most messages that share one sync.
const GROUP_MAX: usize = 512;

/// From this many files on, one sync of the file system is cheaper than one of each file.
const SYNC_TOGETHER: usize = 4;

/// Why a message could not be kept. Nothing of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolError {
    /// No room on the file system, or a quota.
    Full,
    /// Any other failure of the file system.
    Failed(io::ErrorKind),
}

impl From<&io::Error> for SpoolError {
    fn from(error: &io::Error) -> SpoolError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SpoolError::Full,
            kind => SpoolError::Failed(kind),
        }
    }
}

/// A message on its way into the queue. Dropped before it is committed, it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    spool: Arc<Shared>,
    buffer: Vec<u8>,
    file: Option<(File, PathBuf)>,
    received_at: Timestamp,
    origin: Option<Origin>,
    modified: Option<SystemTime>,
    error: Option<io::Error>,
    /// It was too large for memory.
    streamed: bool,
}

impl Incoming {
    /// Appends bytes; true when the buffer is full and [`Incoming::flush`] is due.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if self.error.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
        self.buffer.len() >= MEMORY_MAX
    }

    /// Writes the buffer to the file in `tmp/`; blocks on the disk. An error stays with the
    /// message and comes out as the answer to its commit.
    pub fn flush(&mut self) {
        self.streamed = true;
        self.write_buffer();
        // A message that is slow in coming holds no memory meanwhile.
        self.buffer = Vec::new();
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Whether some of it is in `tmp/`, so that dropping it waits for the disk.
    pub fn is_in_file(&self) -> bool {
        self.file.is_some()
    }

    fn write_buffer(&mut self) {
        if self.error.is_none()
            && let Err(error) = self.write_out()
        {
            self.error = Some(error);
        }
        self.buffer.clear();
    }

    /// What the old name of an imported file said; it goes into the new name.
    pub fn set_origin(&mut self, origin: Option<Origin>) {
        self.origin = origin;
    }

    /// The modification time the queue file gets: for a file without an envelope it is the time
    /// of its record.
    pub fn set_modified(&mut self, at: SystemTime) {
        self.modified = Some(at);
    }

    fn write_out(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let name = format!("{}{}", self.spool.prefix, self.spool.namer.temporary());
            let path = self.spool.maildir.tmp().join(name);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&path)?;
            self.file = Some((file, path));
        }
        if let Some((file, _)) = &mut self.file {
            file.write_all(&self.buffer)?;
        }
        Ok(())
    }

    /// Writes what is left and readies the file for its sync.
    fn complete(&mut self) -> io::Result<()> {
        self.write_buffer();
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if let (Some((file, _)), Some(at)) = (&self.file, self.modified) {
            file.set_modified(at)?;
        }
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.file {
            // Renamed away it is gone already; otherwise nothing of it may stay.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Called once with what became of a message: its ticket, or why it was not kept.
pub type Answer = Box<dyn FnOnce(Result<Ticket, SpoolError>) + Send>;

#[derive(Debug)]
struct Shared {
    maildir: Maildir,
    namer: Namer,
    prefix: &'static str,
}

/// The threads that make messages durable.
#[derive(Debug)]
pub struct Spool {
    handle: Handle,
    threads: [JoinHandle<()>; 2],
}

/// The way to hand the threads messages. They end when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    work: Sender<(Incoming, Answer)>,
}

impl Spool {
    /// Starts the threads.
    pub fn start(maildir: Maildir) -> io::Result<Spool> {
        Spool::start_with_prefix(maildir, "")
    }

    /// Starts the threads for an import: its files in `tmp/` bear `import.` before their names,
    /// so that a receiver that starts meanwhile spares them.
    pub fn start_import(maildir: Maildir) -> io::Result<Spool> {
        Spool::start_with_prefix(maildir, "import.")
    }

    fn start_with_prefix(maildir: Maildir, prefix: &'static str) -> io::Result<Spool> {
        let shared = Arc::new(Shared {
            maildir,
            namer: Namer::new(),
            prefix,
        });
        // Unbounded here, bounded by its users: a session or import waits for the answer.
        let (work, jobs) = unbounded();
        let (members, written) = unbounded();
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.into()).spawn(work)
        };
        let owned = Arc::clone(&shared);
        let writer = spawn(
            "spool-write",
            Box::new(move || write_all(&owned, &jobs, &members)),
        )?;
        let owned = Arc::clone(&shared);
        let committer = spawn(
            "spool-commit",
            Box::new(move || commit_all(&owned, &written)),
        )?;
        Ok(Spool {
            handle: Handle { shared, work },
            threads: [writer, committer],
        })
    }

    /// A way to hand messages over.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until every handle is gone and what they handed over is finished.
    pub fn finish(self) {
        drop(self.handle);
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// A message to be filled, received at `at`.
    pub fn incoming(&self, at: Timestamp) -> Incoming {
        Incoming {
            spool: Arc::clone(&self.shared),
            buffer: Vec::new(),
            file: None,
            received_at: at,
            origin: None,
            modified: None,
            error: None,
            streamed: false,
        }
    }

    /// Hands a message over to be made durable; never blocks. `answer` is called from a
    /// thread of the spool.
    pub fn commit(&self, message: Incoming, answer: Answer) {
        if let Err(refused) = self.work.send((message, answer)) {
            let (_, answer) = refused.into_inner();
            answer(Err(SpoolError::Failed(io::ErrorKind::BrokenPipe)));
        }
    }
}

/// One message of a group, with the name it gets.
struct Member {
    message: Incoming,
    answer: Answer,
    name: QueueName,
    ticket: Ticket,
}

/// The first thread: writes each message as it comes, while the second syncs those before it.
fn write_all(shared: &Shared, jobs: &Receiver<(Incoming, Answer)>, written: &Sender<Member>) {
    let mut failed = Rarely::default();
    for (message, answer) in jobs {
        if let Some(member) = write(shared, message, answer, &mut failed)
            && written.send(member).is_err()
        {
            return;
        }
    }
}

/// The second thread: makes what was written meanwhile durable, a group at a time.
fn commit_all(shared: &Shared, written: &Receiver<Member>) {
    let mut failed = Rarely::default();
    while let Ok(first) = written.recv() {
        let rest = written.try_iter().take(GROUP_MAX - 1);
        let group = std::iter::once(first).chain(rest).collect();
        commit(shared, group, &mut failed);
    }
}

/// Writes one message out in full and names it, or answers that it failed.
fn write(
    shared: &Shared,
    mut message: Incoming,
    answer: Answer,
    failed: &mut Rarely,
) -> Option<Member> {
    let named = message.complete().and_then(|()| {
        let (file, _) = message.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let inode = file.metadata()?.ino();
        let origin = message.origin.as_ref();
        Ok(shared.namer.fresh(message.received_at, inode, origin))
    });
    match named {
        Ok((name, ticket)) => Some(Member {
            message,
            answer,
            name,
            ticket,
        }),
        Err(error) => {
            say_failed(1, &error, failed);
            drop(message);
            answer(Err(SpoolError::from(&error)));
            None
        }
    }
}

/// Makes a written group durable and answers each of it.
fn commit(shared: &Shared, mut group: Vec<Member>, failed: &mut Rarely) {
    crate::crash::point("spool-written");
    let kept = sync_files(&group).and_then(|()| {
        crate::crash::point("spool-synced");
        name(shared, &group)
    });
    let renamed = match kept {
        Ok(renamed) => renamed,
        Err(error) => return refuse(group, &error, failed),
    };
    crate::crash::point("spool-durable");
    for (member, renamed) in group.drain(..).zip(renamed) {
        let result = renamed.map_err(|error| {
            say_failed(1, &error, failed);
            SpoolError::from(&error)
        });
        let mut message = member.message;
        if result.is_ok() {
            message.file = None;
        }
        drop(message);
        (member.answer)(result.map(|()| member.ticket));
    }
}

/// Renames a group into `new/` and syncs the directory: what became of each, or nothing of any.
fn name(shared: &Shared, group: &[Member]) -> io::Result<Vec<io::Result<()>>> {
    // Opened for this group: renames go into, and the sync goes to, the directory that bears
    // the name now, even when the analyzer puts a fresh one in its place meanwhile.
    let directory = open_directory(shared)?;
    crate::crash::point("spool-directory-opened");
    let mut renamed: Vec<io::Result<()>> = group
        .iter()
        .map(|member| rename(member, &directory))
        .collect();
    let mut directories = vec![directory];
    let mut named = || -> io::Result<()> {
        if renamed.iter().any(is_gone) {
            // The directory was renewed and removed since: its successor takes the rest.
            let fresh = open_directory(shared)?;
            for (member, renamed) in group.iter().zip(&mut renamed) {
                if is_gone(renamed) {
                    *renamed = rename(member, &fresh);
                }
            }
            directories.push(fresh);
        }
        crate::crash::point("spool-renamed");
        Ok(directories.iter().try_for_each(rustix::fs::fsync)?)
    };
    if let Err(error) = named() {
        for directory in &directories {
            for member in group {
                let name = member.name.as_str();
                let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
            }
        }
        return Err(error);
    }
    Ok(renamed)
}

fn sync_files(group: &[Member]) -> io::Result<()> {
    let files = group.iter().filter_map(|m| m.message.file.as_ref());
    if group.len() >= SYNC_TOGETHER
        && let Some((file, _)) = files.clone().next()
    {
        rustix::fs::syncfs(file)?;
        // An error in writing back a file that was streamed for long may have been told to an
        // earlier group's sync; its own descriptor has not heard of it yet.
        let streamed = group.iter().filter(|member| member.message.streamed);
        let mut streamed = streamed.filter_map(|m| m.message.file.as_ref());
        return streamed.try_for_each(|(file, _)| file.sync_all());
    }
    files.map(|(file, _)| file).try_for_each(File::sync_all)
}

fn open_directory(shared: &Shared) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(
        shared.maildir.new_mail(),
        flags,
        Mode::empty(),
    )?)
}

/// Whether a rename failed because its directory is no more.
fn is_gone(renamed: &io::Result<()>) -> bool {
    matches!(renamed, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

fn rename(member: &Member, directory: &OwnedFd) -> io::Result<()> {
    let Some((_, path)) = &member.message.file else {
        return Err(io::ErrorKind::NotFound.into());
    };
    rustix::fs::renameat(rustix::fs::CWD, path, directory, member.name.as_str())?;
    Ok(())
}

fn refuse(group: Vec<Member>, error: &io::Error, failed: &mut Rarely) {
    say_failed(group.len(), error, failed);
    for member in group {
        drop(member.message);
        (member.answer)(Err(SpoolError::from(error)));
    }
}

fn say_failed(messages: usize, error: &io::Error, failed: &mut Rarely) {
    if let Some(held_back) = failed.now() {
        log::error!(
            "event=spool.failed messages={messages} error=\"{error}\" held_back={held_back}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_was_answered_lies_in_new_byte_for_byte() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(scratch.path()).unwrap();
        let spool = Spool::start(maildir.clone()).unwrap();
        let (sender, answers) = mpsc::channel();
        for size in [0, 1, MEMORY_MAX, 3 * MEMORY_MAX + 7] {
            let mut message = spool.handle().incoming(Timestamp::now());
            for chunk in vec![b'x'; size].chunks(1000) {
                if message.push(chunk) {
                    message.flush();
                }
            }
            let sender = sender.clone();
            spool.handle().commit(
                message,
                Box::new(move |answer| sender.send(answer).unwrap()),
            );
        }
        spool.finish();
        assert_eq!(answers.try_iter().filter(Result::is_ok).count(), 4);
        let mut sizes: Vec<u64> = std::fs::read_dir(maildir.new_mail())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [0, 1, 65_536, 196_615]);
        assert_eq!(std::fs::read_dir(maildir.tmp()).unwrap().count(), 0);
    }

    #[test]
    fn a_message_given_up_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(scratch.path()).unwrap();
        let spool = Spool::start(maildir.clone()).unwrap();
        let mut message = spool.handle().incoming(Timestamp::now());
        let _ = message.push(b"half a mess");
        message.flush();
        assert_eq!(std::fs::read_dir(maildir.tmp()).unwrap().count(), 1);
        drop(message);
        assert_eq!(std::fs::read_dir(maildir.tmp()).unwrap().count(), 0);
        spool.finish();
    }
}

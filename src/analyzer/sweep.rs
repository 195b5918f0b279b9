//! The sweep: the files of a committed batch leave the queue, beside the work on the next batch.
//!
//! One batch at a time: [`Sweep::begin`] hands it over, [`Sweep::finish`] waits until its files are
//! unlinked and their directories synced. What failed can be repeated. A mail that a mail tool moved
//! from `new/` to `cur/` while it was in work is unlinked there.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::crash;
use crate::queue::maildir::{named, sync_directory};
use crate::queue::{Claim, Form, Maildir, QueueName};

/// A batch's files, and whether all of them are gone.
type Swept = (Vec<Claim>, io::Result<()>);

/// The thread that unlinks.
pub struct Sweep {
    batches: Sender<Vec<Claim>>,
    swept: Receiver<Swept>,
    under_way: bool,
}

impl Sweep {
    /// Starts the thread; it ends with this value.
    pub fn start(maildir: Maildir) -> io::Result<Sweep> {
        let (batches, work) = bounded::<Vec<Claim>>(1);
        let (done, swept) = bounded(1);
        std::thread::Builder::new()
            .name("sweep".into())
            .spawn(move || {
                for claims in work {
                    let result = unlink(&maildir, &claims);
                    if done.send((claims, result)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Sweep {
            batches,
            swept,
            under_way: false,
        })
    }

    /// Begins with a batch; the one before is finished.
    pub fn begin(&mut self, claims: Vec<Claim>) {
        self.under_way = self.batches.send(claims).is_ok();
    }

    /// Waits for the batch that was begun, if one was.
    pub fn finish(&mut self) -> Option<Swept> {
        if !self.under_way {
            return None;
        }
        self.under_way = false;
        self.swept.recv().ok()
    }
}

/// Unlinks the files of a committed batch, and makes that durable.
pub fn unlink(maildir: &Maildir, claims: &[Claim]) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    let mut missing = Vec::new();
    for (done, claim) in claims.iter().enumerate() {
        match fs::remove_file(&claim.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(&claim.name),
            // Whoever may write to the queue has put a directory in its place.
            Err(_) if is_directory(&claim.path) => missing.push(&claim.name),
            Err(error) => return Err(named(&claim.path, &error)),
        }
        if done == 0 {
            crash::point("batch-half-unlinked");
        }
        directories.extend(claim.path.parent().map(Path::to_owned));
    }
    if unlink_moved(maildir, &missing)? > 0 {
        directories.insert(maildir.cur());
    }
    crash::point("batch-unlinked");
    directories
        .iter()
        .try_for_each(|path| sync_directory(path))?;
    crash::point("batch-settled");
    Ok(())
}

/// Unlinks those of these mails that a mail tool moved to `cur/` meanwhile; returns how many.
pub fn unlink_moved(maildir: &Maildir, names: &[&QueueName]) -> io::Result<usize> {
    if names.is_empty() {
        return Ok(0);
    }
    let names: HashSet<&str> = names.iter().map(|name| name.unique()).collect();
    let mut unlinked = 0;
    for (name, path) in maildir.flagged()? {
        if names.contains(name.unique()) && is_itself(&name, &path) {
            fs::remove_file(&path).map_err(|error| named(&path, &error))?;
            unlinked += 1;
        }
    }
    Ok(unlinked)
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

/// Whether the file is the one that was given this name, by its inode.
pub fn is_itself(name: &QueueName, path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(
        |metadata| matches!(name.form(), Form::Own { inode, .. } if inode == metadata.ino()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Namer;
    use crate::timestamp::Timestamp;

    #[test]
    fn a_directory_in_the_place_of_a_mail_holds_nothing_up() {
        let scratch = tempfile::tempdir().unwrap();
        let maildir = Maildir::open(scratch.path()).unwrap();
        let (name, _) = Namer::new().fresh(Timestamp::now(), 1, None);
        let claim = Claim {
            path: maildir.new_mail().join(name.as_str()),
            name,
            origin: None,
            alone: false,
            killer: false,
        };
        fs::create_dir(&claim.path).unwrap();
        unlink(&maildir, std::slice::from_ref(&claim)).unwrap();
        assert!(claim.path.is_dir());
    }
}

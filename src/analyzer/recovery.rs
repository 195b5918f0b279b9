//! After a death: files that were counted and not yet unlinked leave the queue unread.
//!
//! The window store lists the names of the last batch's files. Those still in the queue are
//! unlinked, their directories synced, and the names forgotten, before anything is claimed. A
//! listed name that another file bears now (told by the inode in the name) stays.
//!
//! All that only while the store is bound to this queue. Names of another queue's files are not
//! ours to forget: their analyzer would count them again. A window store that was set back from a
//! backup may have open what the main store has; see [`is_set_back`].

use std::fs;
use std::io;

use super::patience::{GaveUp, Patience};
use super::sweep::{is_itself, unlink_moved};
use crate::crash;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::queue::maildir::{named, sync_directory};
use crate::queue::{Maildir, QueueName};
use crate::store::{Engine, WindowStore};

/// Takes the counted files out of the queue; returns how many there were.
pub fn recover(
    maildir: &Maildir,
    store: &mut dyn WindowStore,
    patience: &Patience,
) -> Result<usize, GaveUp> {
    let counted = patience.until("database", || store.counted_files())?;
    bind(maildir, store, counted.len(), patience)?;
    let unlinked = patience.until("queue", || unlink(maildir, &counted))?;
    crash::point("recovery-unlinked");
    if !counted.is_empty() {
        patience.until("database", || store.forget_files())?;
    }
    Ok(unlinked)
}

/// Whether the open window is in the main store already: then the window store was set back from
/// a backup of an earlier moment. What it holds of the window is counted, and what comes now must
/// not go into it, for a window is taken in once.
pub fn is_set_back(stores: &dyn Engine, open: u64, patience: &Patience) -> Result<bool, GaveUp> {
    patience.until("database", || {
        let key = stores.windows()?.key(open)?;
        stores.main()?.is_taken(&key)
    })
}

/// Binds the store to this queue. From another one only where no name would be lost.
fn bind(
    maildir: &Maildir,
    store: &mut dyn WindowStore,
    counted: usize,
    patience: &Patience,
) -> Result<(), GaveUp> {
    let queue = patience.until("queue", || maildir.id())?;
    let bound = patience.until("database", || store.bound_to())?;
    if let Some(other) = bound.filter(|bound| *bound != queue) {
        if counted > 0 {
            let message = format!(
                "the window store belongs to another queue (its .queue.id is {other}) and lists \
                 {counted} files of it as counted; start the analyzer of that queue, which \
                 removes them, or give this one a window store of its own ([database] tempdb or \
                 path). If that queue is gone for good, delete the rows of the table queue_files"
            );
            return Err(GaveUp::TooLong(Failure::new(Exit::Unavailable, message)));
        }
        let other = escape::value(&other);
        log::warn!("event=database.rebound queue={queue} before={other}");
    }
    patience.until("database", || store.bind(&queue))
}

fn unlink(maildir: &Maildir, counted: &[QueueName]) -> io::Result<usize> {
    let names: Vec<&QueueName> = counted.iter().collect();
    let mut unlinked = unlink_moved(maildir, &names)?;
    for directory in [maildir.new_mail(), maildir.cur(), maildir.root().to_owned()] {
        for name in counted {
            let path = directory.join(name.as_str());
            if is_itself(name, &path) {
                fs::remove_file(&path).map_err(|error| named(&path, &error))?;
                unlinked += 1;
            }
        }
        if !counted.is_empty() {
            sync_directory(&directory)?;
        }
    }
    Ok(unlinked)
}

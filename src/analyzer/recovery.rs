//! After a death: files that were counted and not yet unlinked leave the queue unread.
//!
//! The window store lists the names of the last batch's files. Those still in the queue are
//! unlinked, their directories synced, and the names forgotten, before anything is claimed. A
//! listed name that another file bears now (told by the inode in the name) stays.

use std::fs;
use std::io;

use super::patience::{GaveUp, Patience};
use super::sweep::{is_itself, unlink_moved};
use crate::crash;
use crate::queue::maildir::sync_directory;
use crate::queue::{Maildir, QueueName};
use crate::store::WindowStore;

/// Takes the counted files out of the queue; returns how many there were.
pub fn recover(
    maildir: &Maildir,
    store: &mut dyn WindowStore,
    patience: &Patience,
) -> Result<usize, GaveUp> {
    let counted = patience.until("database", || store.counted_files())?;
    let unlinked = patience.until("queue", || unlink(maildir, &counted))?;
    crash::point("recovery-unlinked");
    if !counted.is_empty() {
        patience.until("database", || store.forget_files())?;
    }
    Ok(unlinked)
}

fn unlink(maildir: &Maildir, counted: &[QueueName]) -> io::Result<usize> {
    let names: Vec<&QueueName> = counted.iter().collect();
    let mut unlinked = unlink_moved(maildir, &names)?;
    for directory in [maildir.new_mail(), maildir.cur(), maildir.root().to_owned()] {
        for name in counted {
            let path = directory.join(name.as_str());
            if is_itself(name, &path) {
                fs::remove_file(&path)?;
                unlinked += 1;
            }
        }
        if !counted.is_empty() {
            sync_directory(&directory)?;
        }
    }
    Ok(unlinked)
}

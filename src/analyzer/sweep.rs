//! The sweep: the files of a committed batch leave the queue, beside the work on the next batch.
//!
//! One batch at a time: [`Sweep::begin`] hands it over, [`Sweep::finish`] waits until its files are
//! unlinked and their directories synced. What failed can be repeated.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::crash;
use crate::queue::Claim;
use crate::queue::maildir::sync_directory;

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
    pub fn start() -> io::Result<Sweep> {
        let (batches, work) = bounded::<Vec<Claim>>(1);
        let (done, swept) = bounded(1);
        std::thread::Builder::new()
            .name("sweep".into())
            .spawn(move || {
                for claims in work {
                    let result = unlink(&claims);
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
pub fn unlink(claims: &[Claim]) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for (done, claim) in claims.iter().enumerate() {
        match fs::remove_file(&claim.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if done == 0 {
            crash::point("batch-half-unlinked");
        }
        directories.extend(claim.path.parent());
    }
    crash::point("batch-unlinked");
    directories.into_iter().try_for_each(sync_directory)?;
    crash::point("batch-settled");
    Ok(())
}

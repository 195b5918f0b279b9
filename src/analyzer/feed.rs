//! The intake's thread: hands claims to the workers and hears from the ledger what became of them.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::ledger::Settled;
use super::patience::{GaveUp, Patience};
use crate::exit::{Exit, Failure};
use crate::queue::{Claim, Intake, Maildir};

/// Claims handed to a worker at once.
const CHUNK: usize = 64;

/// How long the intake waits for files.
const CLAIM_WAIT: Duration = Duration::from_millis(100);

/// Opens the intake; waits for what can be waited for. Another analyzer that has the queue is a
/// failure.
pub(super) fn open(maildir: &Maildir, patience: &Patience) -> Result<Intake, GaveUp> {
    let opened = patience.until("queue", || match Intake::open(maildir.clone()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other.map(Some),
    })?;
    opened.ok_or_else(|| {
        let message = format!(
            "another analyzer has the queue {}; stop it (systemctl stop shiva-analyzer), or give \
             this one a queuepath of its own",
            maildir.root().display()
        );
        GaveUp::TooLong(Failure::new(Exit::Unavailable, message))
    })
}

/// The intake's thread: claims files and hears what became of them.
///
/// When it stops claiming it lets the workers end, and goes on to hear until the ledger has: what
/// was done must leave the list of what is in work.
pub(super) fn run(
    mut intake: Intake,
    once: bool,
    patience: &Patience,
    claims: Sender<Vec<Claim>>,
    back: &Receiver<Settled>,
) -> Result<(), GaveUp> {
    let fed = claim_all(&mut intake, once, patience, &claims, back);
    drop(claims);
    for settled in back {
        // Nothing to wait for any more: at worst some are tried alone at the next start.
        if let Err(error) = settle(&mut intake, &settled) {
            log::warn!("event=queue.list_not_kept reason=\"{error}\"");
            break;
        }
    }
    fed
}

fn claim_all(
    intake: &mut Intake,
    once: bool,
    patience: &Patience,
    claims: &Sender<Vec<Claim>>,
    back: &Receiver<Settled>,
) -> Result<(), GaveUp> {
    let mut stuck_since: Option<Instant> = None;
    loop {
        for settled in back.try_iter() {
            let postponed = matches!(&settled, Settled::Postponed(_));
            patience.until("queue", || settle(intake, &settled))?;
            if postponed {
                stuck_since.get_or_insert_with(Instant::now);
            } else if !matches!(&settled, Settled::Done(files) if files.is_empty()) {
                stuck_since = None;
            }
        }
        if let (Some(limit), Some(since)) = (patience.limit(), stuck_since)
            && since.elapsed() >= limit
        {
            let message = "a file of the queue cannot be read (the log says which); all is kept";
            return Err(GaveUp::TooLong(Failure::new(Exit::Unavailable, message)));
        }
        if patience.is_stopped() {
            return Ok(());
        }
        let found = patience.until("queue", || intake.claim(CHUNK, CLAIM_WAIT))?;
        if !found.is_empty() {
            if claims.send(found).is_err() {
                return Ok(()); // the workers are gone
            }
        } else if once && patience.until("queue", || intake.is_drained())? {
            return Ok(());
        } else {
            std::thread::yield_now();
        }
    }
}

fn settle(intake: &mut Intake, settled: &Settled) -> io::Result<()> {
    match settled {
        Settled::Done(files) => intake.done(files),
        Settled::Undone(files) => intake.release(files),
        Settled::Postponed(files) => intake.postpone(files),
    }
}

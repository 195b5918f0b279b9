//! The queue: where a message lies between the receiver's 250 and the analyzer's commit.
//!
//! A maildir. [`spool`] is the way in: it makes a message durable before anybody answers 250.
//! [`intake`] is the way out: it names what is there to the analyzer, each file once.
//! [`name`] gives the names, [`maildir`] the directories. Beside the way out: `watch` (inotify),
//! `work` (what is in work, for the mail that kills the process), `renewal` (a directory that has
//! grown).

pub mod intake;
pub mod maildir;
pub mod name;
mod renewal;
pub mod spool;
mod watch;
mod work;

pub use intake::{Claim, Intake};
pub use maildir::Maildir;
pub use name::{Form, Namer, Origin, QueueName, Ticket};
pub use spool::{Incoming, Spool, SpoolError};

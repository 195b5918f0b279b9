//! A message that is coming in: its bytes on their way to the spool, and what is told of it.
//!
//! Nothing here waits for the disk on the thread that serves sessions: what finds no room in memory
//! is written by another thread, and so is removed what was given up.

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::session_log::Mail;
use crate::envelope::Envelope;
use crate::queue::spool::{Handle, MEMORY_MAX, SpoolError};
use crate::queue::{Incoming, Ticket};

/// Bytes of names beyond which an envelope is not written by the thread of all sessions. What is
/// less fits into memory as a line.
const LARGE: usize = MEMORY_MAX / 8;

/// A message. Dropped before it is committed, it leaves nothing.
pub struct Message {
    /// What is told of it.
    pub mail: Mail,
    /// None where a thread that wrote to it has died.
    incoming: Option<Incoming>,
}

impl Message {
    /// A message of which there is nothing but the envelope. One with thousands of recipients is
    /// written by another thread, and to the disk: it is long work, and takes up to six times the
    /// room that they have taken.
    pub async fn begin(mut incoming: Incoming, envelope: Envelope, mail: Mail) -> Message {
        let names = [&envelope.helo, &envelope.mail_from];
        let names = names
            .into_iter()
            .chain(&envelope.user)
            .chain(&envelope.rcpt_to);
        let size: usize = names.map(String::len).sum();
        let begin = move || {
            if incoming.push(&envelope.header_line()) {
                incoming.flush();
            }
            incoming
        };
        let incoming = match size > LARGE {
            true => spawn_blocking(begin).await.ok(),
            false => Some(begin()),
        };
        Message { mail, incoming }
    }

    /// Takes content; where there is no memory it goes to the disk at once.
    pub async fn content(&mut self, bytes: &[u8], is_memory_full: bool) {
        self.mail.size += bytes.len() as u64;
        if let Some(mut incoming) = self.incoming.take() {
            self.incoming = match incoming.push(bytes) || is_memory_full {
                true => flushed(incoming).await,
                false => Some(incoming),
            };
        }
    }

    /// Bytes of memory that it holds.
    pub fn held(&self) -> usize {
        self.mail.held() + self.incoming.as_ref().map_or(0, Incoming::held)
    }

    /// Hands it to the spool and waits until it is durable; nothing when no answer ever comes.
    pub async fn commit(&mut self, spool: &Handle) -> Option<Result<Ticket, SpoolError>> {
        let (answer, answered) = oneshot::channel();
        let answer = Box::new(move |result| drop(answer.send(result)));
        spool.commit(self.incoming.take()?, answer);
        answered.await.ok()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let incoming = self.incoming.take();
        if let Some(incoming) = incoming.filter(Incoming::is_in_file)
            && let Ok(runtime) = runtime::Handle::try_current()
        {
            // Not done at a stop, it is done where it is dropped.
            drop(runtime.spawn_blocking(move || drop(incoming)));
        }
    }
}

/// Writes a message's full buffer out.
async fn flushed(mut incoming: Incoming) -> Option<Incoming> {
    let flush = move || {
        incoming.flush();
        incoming
    };
    spawn_blocking(flush).await.ok()
}

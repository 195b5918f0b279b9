//! The thread that reads what the broker sends, for as long as the program runs.
//!
//! A broker gives up on who reads too slowly, so this thread does nothing else: what it reads goes
//! into a queue. When the queue is full it stops reading, and says so. A connection that was lost is
//! made again ([`Backoff`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{Offered, Queue};
use super::stop::Stop;
use super::{LOOK_EVERY, say};
use crate::hpfeeds::{Backoff, Broker, Connection, Fault, Message};

/// Bytes of messages that may wait to be worked on.
pub(super) const QUEUE_MAX: usize = 64 << 20;

/// What a message costs in memory beside its payload, roughly.
const MESSAGE: usize = 256;

/// A connection that has held for so long is a good one.
const HELD: Duration = Duration::from_secs(60);

/// The thread's work.
pub(super) struct Listener {
    pub(super) broker: Broker,
    pub(super) channels: Vec<String>,
    pub(super) queue: Arc<Queue<Message>>,
    pub(super) stop: Stop,
}

impl Listener {
    /// Listens until it is to stop.
    pub(super) fn run(self) {
        let mut backoff = Backoff::random();
        while let Err(fault) = self.listen(&mut backoff) {
            let pause = backoff.pause(&fault);
            let seconds = pause.as_secs().max(1);
            say(&format!("{fault}; the next try is in {seconds} seconds"));
            if !self.stop.sleep(pause) {
                break;
            }
        }
        self.queue.close();
    }

    /// Listens on one connection; returns when it is to stop.
    fn listen(&self, backoff: &mut Backoff) -> Result<(), Fault> {
        let mut connection = Connection::open(&self.broker)?;
        for channel in &self.channels {
            connection.subscribe(channel)?;
        }
        let (address, channels) = (self.broker.address(), self.channels.join(", "));
        say(&format!("connected to {address}; subscribed to {channels}"));
        let since = Instant::now();
        while !self.stop.is_set() {
            match connection.next(LOOK_EVERY)? {
                Some(message) => {
                    backoff.worked();
                    self.hand_over(message);
                }
                None if since.elapsed() >= HELD => backoff.worked(),
                None => {}
            }
        }
        Ok(())
    }

    /// Puts a message into the queue, however long that takes.
    fn hand_over(&self, message: Message) {
        let bytes = message.payload.len() + MESSAGE;
        let mut offered = self.queue.offer(message, bytes, LOOK_EVERY);
        if matches!(offered, Offered::Full(_)) {
            say(
                "what was received cannot be worked on as fast as it comes, and memory for it is \
                 used up: nothing is read for now, and the broker may cut the connection",
            );
        }
        while let Offered::Full(message) = offered {
            if self.stop.is_set() {
                return;
            }
            offered = self.queue.offer(message, bytes, LOOK_EVERY);
        }
    }
}

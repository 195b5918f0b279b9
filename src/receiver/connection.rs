//! One connection: the socket around an SMTP session.
//!
//! Reads bytes, lets [`Session`] decide, and does what it says. Replies are written when the
//! session wants input, so that those to pipelined commands go together. A message's bytes go to a
//! [`Message`] and never stay here; 250 is sent when the spool says that it is durable.

use std::io::{self, Error, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::guests::Guest;
use super::limits::Doing;
use super::message::Message;
use super::party::{Party, Protocol};
use super::session_log::{self, Closed, Event, Mail};
use super::shared::{Settings, Shared};
use super::stream::Stream;
use super::tls;
use crate::queue::Ticket;
use crate::smtp::{Attempt, MessageId, Met, Outcome, Session, Step, Transaction};
use crate::timestamp::Timestamp;

/// How long a client may take to read a reply.
const WRITE: Duration = Duration::from_secs(60);

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// Serves one client until either side ends it.
pub async fn serve(
    stream: TcpStream,
    party: Party,
    guest: Guest,
    settings: Arc<Settings>,
    shared: &Shared,
) {
    let _ = stream.set_nodelay(true);
    shared.counters.session();
    shared.log.record(&party, &Event::Connect);
    let now = Instant::now();
    let mut connection = Connection {
        stream: Stream::Plain(stream),
        session: Session::new(Arc::clone(&settings.profile), party.client()),
        settings,
        shared,
        party,
        guest,
        message: None,
        totals: Closed::default(),
        encrypted: 0,
        began: now,
        doing: Doing::Greeting,
        progress: now,
    };
    if connection.party.protocol == Protocol::Smtps && !connection.handshake().await {
        return;
    }
    // A client that vanishes is no event for the log: there are thousands.
    let _ = connection.run().await;
    let _ = timeout(WRITE, connection.stream.close()).await;
}

struct Connection<'a> {
    stream: Stream,
    session: Session,
    settings: Arc<Settings>,
    shared: &'a Shared,
    party: Party,
    guest: Guest,
    message: Option<Message>,
    totals: Closed,
    /// Bytes that TLS costs.
    encrypted: usize,
    began: Instant,
    /// What the client is at, and since when: since it was last answered.
    doing: Doing,
    progress: Instant,
}

/// However it ends, cut off at a stop, too.
impl Drop for Connection<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.session.broken_off() {
            self.attempt(&attempt);
        }
        self.record(&Event::Closed(Closed {
            duration: self.began.elapsed(),
            ..self.totals
        }));
    }
}

impl Connection<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; READ];
        loop {
            self.take_stock();
            self.write_replies().await?;
            let read = match self.read(&mut buffer).await {
                Wait::Bytes(0) => return Ok(()),
                Wait::Bytes(read) => read,
                Wait::Over => return self.write_replies().await,
            };
            if let Doing::Message(bytes) = &mut self.doing {
                *bytes += read as u64;
            }
            let held = self.guest.memory();
            let shortage = self.shared.shortage(&self.settings.limits, held);
            self.session.set_shortage(shortage);
            if !self.take(buffer.get(..read).unwrap_or_default()).await? {
                return self.write_replies().await;
            }
        }
    }

    /// Does what the session makes of the input; false when the connection is to be closed.
    async fn take(&mut self, mut input: &[u8]) -> io::Result<bool> {
        loop {
            let (used, step) = self.session.step(input);
            input = input.get(used..).unwrap_or_default();
            self.hear();
            match step {
                Step::Read => return Ok(true),
                Step::Attempt(attempt) => self.attempt(&attempt),
                Step::Begin(transaction) => self.begin(transaction).await,
                Step::Content(bytes) => self.content(bytes).await,
                Step::Abandon => self.abandon(),
                Step::Reset => self.message = None,
                Step::End => {
                    let outcome = self.commit().await;
                    self.session.finish(outcome);
                }
                Step::StartTls => {
                    self.message = None;
                    self.write_replies().await?;
                    return Ok(self.handshake().await);
                }
                Step::Close => {
                    self.take_stock();
                    return Ok(false);
                }
            }
        }
    }

    /// Encrypts the connection, or ends it.
    async fn handshake(&mut self) -> bool {
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return false;
        };
        self.encrypted = tls::SESSION_BYTES;
        self.take_stock();
        let limits = &self.settings.limits;
        let patience = limits.patience(self.doing, self.progress.elapsed());
        let give_up = give_up(patience, self.shared.stopping.clone());
        let (seen, stream) = tls::handshake(&self.settings.tls.acceptor, stream, give_up).await;
        self.shared.counters.handshake(stream.is_ok());
        if let Err(error) = &stream
            && error.kind() == ErrorKind::TimedOut
        {
            self.shared.counters.timed_out();
        }
        self.record(&Event::Tls(&seen));
        let (Ok(stream), Some(version)) = (stream, seen.version) else {
            return false;
        };
        self.stream = Stream::Tls(Box::new(stream));
        self.session.tls(version);
        if self.doing == Doing::Command {
            self.progress = Instant::now();
        }
        true
    }

    /// Between two reads: what the client is at, what the session holds, which limits it met.
    fn take_stock(&mut self) {
        let is_answered = self.totals.commands > 0 && !self.session.output().is_empty();
        // Being greeted is no progress, and one more chunk of a message is no more time for it.
        if is_answered && self.message.is_none() {
            self.progress = Instant::now();
            self.doing = Doing::Command;
        }
        let message = self.message.as_ref().map_or(0, Message::held);
        self.guest
            .holds(self.session.held() + message + self.encrypted);
        let met = std::mem::take(self.session.met());
        if met != Met::default() {
            self.shared.counters.met(met);
        }
    }

    fn attempt(&mut self, attempt: &Attempt) {
        self.totals.logins += 1;
        self.shared.counters.login(attempt.accepted);
        self.record(&Event::Login(attempt));
    }

    fn record(&self, event: &Event<'_>) {
        self.shared.log.record(&self.party, event);
    }

    /// Records the commands of the last step.
    fn hear(&mut self) {
        let heard = std::mem::take(self.session.heard());
        for line in heard.split_inclusive(|byte| *byte == b'\n') {
            self.totals.commands += 1;
            self.record(&Event::Command(line.strip_suffix(b"\n").unwrap_or(line)));
        }
    }

    /// Waits for input; over when the client was silent or slow too long, or the receiver stops and
    /// no transaction is open.
    async fn read(&mut self, buffer: &mut [u8]) -> Wait {
        let mut stopping = self.shared.stopping.clone();
        let limits = &self.settings.limits;
        let patience = limits.patience(self.doing, self.progress.elapsed());
        // The timer below is asked only where there is nothing to read.
        if patience.is_zero() {
            return self.time_is_up();
        }
        loop {
            if *stopping.borrow_and_update() && !self.session.in_transaction() {
                self.session.shutdown();
                return Wait::Over;
            }
            tokio::select! {
                biased;
                read = timeout(patience, self.stream.read(buffer)) => match read {
                    Ok(read) => return Wait::Bytes(read.unwrap_or(0)),
                    Err(_) => return self.time_is_up(),
                },
                changed = stopping.changed() => if changed.is_err() {
                    return Wait::Bytes(0);
                },
            }
        }
    }

    fn time_is_up(&mut self) -> Wait {
        self.shared.counters.timed_out();
        self.session.timeout();
        Wait::Over
    }

    async fn write_replies(&mut self) -> io::Result<()> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        let replies = std::mem::take(output);
        let written = timeout(WRITE, self.stream.write_all(&replies)).await;
        written.unwrap_or_else(|_| {
            self.shared.counters.timed_out();
            Err(ErrorKind::TimedOut.into())
        })
    }

    async fn begin(&mut self, transaction: Transaction) {
        let now = Timestamp::now();
        let mail = Mail::of(&transaction);
        let envelope = self.party.envelope(&self.shared.sensor, transaction, now);
        let incoming = self.shared.spool.incoming(now);
        self.message = Some(Message::begin(incoming, envelope, mail).await);
        self.progress = Instant::now();
        self.doing = Doing::Message(0);
    }

    async fn content(&mut self, bytes: &[u8]) {
        let is_memory_full = self.settings.limits.is_memory_full(self.guest.memory());
        if let Some(message) = &mut self.message {
            message.content(bytes, is_memory_full).await;
        }
    }

    /// The message is too big: nothing of it stays.
    fn abandon(&mut self) {
        if let Some(message) = self.message.take() {
            self.record(&Event::Mail(&message.mail, session_log::Outcome::TooBig));
        }
    }

    /// Waits until the message is durable.
    async fn commit(&mut self) -> Outcome {
        let Some(mut message) = self.message.take() else {
            return Outcome::Failed;
        };
        let (outcome, told) = match message.commit(&self.shared.spool).await {
            Some(Ok(Ticket { at, number })) => {
                self.totals.messages += 1;
                self.shared.counters.kept(message.mail.size);
                let id = MessageId { at, number };
                let queue_id = self.settings.profile.personality.queue_id(&id);
                let told = session_log::Outcome::Kept(&queue_id);
                self.record(&Event::Mail(&message.mail, told));
                return Outcome::Kept(id);
            }
            // Whatever the file system refuses may succeed later: 452 (promise 1).
            Some(Err(_)) => (Outcome::Full, session_log::Outcome::Full),
            None => (Outcome::Failed, session_log::Outcome::Failed),
        };
        self.shared.counters.not_kept();
        self.record(&Event::Mail(&message.mail, told));
        outcome
    }
}

/// Waits until a handshake has taken too long or the receiver stops, and says which.
async fn give_up(limit: Duration, mut stopping: watch::Receiver<bool>) -> Error {
    match timeout(limit, stopping.wait_for(|stopping| *stopping)).await {
        Ok(_) => Error::other("the receiver stops"),
        Err(_) => ErrorKind::TimedOut.into(),
    }
}

/// What came of waiting for input.
enum Wait {
    /// So many bytes; none when the client has ended.
    Bytes(usize),
    /// The session is over: the reply that says so is in its output.
    Over,
}

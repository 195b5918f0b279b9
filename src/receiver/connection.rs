//! One connection: the socket around an SMTP session.
//!
//! Reads bytes, lets [`Session`] decide, and does what it says. Replies are written when the
//! session wants input, so that those to pipelined commands go together. A message's bytes go to
//! an [`Incoming`] and never stay here; 250 is sent when the spool says that it is durable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::counters::Counters;
use crate::envelope::Envelope;
use crate::queue::spool::Handle;
use crate::queue::{Incoming, Ticket};
use crate::smtp::{Client, MessageId, Outcome, Profile, Session, Step, Transaction};
use crate::timestamp::Timestamp;

/// How long a client may be silent (RFC 5321 section 4.5.3.2.7).
const IDLE: Duration = Duration::from_secs(300);

/// How long a client may take over one command line, however it drips in.
const COMMAND: Duration = Duration::from_secs(600);

/// How long a client may take over one message.
const MESSAGE: Duration = Duration::from_secs(3600);

/// How long a client may take to read a reply.
const WRITE: Duration = Duration::from_secs(60);

/// Bytes read at once.
const READ: usize = 16 * 1024;

/// What connections share.
pub struct Shared {
    /// How the session presents itself, and its limits.
    pub profile: Arc<Profile>,
    /// The sensor's name.
    pub sensor: String,
    /// The way into the queue.
    pub spool: Handle,
    /// What was taken.
    pub counters: Counters,
    /// One permit for each session.
    pub sessions: Arc<Semaphore>,
    /// True when the receiver shuts down.
    pub stopping: watch::Receiver<bool>,
}

/// Serves one client until either side ends it.
pub async fn serve(stream: TcpStream, peer: SocketAddr, shared: &Shared) {
    let Ok(local) = stream.local_addr() else {
        return; // gone already
    };
    let _ = stream.set_nodelay(true);
    shared.counters.session();
    let mut connection = Connection {
        stream,
        session: Session::new(Arc::clone(&shared.profile), client(peer)),
        shared,
        peer,
        local,
        id: session_id(),
        incoming: None,
        size: 0,
        progress: Instant::now(),
    };
    // A client that vanishes is no event: there are thousands.
    let _ = connection.run().await;
}

/// What is known of a client that has just connected.
pub fn client(peer: SocketAddr) -> Client {
    Client {
        address: peer.ip().to_canonical(),
        connected_at: Timestamp::now(),
        nonce: nonce(),
    }
}

/// Random bits for one session.
fn nonce() -> u64 {
    let mut bytes = [0; 8];
    // Without entropy a challenge can be foreseen; it is bait, and nothing hangs on it.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

/// Names a session: time and counter, unique within a receiver's life and after.
fn session_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = Timestamp::now();
    let counter = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!(
        "{:x}{:05x}{:x}",
        now.seconds(),
        now.subsecond_micros(),
        counter
    )
}

struct Connection<'a> {
    stream: TcpStream,
    session: Session,
    shared: &'a Shared,
    peer: SocketAddr,
    local: SocketAddr,
    id: String,
    incoming: Option<Incoming>,
    size: u64,
    /// When the client last finished something: a command, a message.
    progress: Instant,
}

impl Connection<'_> {
    async fn run(&mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; READ];
        loop {
            if !self.session.output().is_empty() {
                self.progress = Instant::now();
            }
            self.write_replies().await?;
            let read = match self.read(&mut buffer).await {
                Wait::Bytes(0) => return Ok(()),
                Wait::Bytes(read) => read,
                Wait::Over => return self.write_replies().await,
            };
            let mut input = buffer.get(..read).unwrap_or_default();
            loop {
                let (used, step) = self.session.step(input);
                input = input.get(used..).unwrap_or_default();
                match step {
                    Step::Read => break,
                    Step::Attempt(attempt) => self.shared.counters.login(attempt.accepted),
                    Step::Begin(transaction) => self.begin(transaction),
                    Step::Content(bytes) => {
                        self.size += bytes.len() as u64;
                        if let Some(incoming) = &mut self.incoming
                            && incoming.push(bytes)
                        {
                            self.flush().await;
                        }
                    }
                    Step::Abandon => self.incoming = None,
                    Step::End => {
                        let outcome = self.commit().await;
                        self.session.finish(outcome);
                    }
                    // Without TLS in the profile it is never asked for.
                    Step::StartTls | Step::Close => return self.write_replies().await,
                }
            }
        }
    }

    /// Waits for input; over when the client was silent or slow too long, or the receiver stops and
    /// no transaction is open.
    async fn read(&mut self, buffer: &mut [u8]) -> Wait {
        let mut stopping = self.shared.stopping.clone();
        let limit = if self.incoming.is_some() {
            MESSAGE
        } else {
            COMMAND
        };
        let patience = IDLE.min(limit.saturating_sub(self.progress.elapsed()));
        loop {
            if *stopping.borrow_and_update() && !self.session.in_transaction() {
                self.session.shutdown();
                return Wait::Over;
            }
            tokio::select! {
                biased;
                read = timeout(patience, self.stream.read(buffer)) => match read {
                    Ok(read) => return Wait::Bytes(read.unwrap_or(0)),
                    Err(_) => {
                        self.session.timeout();
                        return Wait::Over;
                    }
                },
                changed = stopping.changed() => if changed.is_err() {
                    return Wait::Bytes(0);
                },
            }
        }
    }

    async fn write_replies(&mut self) -> std::io::Result<()> {
        let output = self.session.output();
        if output.is_empty() {
            return Ok(());
        }
        let replies = std::mem::take(output);
        match timeout(WRITE, self.stream.write_all(&replies)).await {
            Ok(written) => written,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    fn begin(&mut self, transaction: Transaction) {
        let now = Timestamp::now();
        let envelope = Envelope {
            session: self.id.clone(),
            received_at: now,
            sensor: self.shared.sensor.clone(),
            src_ip: self.peer.ip().to_canonical(),
            src_port: self.peer.port(),
            dst_ip: self.local.ip().to_canonical(),
            dst_port: self.local.port(),
            helo: transaction.helo,
            mail_from: transaction.mail_from,
            rcpt_to: transaction.rcpt_to,
            user: transaction.user,
            tls: transaction.tls,
        };
        let mut incoming = self.shared.spool.incoming(now);
        let _ = incoming.push(&envelope.header_line());
        self.incoming = Some(incoming);
        self.size = 0;
    }

    /// Writes a message's full buffer out, on a thread that may wait for the disk.
    async fn flush(&mut self) {
        if let Some(mut incoming) = self.incoming.take() {
            let flushed = tokio::task::spawn_blocking(move || {
                incoming.flush();
                incoming
            });
            self.incoming = flushed.await.ok();
        }
    }

    /// Hands the message to the spool and waits until it is durable.
    async fn commit(&mut self) -> Outcome {
        let Some(incoming) = self.incoming.take() else {
            self.shared.counters.not_kept();
            return Outcome::Failed;
        };
        let (answer, answered) = oneshot::channel();
        let commit = Box::new(move |result| drop(answer.send(result)));
        self.shared.spool.commit(incoming, commit);
        match answered.await {
            Ok(Ok(Ticket { at, number })) => {
                self.shared.counters.kept(self.size);
                Outcome::Kept(MessageId { at, number })
            }
            Ok(Err(_)) => {
                // Whatever the file system refuses may succeed later: 452 (promise 1).
                self.shared.counters.not_kept();
                Outcome::Full
            }
            _ => {
                self.shared.counters.not_kept();
                Outcome::Failed
            }
        }
    }
}

/// What came of waiting for input.
enum Wait {
    /// So many bytes; none when the client has ended.
    Bytes(usize),
    /// The session is over: the reply that says so is in its output.
    Over,
}

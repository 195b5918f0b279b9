//! The state of one SMTP session and the order of its commands (RFC 5321 §3.3, §4.1.4).
//!
//! A transaction is MAIL, RCPT once or more, DATA. EHLO, HELO and RSET abort one; RCPT and DATA
//! outside of one are refused; a HELO is not required. After DATA the session reads content until
//! the end of data, then waits for [`Session::finish`] to be told what became of the message. BDAT
//! may stand in the place of DATA.
//!
//! Limits that end the session: the errors that its face bears, and those of
//! [`Limits`](super::Limits). Limits that end a message: the profile's `max_message_size` and
//! `max_recipients`.

mod authentication;
mod bounds;
mod chunks;
mod commands;

use std::mem;
use std::sync::Arc;

use super::answer::{Answer, Taken};
use super::auth::{Attempt, Exchange};
use super::command::Command;
use super::data::{DataReader, Event};
use super::limits::{Met, Shortage};
use super::line::{Line, LineBuffer};
use super::personality::{Context, Face};
use super::{Client, Outcome, Profile, Step, Transaction};
use authentication::give_up;
use chunks::{Chunk, Chunks};

/// Commands without a DATA between them after which a session is closed, unless
/// [`Limits::commands`](super::Limits::commands) says otherwise.
pub const MAX_COMMANDS: u32 = 1000;

/// Longest response within AUTH in bytes, line end included (RFC 4954 §4).
pub const MAX_RESPONSE: usize = 12_288;

/// What the session is reading.
#[derive(Debug)]
enum Phase {
    /// Command lines.
    Commands,
    /// The responses of a login.
    Login(Exchange),
    /// Message content, of which `size` bytes were handed out.
    Content { reader: DataReader, size: u64 },
    /// The rest of a message that is too big.
    Oversize(DataReader),
    /// A chunk of a message.
    Chunk(Chunk),
    /// Nothing, until `tls` tells that the handshake is done.
    Handshake,
    /// Nothing, until `finish` tells what became of the message; how much it is, where it came in
    /// chunks.
    Storing(Option<Taken>),
    /// Nothing more.
    Closed,
}

/// What came of a command.
enum Verdict<'l> {
    Accepted,
    /// Counts as an error.
    Refused(Answer<'l>),
    /// Accepted, and the message that has begun is not to be.
    Forgotten(Step<'static>),
    /// The connection is to be closed after this reply.
    HangUp(Answer<'l>),
    /// Somebody has tried to log in, and is told this.
    Tried(Attempt, Answer<'l>),
    StartTls,
    Begin(Transaction),
}

/// One SMTP session. See the module for how to drive it.
#[derive(Debug)]
pub struct Session {
    profile: Arc<Profile>,
    client: Client,
    phase: Phase,
    line: LineBuffer,
    output: Vec<u8>,
    heard: Vec<u8>,
    helo: String,
    /// The last greeting was EHLO.
    extended: bool,
    /// Who the client is logged in as.
    user: Option<String>,
    /// The version of TLS, if there is TLS.
    tls: Option<String>,
    /// A login that was broken off by the end of the session.
    given_up: Option<Attempt>,
    /// Challenges sent.
    challenges: u64,
    /// The envelope so far, from an accepted MAIL to DATA.
    envelope: Option<Transaction>,
    /// The message that comes in chunks, from an accepted BDAT to the one that says LAST.
    chunks: Option<Chunks>,
    /// Who sends the message that is being read.
    sender: String,
    commands: u32,
    errors: u32,
    messages: u32,
    shortage: Option<Shortage>,
    met: Met,
    face: Box<dyn Face + Send>,
}

impl Session {
    /// A session just connected. Its greeting is in the output.
    pub fn new(profile: Arc<Profile>, client: Client) -> Session {
        let mut session = Session {
            face: profile.personality.face(),
            profile,
            client,
            phase: Phase::Commands,
            line: LineBuffer::default(),
            output: Vec::new(),
            heard: Vec::new(),
            helo: String::new(),
            extended: false,
            user: None,
            tls: None,
            given_up: None,
            challenges: 0,
            envelope: None,
            chunks: None,
            sender: String::new(),
            commands: 0,
            errors: 0,
            messages: 0,
            shortage: None,
            met: Met::default(),
        };
        session.say(&Answer::Greeting);
        session
    }

    /// Takes bytes from the front of `input`; returns how many, and what to do next. Call it
    /// again with the rest of the input, until it says [`Step::Read`] or [`Step::Close`]; both
    /// mean that all of it was taken.
    ///
    /// If the last step was [`Step::End`] and [`Session::finish`] was not called, the message
    /// counts as [`Outcome::Failed`]: a message that nobody answers for is never acknowledged.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> (usize, Step<'a>) {
        self.finish(Outcome::Failed);
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let (taken, step) = match self.phase {
                Phase::Closed | Phase::Handshake => return (input.len(), Step::Close),
                Phase::Content { .. } => self.read_content(rest),
                Phase::Oversize(_) => self.pass_over(rest),
                Phase::Chunk(_) => self.read_chunk(rest),
                Phase::Commands | Phase::Login(_) | Phase::Storing(_) => self.read_line(rest),
            };
            used += taken;
            if step == Some(Step::StartTls) {
                return (input.len(), Step::StartTls);
            }
            if let Some(step) = step {
                return (used, step);
            }
        }
    }

    /// Replies that were not yet written. The shell writes and clears it before it waits for
    /// input. It grows with the number of commands in the input, not beyond.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The command lines that were taken since the shell last cleared this, as they came, each
    /// ended by one LF; for the record. Responses within AUTH are not among them. It grows as the
    /// output does.
    pub fn heard(&mut self) -> &mut Vec<u8> {
        &mut self.heard
    }

    /// Tells what became of the message that ended with [`Step::End`], and answers it (RFC 5321
    /// §4.1.1.4). At any other time it does nothing.
    pub fn finish(&mut self, outcome: Outcome) {
        let Phase::Storing(taken) = self.phase else {
            return;
        };
        self.phase = Phase::Commands;
        self.count_message(&outcome);
        match outcome {
            Outcome::Kept(id) => self.say(&match taken {
                Some(taken) => Answer::QueuedChunks(&id, taken),
                None => Answer::Queued(&id),
            }),
            Outcome::Full => self.say(&Answer::StorageFull),
            Outcome::Failed => self.say(&Answer::WriteFailed),
        }
    }

    /// Tells that a TLS handshake was done, and its version: after [`Step::StartTls`], or before
    /// the first step where TLS comes before SMTP. What the client said before is forgotten (RFC
    /// 3207 §4.2), the errors it made are not.
    pub fn tls(&mut self, version: &str) {
        if matches!(self.phase, Phase::Handshake | Phase::Commands) {
            self.phase = Phase::Commands;
            self.tls = Some(version.to_owned());
            self.line = LineBuffer::default();
            self.helo.clear();
            self.extended = false;
            self.user = None;
            self.envelope = None;
            self.chunks = None;
        }
    }

    /// Puts last words into the output, if the server that is played has some: the client was
    /// silent for too long. The next step is
    /// [`Step::Close`]; a message that had begun is to be discarded.
    pub fn timeout(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            let sender = mem::take(&mut self.sender);
            self.say(&match self.phase {
                Phase::Content { .. } | Phase::Oversize(_) => Answer::DataTimeout(&sender),
                Phase::Chunk(_) if self.chunks.is_some() => Answer::DataTimeout(&sender),
                _ => Answer::Timeout,
            });
            self.close();
        }
    }

    /// Puts `421` into the output: the service stops (RFC 5321 §3.8). The next step is
    /// [`Step::Close`]; a message that had begun is to be discarded. For one that is being stored
    /// call [`Session::finish`] first, or the client will send it again.
    pub fn shutdown(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            self.say(&Answer::Shutdown);
            self.close();
        }
    }

    /// Whether the session is between an accepted MAIL and the answer to the end of data.
    pub fn in_transaction(&self) -> bool {
        match self.phase {
            Phase::Commands | Phase::Login(_) | Phase::Chunk(_) => {
                self.envelope.is_some() || self.chunks.is_some()
            }
            Phase::Content { .. } | Phase::Oversize(_) | Phase::Storing(_) => true,
            Phase::Handshake | Phase::Closed => false,
        }
    }

    /// What the client called itself in its last HELO or EHLO; empty if it did not.
    pub fn helo(&self) -> &str {
        &self.helo
    }

    fn read_line<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let limit = match self.phase {
            Phase::Login(_) => MAX_RESPONSE,
            _ => self.profile.limits.line,
        };
        // The line may be lent from the buffer, which therefore leaves the session for a moment.
        let mut buffer = mem::take(&mut self.line);
        let (taken, line) = buffer.next(input, limit);
        let step = match line {
            Line::Partial => Some(Step::Read),
            Line::TooLong(beginning) => {
                self.met.lines += 1;
                let reads = self.face.habits().reads_beginnings;
                let verdict = match mem::replace(&mut self.phase, Phase::Commands) {
                    Phase::Login(exchange) => give_up(exchange, Answer::ResponseTooLong),
                    _ => {
                        self.hear(beginning);
                        match reads {
                            true => self.execute(Command::new(beginning)),
                            false => refuse(Answer::LineTooLong),
                        }
                    }
                };
                self.conclude(verdict)
            }
            Line::Whole(line) => {
                let verdict = match mem::replace(&mut self.phase, Phase::Commands) {
                    Phase::Login(exchange) => self.respond(exchange, line),
                    _ => {
                        self.hear(line);
                        self.execute(Command::new(line))
                    }
                };
                self.conclude(verdict)
            }
        };
        self.line = buffer;
        (taken, step)
    }

    fn hear(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.heard.extend_from_slice(line);
        self.heard.push(b'\n');
    }

    fn read_content<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let Phase::Content { reader, size } = &mut self.phase else {
            return (0, None);
        };
        let (taken, event) = reader.next(input);
        let step = match event {
            Event::More => Step::Read,
            Event::Content(content) => {
                *size = size.saturating_add(content.len() as u64);
                if *size > self.profile.max_message_size {
                    self.met.sizes += 1;
                    self.phase = Phase::Oversize(reader.clone());
                    Step::Abandon
                } else {
                    Step::Content(content)
                }
            }
            Event::End => {
                self.phase = Phase::Storing(None);
                Step::End
            }
        };
        (taken, Some(step))
    }

    fn pass_over<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let Phase::Oversize(reader) = &mut self.phase else {
            return (0, None);
        };
        let (taken, event) = reader.next(input);
        let step = match event {
            Event::More => Some(Step::Read),
            Event::Content(_) => None,
            Event::End => {
                self.phase = Phase::Commands;
                self.conclude(refuse(Answer::MessageTooBig))
            }
        };
        (taken, step)
    }

    /// Answers a command and keeps count.
    fn conclude<'a>(&mut self, verdict: Verdict<'_>) -> Option<Step<'a>> {
        match verdict {
            Verdict::Accepted => {}
            Verdict::Refused(refusal) => {
                let over = self.refuse(&refusal);
                self.count_error(over);
                if matches!(self.phase, Phase::Closed) {
                    return None;
                }
            }
            Verdict::Tried(attempt, answer) => {
                self.answer_attempt(&attempt, &answer);
                self.bound_commands();
                return Some(Step::Attempt(attempt));
            }
            Verdict::StartTls => {
                self.say(&Answer::TlsReady);
                self.phase = Phase::Handshake;
                return Some(Step::StartTls);
            }
            Verdict::HangUp(last_words) => {
                self.say(&last_words);
                self.phase = Phase::Closed;
                return None;
            }
            Verdict::Forgotten(step) => {
                self.bound_commands();
                return Some(step);
            }
            Verdict::Begin(transaction) => return Some(Step::Begin(transaction)),
        }
        self.bound_commands();
        None
    }

    fn close(&mut self) {
        if let Phase::Login(exchange) = mem::replace(&mut self.phase, Phase::Closed) {
            self.given_up = exchange.given_up();
        }
    }

    /// Puts an answer into the output.
    fn say(&mut self, answer: &Answer<'_>) {
        let context = Context {
            profile: &self.profile,
            client: &self.client,
            helo: &self.helo,
            extended: self.extended,
            encrypted: self.tls.is_some(),
        };
        self.face.say(answer, &context, &mut self.output);
    }

    /// Puts a refusal into the output; true where it was one too many.
    fn refuse(&mut self, answer: &Answer<'_>) -> bool {
        let context = Context {
            profile: &self.profile,
            client: &self.client,
            helo: &self.helo,
            extended: self.extended,
            encrypted: self.tls.is_some(),
        };
        self.face.refuse(answer, &context, &mut self.output)
    }
}

fn refuse(answer: Answer<'_>) -> Verdict<'_> {
    Verdict::Refused(answer)
}

#[cfg(test)]
mod tests;

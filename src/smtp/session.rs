//! The state of one SMTP session and the order of its commands (RFC 5321 §3.3, §4.1.4).
//!
//! A transaction is MAIL, RCPT once or more, DATA. EHLO, HELO and RSET abort one; RCPT and DATA
//! outside of one are refused; a HELO is not required. After DATA the session reads content until
//! the end of data, then waits for [`Session::finish`] to be told what became of the message.
//!
//! Limits that end the session: [`MAX_ERRORS`], which a stored message sets back to zero, and
//! [`MAX_COMMANDS`], which a started message does. Limits that end a message: the profile's
//! `max_message_size` and `max_recipients`.

use std::mem;
use std::sync::Arc;

use super::command::{Command, Refusal, Verb};
use super::data::{DataReader, Event};
use super::line::{Line, LineBuffer};
use super::{Outcome, Profile, Step, Transaction, path, reply};

/// Errors after which a session is closed; the default of Postfix's `smtpd_hard_error_limit`. A
/// message that was stored forgives those before it.
pub const MAX_ERRORS: u32 = 20;

/// Commands without a DATA between them after which a session is closed. Recipients that were
/// accepted do not count, they are bounded by [`Profile::max_recipients`].
pub const MAX_COMMANDS: u32 = 1000;

/// What the session is reading.
#[derive(Debug)]
enum Phase {
    /// Command lines.
    Commands,
    /// Message content, of which `size` bytes were handed out.
    Content { reader: DataReader, size: u64 },
    /// The rest of a message that is too big.
    Oversize(DataReader),
    /// Nothing, until `finish` tells what became of the message.
    Storing,
    /// Nothing more.
    Closed,
}

/// What came of a command.
enum Verdict {
    Accepted,
    /// Counts against [`MAX_ERRORS`].
    Refused(Refusal),
    /// The connection is to be closed after this reply.
    HangUp(&'static str),
    Begin(Transaction),
}

/// One SMTP session. See the module for how to drive it.
#[derive(Debug)]
pub struct Session {
    profile: Arc<Profile>,
    phase: Phase,
    line: LineBuffer,
    output: Vec<u8>,
    helo: String,
    /// The envelope so far, from an accepted MAIL to DATA.
    envelope: Option<Transaction>,
    errors: u32,
    commands: u32,
}

impl Session {
    /// A session just connected. Its greeting is in the output.
    pub fn new(profile: Arc<Profile>) -> Session {
        let mut output = Vec::new();
        reply::greeting(&mut output, &profile);
        Session {
            profile,
            phase: Phase::Commands,
            line: LineBuffer::default(),
            output,
            helo: String::new(),
            envelope: None,
            errors: 0,
            commands: 0,
        }
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
                Phase::Closed => return (input.len(), Step::Close),
                Phase::Content { .. } => self.read_content(rest),
                Phase::Oversize(_) => self.pass_over(rest),
                Phase::Commands | Phase::Storing => self.read_command(rest),
            };
            used += taken;
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

    /// Tells what became of the message that ended with [`Step::End`], and answers it (RFC 5321
    /// §4.1.1.4). At any other time it does nothing.
    pub fn finish(&mut self, outcome: Outcome) {
        if !matches!(self.phase, Phase::Storing) {
            return;
        }
        self.phase = Phase::Commands;
        match outcome {
            Outcome::Kept { queue_id } => {
                self.errors = 0;
                reply::queued(&mut self.output, &queue_id);
            }
            Outcome::Full => reply::put(&mut self.output, reply::STORAGE_FULL),
            Outcome::Failed => reply::put(&mut self.output, reply::WRITE_FAILED),
        }
    }

    /// Puts `421 4.4.2` into the output: the client was silent for too long. The next step is
    /// [`Step::Close`]; a message that had begun is to be discarded.
    pub fn timeout(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            reply::timeout(&mut self.output, &self.profile);
            self.phase = Phase::Closed;
        }
    }

    /// Puts `421 4.3.2` into the output: the service stops (RFC 5321 §3.8). The next step is
    /// [`Step::Close`]; a message that had begun is to be discarded. For one that is being stored
    /// call [`Session::finish`] first, or the client will send it again.
    pub fn shutdown(&mut self) {
        if !matches!(self.phase, Phase::Closed) {
            reply::shutdown(&mut self.output, &self.profile);
            self.phase = Phase::Closed;
        }
    }

    /// Whether the session is between an accepted MAIL and the answer to the end of data.
    pub fn in_transaction(&self) -> bool {
        match self.phase {
            Phase::Commands => self.envelope.is_some(),
            Phase::Content { .. } | Phase::Oversize(_) | Phase::Storing => true,
            Phase::Closed => false,
        }
    }

    /// What the client called itself in its last HELO or EHLO; empty if it did not.
    pub fn helo(&self) -> &str {
        &self.helo
    }

    fn read_command<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        // The line may be lent from the buffer, which therefore leaves the session for a moment.
        let mut buffer = mem::take(&mut self.line);
        let (taken, line) = buffer.next(input);
        let step = match line {
            Line::Partial => Some(Step::Read),
            Line::TooLong => self.conclude(Verdict::Refused(reply::LINE_TOO_LONG.into())),
            Line::Whole(line) => {
                let verdict = self.execute(Command::new(line));
                self.conclude(verdict)
            }
        };
        self.line = buffer;
        (taken, step)
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
                    self.phase = Phase::Oversize(reader.clone());
                    Step::Abandon
                } else {
                    Step::Content(content)
                }
            }
            Event::End => {
                self.phase = Phase::Storing;
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
                self.conclude(Verdict::Refused(reply::MESSAGE_TOO_BIG.into()))
            }
        };
        (taken, step)
    }

    /// Answers a command and keeps count.
    fn conclude<'a>(&mut self, verdict: Verdict) -> Option<Step<'a>> {
        match verdict {
            Verdict::Accepted => {}
            Verdict::Refused(refusal) => {
                reply::put(&mut self.output, &refusal);
                self.errors += 1;
            }
            Verdict::HangUp(last_words) => {
                reply::put(&mut self.output, last_words);
                self.phase = Phase::Closed;
                return None;
            }
            Verdict::Begin(transaction) => {
                reply::put(&mut self.output, reply::START_DATA);
                self.phase = Phase::Content {
                    reader: DataReader::new(),
                    size: 0,
                };
                self.commands = 0;
                return Some(Step::Begin(transaction));
            }
        }
        if self.errors >= MAX_ERRORS || self.commands >= MAX_COMMANDS {
            reply::too_many_errors(&mut self.output, &self.profile);
            self.phase = Phase::Closed;
        }
        None
    }

    fn execute(&mut self, command: Command<'_>) -> Verdict {
        if command.verb != Verb::Rcpt {
            self.commands += 1;
        }
        let bare = command.arguments.is_empty();
        match command.verb {
            Verb::Helo if bare => refuse(reply::HELO_SYNTAX),
            Verb::Ehlo if bare => refuse(reply::EHLO_SYNTAX),
            Verb::Helo => self.greet(command.arguments, reply::helo),
            Verb::Ehlo => self.greet(command.arguments, reply::ehlo),
            Verb::Mail => self.mail(command),
            Verb::Rcpt => self.rcpt(command),
            Verb::Data => self.data(bare),
            Verb::Rset if !bare => refuse(reply::RSET_SYNTAX),
            Verb::Rset => {
                self.envelope = None;
                self.accept(reply::OK)
            }
            Verb::Noop => self.accept(reply::OK),
            Verb::Vrfy => self.vrfy(command.arguments),
            Verb::Quit => Verdict::HangUp(reply::BYE),
            Verb::Auth => refuse(reply::NO_AUTH),
            Verb::Starttls if !bare => refuse(reply::STARTTLS_SYNTAX),
            Verb::Starttls | Verb::Etrn => refuse(reply::NOT_IMPLEMENTED),
            // Its content would follow unasked and be read as commands.
            Verb::Bdat => Verdict::HangUp(reply::BDAT_NOT_IMPLEMENTED),
            Verb::Foreign => Verdict::HangUp(reply::NOT_SMTP),
            Verb::Unknown => refuse(reply::NOT_RECOGNIZED),
            Verb::Empty => refuse(reply::BAD_SYNTAX),
        }
    }

    fn accept(&mut self, answer: &str) -> Verdict {
        reply::put(&mut self.output, answer);
        Verdict::Accepted
    }

    fn greet(&mut self, name: &[u8], answer: fn(&mut Vec<u8>, &Profile)) -> Verdict {
        self.envelope = None;
        self.helo = path::text(name);
        answer(&mut self.output, &self.profile);
        Verdict::Accepted
    }

    fn mail(&mut self, command: Command<'_>) -> Verdict {
        if self.envelope.is_some() {
            return refuse(reply::NESTED_MAIL);
        }
        let sender = match command.sender() {
            Ok(sender) => sender,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        if sender.size > Some(self.profile.max_message_size) {
            return refuse(reply::SIZE_OVER_LIMIT);
        }
        self.envelope = Some(Transaction {
            mail_from: sender.address,
            declared_size: sender.size,
            eight_bit: sender.eight_bit,
            ..Transaction::default()
        });
        self.accept(reply::SENDER_OK)
    }

    fn rcpt(&mut self, command: Command<'_>) -> Verdict {
        let Some(envelope) = &mut self.envelope else {
            return refuse(reply::NEED_MAIL);
        };
        let recipient = match command.recipient() {
            Ok(recipient) => recipient,
            Err(refusal) => return Verdict::Refused(refusal),
        };
        if envelope.rcpt_to.len() >= self.profile.max_recipients {
            // Not an error: the client is to send the message now and the rest in another.
            self.commands += 1;
            return self.accept(reply::TOO_MANY_RECIPIENTS);
        }
        envelope.rcpt_to.push(recipient);
        self.accept(reply::RECIPIENT_OK)
    }

    fn data(&mut self, bare: bool) -> Verdict {
        match self.envelope.take() {
            None => refuse(reply::NEED_RCPT),
            Some(envelope) if envelope.rcpt_to.is_empty() || !bare => {
                let refusal = if envelope.rcpt_to.is_empty() {
                    reply::NO_RECIPIENTS
                } else {
                    reply::DATA_SYNTAX
                };
                self.envelope = Some(envelope);
                refuse(refusal)
            }
            Some(envelope) => Verdict::Begin(Transaction {
                helo: self.helo.clone(),
                ..envelope
            }),
        }
    }

    fn vrfy(&mut self, address: &[u8]) -> Verdict {
        if address.is_empty() {
            return refuse(reply::VRFY_SYNTAX);
        }
        match path::address(address) {
            Ok(path) if !path.is_empty() => {
                reply::cannot_verify(&mut self.output, address);
                Verdict::Accepted
            }
            _ => refuse(reply::BAD_RECIPIENT),
        }
    }
}

fn refuse(reply: &'static str) -> Verdict {
    Verdict::Refused(reply.into())
}

#[cfg(test)]
mod tests;

//! An SMTP session with a receiver on paper: the one place where targets drive a session.
//!
//! [`hold`] does what `receiver::connection` does, without a socket: it feeds what was read piece
//! by piece, stores what the session says is to be stored, and collects the replies. On the way it
//! holds each step to the contract of [`shiva::smtp`]:
//!
//! - every piece is used up before more is read, and there is an end to the steps it gives;
//! - between 354 and the end of data nothing is said; between chunks of BDAT there are commands;
//! - 250 to a message comes when it is told to be kept, and at no other time;
//! - messages, names and addresses are within their limits, names free of control characters;
//! - who is let in is let in by the rule, and mail that needs a login has one;
//! - what was known before TLS is forgotten after it;
//! - replies are whole, of printable text, and no more than the commands they answer;
//! - memory is bounded, and after [`Step::Close`] nothing is said.

use std::mem;
use std::sync::Arc;

use shiva::smtp::{
    Accept, Attempt, MAX_LINE, MAX_RESPONSE, MAX_USER, MessageId, Met, Outcome, Secret, Session,
    Step, Transaction,
};
use shiva::timestamp::Timestamp;

use crate::reply::{self, REPLY_MAX};
use crate::settings::{self, End, Fate, Settings};

/// What stands between what is sent plainly and what is sent after a handshake. Where no handshake
/// comes of what stands before it, it is as if it were not there.
const HANDSHAKE: &[u8] = b"=TLS=\n";

/// Most bytes of a name or an address: of a line whose every byte became U+FFFD.
const NAME_MAX: usize = 3 * MAX_LINE;

/// One message, as it was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its envelope.
    pub transaction: Transaction,
    /// Its bytes; none where it was abandoned.
    pub content: Vec<u8>,
    /// What became of it; nothing where it was abandoned or the stream ended before.
    pub fate: Option<Fate>,
}

/// All that a client heard, and all that came of what it said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The replies.
    pub output: Vec<u8>,
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// The attempts to log in, in order.
    pub attempts: Vec<Attempt>,
    /// The commands, for the record.
    pub commands: Vec<u8>,
    /// The limits that were met.
    pub met: Met,
    /// Whether the session asked for the connection to be closed.
    pub closed: bool,
}

/// Holds a session over a stream, in the pieces that `cut` makes, to its end.
pub fn hold<'s, P: Iterator<Item = &'s [u8]>>(
    settings: &Settings<'_>,
    stream: &'s [u8],
    cut: impl Fn(&'s [u8]) -> P,
) -> Heard {
    let mut shell = Shell {
        session: Session::new(Arc::new(settings.profile.clone()), settings::client()),
        settings,
        heard: Heard::default(),
        open: None,
        chunked: false,
        user: None,
        tls: None,
    };
    shell.session.set_shortage(settings.shortage);
    if settings.tls_first {
        shell.handshake();
    }
    shell.listen(0);
    for part in parts(stream) {
        for piece in cut(part) {
            if shell.feed(piece) {
                shell.handshake();
                break;
            }
        }
    }
    shell.end();
    shell.heard
}

/// Whether a command line is BDAT, which takes what follows it.
pub fn is_bdat(line: &[u8]) -> bool {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = line.iter().position(|byte| !is_space(byte));
    let line = &line[start.unwrap_or(line.len())..];
    line.get(..4)
        .is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

/// What is sent plainly, and what after each handshake.
fn parts(stream: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = stream;
    while let Some(at) = rest
        .windows(HANDSHAKE.len())
        .position(|bytes| bytes == HANDSHAKE)
    {
        parts.push(&rest[..at]);
        rest = &rest[at + HANDSHAKE.len()..];
    }
    parts.push(rest);
    parts
}

struct Shell<'c> {
    session: Session,
    settings: &'c Settings<'c>,
    heard: Heard,
    /// The message whose content comes.
    open: Option<Message>,
    /// It comes in chunks.
    chunked: bool,
    /// Who was let in.
    user: Option<Vec<u8>>,
    tls: Option<String>,
}

impl Shell<'_> {
    /// Feeds what was read at once; true where a handshake is to follow.
    fn feed(&mut self, piece: &[u8]) -> bool {
        if self.heard.closed {
            assert_eq!(self.session.step(piece), (piece.len(), Step::Close));
            assert!(self.session.output().is_empty(), "said after the end");
            return false;
        }
        let lines = piece.iter().filter(|&&byte| byte == b'\n').count();
        let mut input = piece;
        // Content is cut at stuffed dots and at a CR that waited, so there are no more steps than
        // bytes and a few.
        for _ in 0..2 * piece.len() + 3 {
            let (used, step) = self.session.step(input);
            input = &input[used..];
            self.heard.commands.append(self.session.heard());
            let waits = matches!(step, Step::Read | Step::StartTls | Step::Close);
            let encrypts = step == Step::StartTls;
            self.heard.closed = step == Step::Close;
            self.take(step);
            if waits {
                assert!(input.is_empty(), "input is left: {input:?}");
                self.listen(lines);
                return encrypts;
            }
        }
        panic!("no end of steps over {piece:?}");
    }

    /// Does what a step says.
    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Read | Step::StartTls | Step::Close => {}
            Step::Attempt(attempt) => self.attempt(attempt),
            Step::Begin(transaction) => self.begin(transaction),
            Step::Content(bytes) => {
                assert!(!bytes.is_empty() && self.session.in_transaction());
                let most = self.settings.profile.max_message_size;
                let message = self.message();
                message.content.extend_from_slice(bytes);
                assert!(message.content.len() as u64 <= most, "too much content");
            }
            Step::Abandon | Step::Reset => {
                let mut message = self.open.take().expect("no message to abandon");
                message.content.clear();
                self.heard.messages.push(message);
            }
            Step::End => self.store(),
        }
    }

    fn begin(&mut self, transaction: Transaction) {
        self.check(&transaction);
        assert!(self.open.is_none(), "a message within a message");
        let codes = reply::codes(self.session.output());
        self.chunked = self.last_command_is_bdat();
        assert_eq!(codes.last() == Some(&354), !self.chunked);
        self.heard.output.append(self.session.output());
        self.open = Some(Message {
            transaction,
            content: Vec::new(),
            fate: None,
        });
    }

    fn last_command_is_bdat(&self) -> bool {
        let commands = self.heard.commands.trim_ascii_end();
        let line = commands.rsplit(|&byte| byte == b'\n').next();
        is_bdat(line.expect("a message before any command"))
    }

    /// The message that is open. After 354 the client has heard nothing.
    fn message(&mut self) -> &mut Message {
        let silent = self.session.output().is_empty();
        assert!(silent || self.chunked, "said within a message");
        self.open.as_mut().expect("content of no message")
    }

    /// Stores a message, or not, and hears what is said of it.
    fn store(&mut self) {
        let number = self.heard.messages.len();
        let fate = self.settings.fate(number);
        self.message().fate = Some(fate);
        self.heard.messages.extend(self.open.take());
        self.heard.output.append(self.session.output());
        let outcome = match fate {
            Fate::Kept => Outcome::Kept(message_id(number)),
            Fate::Full => Outcome::Full,
            Fate::Failed => Outcome::Failed,
            Fate::Lost => return,
        };
        self.session.finish(outcome);
        let codes = reply::codes(self.session.output());
        let classes: Vec<u16> = codes.iter().map(|code| code / 100).collect();
        let expected = if fate == Fate::Kept { 2 } else { 4 };
        assert_eq!(classes, [expected], "{fate:?}: {codes:?}");
    }

    /// Takes what was said to so many lines.
    fn listen(&mut self, lines: usize) {
        let output = mem::take(self.session.output());
        reply::codes(&output);
        // A line is answered once, a last one by 421 besides; and there is the greeting.
        assert!(output.len() <= (lines + 2) * REPLY_MAX, "too much is said");
        self.heard.output.extend_from_slice(&output);
        // Strings and buffers may have twice the room they need.
        let names = (self.settings.profile.max_recipients + 1) * (2 * NAME_MAX + 24);
        assert!(self.session.held() <= 2 * MAX_RESPONSE + names);
    }

    fn handshake(&mut self) {
        let version = "TLSv1.3";
        self.session.tls(version);
        self.tls = Some(version.into());
        self.user = None;
        self.heard.messages.extend(self.open.take());
        assert!(self.session.helo().is_empty() && !self.session.in_transaction());
    }

    /// The end of the stream.
    fn end(&mut self) {
        match self.settings.end {
            End::Gone => {}
            End::Silence => self.session.timeout(),
            End::Stop => self.session.shutdown(),
        }
        if self.heard.closed {
            assert!(self.session.output().is_empty(), "said after the end");
        } else {
            // A message that the shell lost is answered before anything else is done.
            self.feed(b"");
            let closes = self.settings.end != End::Gone;
            assert!(!closes || self.heard.closed, "the end, and it goes on");
        }
        self.heard.messages.extend(self.open.take());
        self.heard.met = mem::take(self.session.met());
    }

    fn attempt(&mut self, attempt: Attempt) {
        let auth = &self.settings.profile.auth;
        let listed = || {
            let pair = &auth.pairs[0];
            attempt.user == pair.user
                && match &attempt.secret {
                    Secret::Password(password) => *password == pair.password,
                    Secret::Digest { .. } => true,
                    Secret::Raw(_) | Secret::Unsent => false,
                }
        };
        if attempt.accepted {
            assert!(auth.offered() && (1..=MAX_USER).contains(&attempt.user.len()));
            assert!(match auth.accept {
                Accept::Any => true,
                Accept::Listed => listed(),
                Accept::None => false,
            });
            assert!(self.user.is_none(), "logged in twice");
            self.user = Some(attempt.user.clone());
        }
        self.heard.attempts.push(attempt);
    }

    fn check(&self, transaction: &Transaction) {
        let profile = &self.settings.profile;
        let recipients = &transaction.rcpt_to;
        assert!((1..=profile.max_recipients).contains(&recipients.len()));
        assert!(recipients.iter().all(|name| !name.is_empty()));
        for name in [&transaction.helo, &transaction.mail_from]
            .into_iter()
            .chain(recipients)
            .chain(&transaction.user)
        {
            assert!(name.len() <= NAME_MAX && !name.chars().any(char::is_control));
        }
        assert_eq!(transaction.user.is_some(), self.user.is_some());
        assert!(transaction.user.is_some() || !profile.auth.required);
        assert_eq!(transaction.tls, self.tls);
        assert_eq!(self.settings.shortage, None, "a message without room");
    }
}

fn message_id(number: usize) -> MessageId {
    MessageId {
        at: Timestamp::from_seconds(1_700_000_000, 123_456),
        number: number as u64,
    }
}

//! Replays the dialogues in `tests/golden/smtp/` and compares every reply.
//!
//! Each dialogue runs three times: line by line with the replies compared after each exchange,
//! byte by byte, and as one pipelined input; the three must give the same transcript.
//!
//! The lines of a dialogue are told in [`dialogue`].

use std::mem;
use std::sync::Arc;

use shiva::smtp::{Attempt, Client, MessageId, Outcome, Personality, Secret, Session, Step};
use shiva::timestamp::Timestamp;

use crate::dialogue::{self, Action, Dialogue};

#[test]
fn dialogues() {
    for dialogue in dialogue::all() {
        replay(&dialogue);
    }
}

fn replay(dialogue: &Dialogue) {
    let name = &dialogue.name;
    let mut shell = Shell::new(dialogue);
    let mut transcript = Vec::new();
    for (number, exchange) in dialogue.exchanges.iter().enumerate() {
        for action in &exchange.actions {
            shell.act(action, usize::MAX);
        }
        let found = mem::take(&mut shell.transcript);
        assert_eq!(found, exchange.expected, "{name}, exchange {number}");
        transcript.extend(found);
    }

    let mut bytewise = Shell::new(dialogue);
    for action in dialogue
        .exchanges
        .iter()
        .flat_map(|exchange| &exchange.actions)
    {
        bytewise.act(action, 1);
    }
    assert_eq!(bytewise.transcript, transcript, "{name}, byte by byte");

    let mut pipelined = Shell::new(dialogue);
    let mut input = Vec::new();
    for action in dialogue
        .exchanges
        .iter()
        .flat_map(|exchange| &exchange.actions)
    {
        if let Action::Say(bytes) = action {
            input.extend_from_slice(bytes);
            // Nothing behind it would be heard.
            if bytes.eq_ignore_ascii_case(b"STARTTLS\r\n") {
                pipelined.act(&Action::Say(mem::take(&mut input)), usize::MAX);
            }
        } else {
            pipelined.act(&Action::Say(mem::take(&mut input)), usize::MAX);
            pipelined.act(action, usize::MAX);
        }
    }
    pipelined.act(&Action::Say(input), usize::MAX);
    assert_eq!(pipelined.transcript, transcript, "{name}, pipelined");
}

/// Who speaks in every dialogue.
fn client() -> Client {
    Client {
        address: "192.0.2.7".parse().unwrap(),
        connected_at: Timestamp::from_seconds(1_700_000_000, 0),
        nonce: 1,
    }
}

/// Does what the receiver's shell does, on paper.
struct Shell<'a> {
    session: Session,
    outcomes: std::slice::Iter<'a, String>,
    messages: u64,
    personality: Personality,
    content: Vec<u8>,
    transcript: Vec<String>,
    closed: bool,
}

impl<'a> Shell<'a> {
    fn new(dialogue: &'a Dialogue) -> Self {
        let mut shell = Shell {
            session: Session::new(Arc::new(dialogue.profile.clone()), client()),
            outcomes: dialogue.outcomes.iter(),
            messages: 0,
            personality: dialogue.profile.personality,
            content: Vec::new(),
            transcript: Vec::new(),
            closed: false,
        };
        shell.flush();
        shell
    }

    fn act(&mut self, action: &Action, piece: usize) {
        match action {
            Action::Say(bytes) => bytes.chunks(piece).for_each(|bytes| self.feed(bytes)),
            Action::Timeout => self.session.timeout(),
            Action::Shutdown => self.session.shutdown(),
        }
        if !matches!(action, Action::Say(_)) {
            self.feed(b"");
        }
    }

    fn feed(&mut self, mut input: &[u8]) {
        while !self.closed {
            let (used, step) = self.session.step(input);
            input = &input[used..];
            self.flush();
            match step {
                Step::Read => return assert!(input.is_empty()),
                Step::Begin(transaction) => {
                    let to: Vec<String> = transaction
                        .rcpt_to
                        .iter()
                        .map(|to| format!("<{to}>"))
                        .collect();
                    let user = transaction.user.map(|user| format!(" user={user}"));
                    self.transcript.push(format!(
                        "E: helo={} from=<{}> to={}{}",
                        transaction.helo,
                        transaction.mail_from,
                        to.join(","),
                        user.unwrap_or_default()
                    ));
                }
                Step::StartTls => {
                    self.transcript.push("H:".into());
                    self.session.tls("TLSv1.3");
                    return;
                }
                Step::Attempt(attempt) => self.transcript.push(login(&attempt)),
                Step::Content(content) => self.content.extend_from_slice(content),
                Step::Abandon | Step::Reset => {
                    self.content.clear();
                    self.transcript.push("A:".into());
                }
                Step::End => self.store(),
                Step::Close => {
                    self.closed = true;
                    self.transcript.push("X:".into());
                }
            }
        }
    }

    fn store(&mut self) {
        let content = mem::take(&mut self.content);
        self.transcript
            .push(format!("D: {}", escape(&content)).trim_end().into());
        self.messages += 1;
        let id = MessageId {
            at: Timestamp::from_seconds(1_700_000_000, 123_456),
            number: self.messages + 1_000_000,
        };
        let told = self.personality.queue_id(&id);
        self.session
            .finish(match self.outcomes.next().map(String::as_str) {
                None | Some("kept") => Outcome::Kept(id.clone()),
                Some("full") => Outcome::Full,
                Some("failed") => Outcome::Failed,
                Some(other) => panic!("unknown outcome {other}"),
            });
        self.flush_naming(&told);
    }

    fn flush(&mut self) {
        self.flush_naming("no message");
    }

    /// Takes the replies; the message of this id is the `Q1`, `Q2`, … of the dialogue.
    fn flush_naming(&mut self, id: &str) {
        let output = String::from_utf8(mem::take(self.session.output())).unwrap();
        let output = output.replace(id, &format!("Q{}", self.messages));
        for line in output.split_inclusive("\r\n") {
            let line = line.strip_suffix("\r\n").expect("a reply without CRLF");
            self.transcript.push(format!("S: {line}").trim_end().into());
        }
    }
}

fn login(attempt: &Attempt) -> String {
    let secret = match &attempt.secret {
        Secret::Password(password) => escape(password),
        Secret::Digest { digest, .. } => escape(digest),
        Secret::Raw(response) => escape(response),
        Secret::Unsent => "-".into(),
    };
    let name = attempt.mechanism.name();
    let user = match attempt.user.len() {
        0..=300 => escape(&attempt.user),
        many => format!("({many} bytes)"),
    };
    let fate = if attempt.accepted {
        "accepted"
    } else {
        "refused"
    };
    format!("L: {name} {user} {secret} {fate}")
}

/// Content as a `D:` line shows it.
fn escape(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'\r' => "\\r".into(),
            b'\n' => "\\n".into(),
            0 => "\\0".into(),
            b'\\' => "\\\\".into(),
            b' '..=b'~' => char::from(byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect()
}

//! Replays the dialogues in `tests/golden/smtp/` and compares every reply.
//!
//! Each dialogue runs three times: line by line with the replies compared after each exchange,
//! byte by byte, and as one pipelined input; the three must give the same transcript.
//!
//! A dialogue opens with a comment that says what it holds. Its lines:
//!
//! - `# …` comment; empty lines are skipped
//! - `P: max_message_size N`, `P: max_recipients N` profile (10240000 and 1000 unless given)
//! - `P: auth required`, `P: auth any|none`, `P: auth USER PASSWORD` who may log in, and who must
//! - `O: kept|full|failed` outcome of the next message (`kept` unless given, as `Q1`, `Q2`, …)
//! - `C: …` the client sends this line and CRLF
//! - `T: timeout`, `T: shutdown` the shell calls that function
//! - `S: …` the session replies with this line
//! - `P: tls` the shell can do TLS
//! - `H:` a TLS handshake is done
//! - `L: MECHANISM USER PASSWORD accepted|refused` somebody tried to log in
//! - `E: helo=… from=<…> to=<…>,<…> user=…` a message begins, with this envelope; `user` only where
//!   there is one
//! - `D: …` a message ends, with this content
//! - `A:` the message is abandoned
//! - `X:` the connection is to be closed
//!
//! Escapes, in `C:` and `D:`: `\r \n \0 \\ \xNN`, `\(3*a)` for `aaa`, and `\c` at the end of a
//! `C:` line for no CRLF.

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiva::smtp::{Accept, Attempt, Client, Outcome, Pair, Profile, Secret, Session, Step};
use shiva::timestamp::Timestamp;

/// Raise it with every dialogue that is added: a runner that finds too few must not pass.
const DIALOGUES: usize = 25;

enum Action {
    Say(Vec<u8>),
    Timeout,
    Shutdown,
}

/// What is done to the session, and the transcript that must come of it.
struct Exchange {
    actions: Vec<Action>,
    expected: Vec<String>,
}

struct Dialogue {
    profile: Profile,
    outcomes: Vec<String>,
    exchanges: Vec<Exchange>,
}

#[test]
fn dialogues() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/smtp");
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
        .collect();
    files.sort();
    assert!(
        files.len() >= DIALOGUES,
        "{} dialogues in {}, there should be {DIALOGUES}",
        files.len(),
        directory.display()
    );
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy();
        assert!(text.starts_with("# "), "{name} must open with a comment");
        replay(&name, &parse(&name, &text));
    }
}

fn replay(name: &str, dialogue: &Dialogue) {
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
    messages: usize,
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
                Step::Abandon => {
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
        self.session
            .finish(match self.outcomes.next().map(String::as_str) {
                None | Some("kept") => Outcome::Kept {
                    queue_id: format!("Q{}", self.messages),
                },
                Some("full") => Outcome::Full,
                Some("failed") => Outcome::Failed,
                Some(other) => panic!("unknown outcome {other}"),
            });
        self.flush();
    }

    fn flush(&mut self) {
        let output = String::from_utf8(mem::take(self.session.output())).unwrap();
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
    };
    let (name, user) = (attempt.mechanism.name(), escape(&attempt.user));
    let fate = if attempt.accepted {
        "accepted"
    } else {
        "refused"
    };
    format!("L: {name} {user} {secret} {fate}")
}

fn parse(name: &str, text: &str) -> Dialogue {
    let mut dialogue = Dialogue {
        profile: Profile {
            hostname: "mx.example".into(),
            max_message_size: 10_240_000,
            max_recipients: 1000,
            ..Profile::default()
        },
        outcomes: Vec::new(),
        exchanges: vec![Exchange {
            actions: Vec::new(),
            expected: Vec::new(),
        }],
    };
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (kind, rest) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("{name}: {line}"));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "P" => set(&mut dialogue.profile, rest),
            "O" => dialogue.outcomes.push(rest.into()),
            "C" | "T" => {
                let action = match rest {
                    "timeout" if kind == "T" => Action::Timeout,
                    "shutdown" if kind == "T" => Action::Shutdown,
                    _ => Action::Say(unescape(rest)),
                };
                let last = dialogue.exchanges.last_mut().unwrap();
                if last.expected.is_empty() {
                    last.actions.push(action);
                } else {
                    dialogue.exchanges.push(Exchange {
                        actions: vec![action],
                        expected: Vec::new(),
                    });
                }
            }
            "S" | "H" | "L" | "E" | "D" | "A" | "X" => {
                dialogue
                    .exchanges
                    .last_mut()
                    .unwrap()
                    .expected
                    .push(line.trim_end().into());
            }
            _ => panic!("{name}: {line}"),
        }
    }
    let replies = dialogue
        .exchanges
        .iter()
        .map(|exchange| exchange.expected.len());
    assert!(replies.sum::<usize>() > 1, "{name} expects nothing");
    dialogue
}

fn set(profile: &mut Profile, setting: &str) {
    match setting.split_once(' ') {
        Some(("max_message_size", value)) => profile.max_message_size = value.parse().unwrap(),
        Some(("max_recipients", value)) => profile.max_recipients = value.parse().unwrap(),
        None if setting == "tls" => profile.tls = true,
        Some(("auth", "required")) => profile.auth.required = true,
        Some(("auth", "any")) => profile.auth.accept = Accept::Any,
        Some(("auth", "none")) => profile.auth.accept = Accept::None,
        Some(("auth", pair)) => {
            let (user, password) = pair.split_once(' ').unwrap();
            let (user, password) = (user.into(), password.into());
            profile.auth.pairs.push(Pair { user, password });
        }
        _ => panic!("unknown setting {setting}"),
    }
}

/// The bytes that a `C:` line stands for.
fn unescape(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((plain, escaped)) = text.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let (code, rest) = escaped.split_at(1);
        text = rest;
        match code {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "0" => bytes.push(0),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                text = &rest[2..];
            }
            "(" => {
                let (repetition, after) = rest.split_once(')').unwrap();
                let (times, what) = repetition.split_once('*').unwrap();
                bytes.extend(what.repeat(times.parse().unwrap()).bytes());
                text = after;
            }
            "c" if rest.is_empty() => return bytes,
            _ => panic!("unknown escape \\{code}"),
        }
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    bytes
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

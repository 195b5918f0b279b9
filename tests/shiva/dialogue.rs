//! The dialogues in `tests/golden/smtp/PERSONALITY/`, as they are written.
//!
//! A dialogue opens with a comment that says what it holds. Its lines:
//!
//! - `# …` comment; empty lines are skipped
//! - `N: …` the real server would do otherwise, or cannot be brought to it: why
//! - `P: max_message_size N`, `P: max_recipients N` profile (10240000 and 1000 unless given)
//! - `P: auth required`, `P: auth any|none`, `P: auth USER PASSWORD` who may log in, and who must
//! - `O: kept|full|failed` outcome of the next message (`kept` unless given, as `Q1`, `Q2`, …)
//! - `C: …` the client sends this line and CRLF
//! - `T: timeout`, `T: shutdown` the shell calls that function
//! - `S: …` the session replies with this line
//! - `P: tls` the shell can do TLS
//! - `H:` a TLS handshake is done
//! - `L: MECHANISM USER PASSWORD accepted|refused` somebody tried to log in; a dash where no password
//!   came
//! - `E: helo=… from=<…> to=<…>,<…> user=…` a message begins, with this envelope; `user` only where
//!   there is one
//! - `D: …` a message ends, with this content
//! - `A:` the message is abandoned, or taken back
//! - `X:` the connection is to be closed
//!
//! Escapes, in `C:` and `D:`: `\r \n \0 \\ \xNN`, `\(3*a)` for `aaa`, and `\c` at the end of a
//! `C:` line for no CRLF.

use std::fs;
use std::path::Path;

use shiva::smtp::{Accept, Pair, Personality, Profile};

/// Raise it with every dialogue that is added: who finds too few must not pass.
const DIALOGUES: usize = 84;

#[derive(Clone)]
pub enum Action {
    Say(Vec<u8>),
    Timeout,
    Shutdown,
}

/// What is done to the session, and the transcript that must come of it.
pub struct Exchange {
    pub actions: Vec<Action>,
    pub expected: Vec<String>,
}

pub struct Dialogue {
    /// Its file, for messages.
    pub name: String,
    /// Why the real server is not held to it, if it is not.
    pub ours_alone: Option<String>,
    pub profile: Profile,
    pub outcomes: Vec<String>,
    pub exchanges: Vec<Exchange>,
}

/// Reads all dialogues, those of one server after the other.
pub fn all() -> Vec<Dialogue> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/smtp");
    let mut dialogues = Vec::new();
    for (server, personality) in Personality::NAMED {
        let mut files: Vec<_> = fs::read_dir(root.join(server))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "txt"))
            .collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let name = format!("{server}/{}", file.file_name().unwrap().to_string_lossy());
            assert!(text.starts_with("# "), "{name} must open with a comment");
            dialogues.push(parse(name, personality, &text));
        }
    }
    let found = dialogues.len();
    assert!(
        found >= DIALOGUES,
        "{found} dialogues, there should be {DIALOGUES}"
    );
    dialogues
}

fn parse(name: String, personality: Personality, text: &str) -> Dialogue {
    let mut dialogue = Dialogue {
        name: name.clone(),
        ours_alone: None,
        profile: Profile {
            hostname: "mx.example".into(),
            max_message_size: 10_240_000,
            max_recipients: 1000,
            personality,
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
            "N" => dialogue.ours_alone = Some(rest.into()),
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

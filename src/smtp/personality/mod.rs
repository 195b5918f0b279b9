//! Whom the receiver plays: the words of one mail server.
//!
//! A [`Personality`] is one server in one version, as Debian 12 has it, in its default
//! configuration made as lenient as that server can be made: it relays for everybody, takes
//! addresses without a domain, and needs no HELO. What differs between servers is what each
//! [`Face`] decides: the wording of every answer, which commands it knows, what it looks at
//! first, and how much it bears before it hangs up.
//!
//! A face lasts as long as its session, and counts what its server counts. The texts were compared
//! with the real servers, and a test does so again (`tests/shiva/same_face.rs`); the faces say
//! what is from elsewhere.
//!
//! A reply never carries a stranger's bytes as they came: [`echo`] bounds them and takes control
//! characters out, so that no reply can hold a second line.

mod exim;
mod postfix;
mod sendmail;

use std::fmt::Debug;

use super::answer::Answer;
use super::auth::Mechanism;
use super::command::Verb;
use super::{Client, MessageId, Profile};

/// Which server is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Personality {
    /// Postfix 3.7.
    #[default]
    Postfix,
    /// Exim 4.96.
    Exim,
    /// Sendmail 8.17.
    Sendmail,
}

impl Personality {
    /// All of them, with the names that the configuration knows them by.
    pub const NAMED: [(&'static str, Personality); 3] = [
        ("postfix", Personality::Postfix),
        ("exim", Personality::Exim),
        ("sendmail", Personality::Sendmail),
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Personality> {
        let named = Personality::NAMED.iter().find(|(known, _)| *known == name);
        named.map(|&(_, personality)| personality)
    }

    /// The name by which a message is known, in the form that the server gives it.
    pub fn queue_id(self, id: &MessageId) -> String {
        match self {
            Personality::Postfix => postfix::queue_id(id),
            Personality::Exim => exim::queue_id(id),
            Personality::Sendmail => sendmail::queue_id(id),
        }
    }

    /// The face for one session.
    pub(super) fn face(self) -> Box<dyn Face + Send> {
        match self {
            Personality::Postfix => Box::<postfix::Postfix>::default(),
            Personality::Exim => Box::<exim::Exim>::default(),
            Personality::Sendmail => Box::<sendmail::Sendmail>::default(),
        }
    }
}

/// What an answer may speak of, beside what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub profile: &'a Profile,
    pub client: &'a Client,
    /// What the client called itself.
    pub helo: &'a str,
    /// Whether it said EHLO.
    pub extended: bool,
    /// Whether the session is encrypted.
    pub encrypted: bool,
}

impl Context<'_> {
    /// Whether STARTTLS is offered.
    pub(super) fn offers_tls(&self) -> bool {
        self.profile.tls && !self.encrypted
    }
}

/// What one server does differently from others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// A command's shape is looked at before what it comes after.
    pub shape_first: bool,
    /// HELO and EHLO need a name.
    pub needs_name: bool,
    /// SIZE must be a number.
    pub size_is_number: bool,
    /// AUTH counts as offered only after EHLO.
    pub auth_after_ehlo: bool,
    /// AUTH is told that somebody is logged in rather than that there is a transaction.
    pub login_before_transaction: bool,
    /// A response that comes with AUTH CRAM-MD5, where there is nothing to respond to yet, is
    /// passed over and not refused.
    pub passes_over_early_response: bool,
    /// ETRN may not stand within a transaction.
    pub etrn_outside_mail: bool,
    /// Whether BDAT is offered, and how it is taken.
    pub chunking: Chunking,
    /// Of a line that is too long the beginning is read.
    pub reads_beginnings: bool,
    /// A line that is no command is told whether it is UTF-8.
    pub wants_utf8: bool,
}

/// How BDAT is taken (RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunking {
    /// It is not.
    No,
    /// After a chunk that is refused, those that follow are passed over to the last. What cannot be
    /// understood ends the session.
    PassOver,
    /// Once EHLO was said. What is no chunk is refused until RSET, and a message that is too large
    /// is heard to its end.
    HearOut,
}

/// How one server speaks, and where it differs in what it does.
pub(super) trait Face: Debug {
    /// What it does differently.
    fn habits(&self) -> Habits;

    /// Whether this is a command of the server.
    fn knows(&self, verb: Verb) -> bool;

    /// Whether a command may have arguments. Asked only of those that need none.
    fn takes_arguments(&self, verb: Verb) -> bool;

    /// Hears that a command has come; last words where it is one too many.
    fn hear(&mut self, _verb: Verb) -> Option<Answer<'static>> {
        None
    }

    /// Appends an answer, each line of it with its CRLF.
    fn say(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>);

    /// Appends a refusal, and last words where it was one too many; true where the session is
    /// over.
    fn refuse(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) -> bool;
}

/// The mechanisms of AUTH, as EHLO lists them.
fn mechanisms() -> String {
    Mechanism::ALL.map(Mechanism::name).join(" ")
}

/// Most bytes of a client's own words that a reply repeats at one place, so that a reply stays
/// within the 512 bytes of RFC 5321 §4.5.3.1.5: there are four such places at most.
const MAX_ECHO: usize = 100;

/// Appends one reply line.
fn put(output: &mut Vec<u8>, reply: &str) {
    output.extend_from_slice(reply.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// Appends a reply of several lines under one code.
fn put_lines(output: &mut Vec<u8>, code: u16, lines: &[String]) {
    for (at, line) in lines.iter().enumerate() {
        let separator = if at + 1 < lines.len() { '-' } else { ' ' };
        put(output, &format!("{code}{separator}{line}"));
    }
}

/// A client's bytes made fit to stand in a reply.
fn echo(bytes: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if text.len() + c.len_utf8() > MAX_ECHO {
            break;
        }
        text.push(if c.is_control() { '?' } else { c });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::timestamp::Timestamp;

    #[test]
    fn a_clients_words_are_bounded_and_stay_in_their_line() {
        assert_eq!(echo(b"a\r\n250 fake\x00\x1b\xff"), "a??250 fake??\u{fffd}");
        assert_eq!(echo("\u{1f4a9}".repeat(600).as_bytes()).len(), MAX_ECHO);
        assert!(echo("a\u{1f4a9}".repeat(600).as_bytes()).len() <= MAX_ECHO);
    }

    #[test]
    fn a_client_too_many_is_told_so_by_each_server() {
        let client = Client {
            address: "192.0.2.7".parse().unwrap(),
            connected_at: Timestamp::from_seconds(1_700_000_000, 0),
            nonce: 0,
        };
        let said = Personality::NAMED.map(|(_, personality)| {
            let profile = Profile {
                hostname: "mx".into(),
                personality,
                ..Profile::default()
            };
            String::from_utf8(crate::smtp::busy(&profile, &client)).unwrap()
        });
        let expected = [
            "421 4.7.0 mx Error: too many connections from 192.0.2.7\r\n",
            "421 Too many concurrent SMTP connections; please try again later.\r\n",
            "421 4.3.2 Too many open connections.\r\n",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn no_two_messages_have_one_id() {
        for (name, personality) in Personality::NAMED {
            let mut ids = HashSet::new();
            for number in 1_000_000..1_020_000 {
                let micros = u32::try_from(number % 3).unwrap();
                let at = Timestamp::from_seconds(1_700_000_000, micros);
                let id = personality.queue_id(&MessageId { at, number });
                let printable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                assert!(id.bytes().all(printable), "{name}: {id}");
                assert!(ids.insert(id), "{name}: {number}");
            }
        }
    }
}

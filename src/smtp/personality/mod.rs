//! Whom the receiver plays: the words of one mail server.
//!
//! A [`Personality`] is one server in one version, as Debian 12 has it, in its default
//! configuration made as lenient as that server can be made: it relays for everybody, takes
//! addresses without a domain, and needs no HELO. What differs between servers is what each
//! [`Face`] decides: the wording of every answer, which commands it knows, what it looks at
//! first, and how much it bears.
//!
//! A reply never carries a stranger's bytes as they came: [`echo`] bounds them and takes control
//! characters out, so that no reply can hold a second line.

mod postfix;

use std::fmt::Debug;

use super::answer::Answer;
use super::auth::Mechanism;
use super::command::Verb;
use super::{Client, Profile};

/// Which server is played.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Personality {
    /// Postfix 3.7.
    #[default]
    Postfix,
}

impl Personality {
    pub(super) fn face(self) -> &'static dyn Face {
        match self {
            Personality::Postfix => &postfix::Postfix,
        }
    }
}

/// What an answer may speak of, beside what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub profile: &'a Profile,
    pub client: &'a Client,
    /// Whether the session is encrypted.
    pub encrypted: bool,
}

impl Context<'_> {
    /// Whether STARTTLS is offered.
    pub(super) fn offers_tls(&self) -> bool {
        self.profile.tls && !self.encrypted
    }
}

/// What a session has seen too much of.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Refusals since the last message that was kept.
    pub errors: u32,
    /// Lines that were no command.
    pub unknown: u32,
}

/// What one server does differently from others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// AUTH counts as offered only after EHLO.
    pub auth_after_ehlo: bool,
    /// A response that comes with AUTH CRAM-MD5, where there is nothing to respond to yet, is
    /// passed over and not refused.
    pub passes_over_early_response: bool,
}

/// How one server speaks, and where it differs in what it does.
pub(super) trait Face: Debug + Sync {
    /// Appends an answer, each line of it with its CRLF.
    fn say(&self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>);

    /// Appends a refusal that is already counted in `tally`, and last words where it was one too
    /// many; true where the session is over.
    fn refuse(
        &self,
        answer: &Answer<'_>,
        tally: &Tally,
        context: &Context<'_>,
        output: &mut Vec<u8>,
    ) -> bool;

    /// What it does differently.
    fn habits(&self) -> Habits;

    /// Whether this is a command of the server.
    fn knows(&self, verb: Verb) -> bool;
}

/// The mechanisms of AUTH, as EHLO lists them.
pub(super) fn mechanisms() -> String {
    Mechanism::ALL.map(Mechanism::name).join(" ")
}

/// Most characters of a client's own words that a reply repeats, so that a reply stays within
/// the 512 bytes of RFC 5321 §4.5.3.1.5.
const MAX_ECHO: usize = 100;

/// Appends one reply line.
pub(super) fn put(output: &mut Vec<u8>, reply: &str) {
    output.extend_from_slice(reply.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// Appends a reply of several lines under one code.
pub(super) fn put_lines(output: &mut Vec<u8>, code: u16, lines: &[String]) {
    for (at, line) in lines.iter().enumerate() {
        let separator = if at + 1 < lines.len() { '-' } else { ' ' };
        put(output, &format!("{code}{separator}{line}"));
    }
}

/// A client's bytes made fit to stand in a reply.
pub(super) fn echo(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_ECHO)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_words_are_bounded_and_stay_in_their_line() {
        assert_eq!(echo(b"a\r\n250 fake\x00\x1b\xff"), "a??250 fake??\u{fffd}");
        assert!(echo("\u{1f4a9}".repeat(600).as_bytes()).len() <= 4 * MAX_ECHO);
    }
}

//! Whether a spam is worth relaying, and whether it may be. No I/O.
//!
//! `relaypolicy : counter` relays the first copies of each record. `probe` relays only what looks
//! like a spammer's own test of the relay: a mail to one recipient which is the first of its record
//! in the window and has one of the [`Tokens`], or whose recipient such a mail was sent to before.
//! The counters and what is never relayed hold for both.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::probe::Tokens;
use super::refusal::{self, Deny};
use super::slots::Slots;
use super::{Reason, smuggling};
use crate::config;
use crate::message::Message;

/// Recipients of tests that are remembered. When there are more, those met first in this process
/// stay.
pub const KNOWN_PROBES_MAX: usize = 100_000;

/// A spam, as the policy looks at it.
pub struct Candidate<'s> {
    /// The envelope's sender; `None` without an envelope.
    pub sender: Option<&'s str>,
    /// The envelope's recipients.
    pub recipients: &'s [String],
    /// The address that the client connected to.
    pub dst_ip: Option<IpAddr>,
    /// Whether it is the first of its record in the window.
    pub is_first: bool,
    /// What stands in it.
    pub message: &'s Message,
    /// Its bytes.
    pub raw: &'s [u8],
}

/// What the policy says of a spam.
pub struct Judged {
    /// It is a test of the relay.
    pub is_probe: bool,
    /// Whether it is worth relaying.
    pub verdict: Result<(), Reason>,
}

/// The policy of a configuration.
pub struct Policy {
    which: config::Policy,
    individual: u64,
    global: u64,
    max_recipients: usize,
    deny: Deny,
    /// Mail to this machine would end in its users' mailboxes, or come back to the receiver.
    own: Deny,
    tokens: Tokens,
}

impl Policy {
    /// The policy that these keys say.
    pub fn new(config: &config::Relay) -> Policy {
        Policy {
            which: config.policy,
            individual: config.individual,
            global: config.global,
            max_recipients: config.max_recipients,
            deny: Deny::new(&config.deny),
            own: Deny::new(&config.own_names),
            tokens: Tokens::new(&config.tokens, &config.hostname),
        }
    }

    /// Whether tests of the relay are told from other spam, relayed or not.
    pub fn looks_for_probes(&self) -> bool {
        self.which == config::Policy::Probe
    }

    /// Whether a spam is worth relaying, by its addresses and by what it looks like.
    pub fn judge(&self, spam: &Candidate<'_>, known: &KnownProbes) -> Judged {
        let addressed = self.addressed(spam);
        let is_probe = addressed.is_ok() && self.looks_for_probes() && self.is_probe(spam, known);
        let verdict = addressed.and(match is_probe || !self.looks_for_probes() {
            true => Ok(()),
            false => Err(Reason::NoProbe),
        });
        Judged { is_probe, verdict }
    }

    fn addressed(&self, spam: &Candidate<'_>) -> Result<(), Reason> {
        let sender = spam.sender.ok_or(Reason::NoEnvelope)?;
        if !(1..=self.max_recipients).contains(&spam.recipients.len()) {
            return Err(Reason::Recipients);
        }
        let mut recipients = spam.recipients.iter();
        if !refusal::is_plain_sender(sender) || !recipients.all(|to| refusal::is_plain(to)) {
            return Err(Reason::Address);
        }
        let denied = |to: &String| self.deny.denies(to) || self.own.denies(to);
        match self.deny.denies(sender) || spam.recipients.iter().any(denied) {
            true => Err(Reason::Denied),
            false => Ok(()),
        }
    }

    fn is_probe(&self, spam: &Candidate<'_>, known: &KnownProbes) -> bool {
        let [recipient] = spam.recipients else {
            return false;
        };
        known.has(recipient)
            || spam.is_first && self.tokens.found(spam.message, spam.dst_ip).is_some()
    }

    /// Whether the counters allow another copy of a record.
    pub fn within(&self, slots: &Slots, record: u32) -> Result<(), Reason> {
        if slots.all() >= self.global {
            return Err(Reason::WindowLimit);
        }
        if slots.of_record(record) >= self.individual {
            return Err(Reason::RecordLimit);
        }
        Ok(())
    }

    /// Whether a spam brings nothing that must not go on.
    pub fn harmless(&self, spam: &Candidate<'_>) -> Result<(), Reason> {
        if brings_program(spam) {
            return Err(Reason::Executable);
        }
        match smuggling::smuggles(spam.raw) {
            true => Err(Reason::Smuggling),
            false => Ok(()),
        }
    }
}

/// Whether a mail program could find something to run in a spam.
fn brings_program(spam: &Candidate<'_>) -> bool {
    let message = spam.message;
    let mut named = message.text_names.iter();
    message.attachments.iter().any(refusal::is_executable)
        || named.any(|name| refusal::is_name_refused(name))
        || [spam.raw, message.text.as_bytes()]
            .into_iter()
            .any(refusal::holds_uuencoded)
}

/// The recipients that tests of the relay were sent to. Clones share them: the ledger adds what it
/// meets, the correlation what the main store has from earlier windows and other analyzers.
#[derive(Clone, Debug, Default)]
pub struct KnownProbes(Arc<RwLock<HashSet<String>>>);

impl KnownProbes {
    /// Adds a recipient.
    pub fn add(&self, recipient: &str) {
        if self.has(recipient) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KNOWN_PROBES_MAX {
            known.insert(recipient.to_ascii_lowercase());
        }
    }

    /// Whether a test was sent to this recipient.
    pub fn has(&self, recipient: &str) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !known.is_empty() && known.contains(&recipient.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests;

//! What the stores keep of relaying: a line for every copy that was to go on, a count for what was
//! not, and the recipients that spammers test relays with.

use std::str::FromStr;

use crate::timestamp::Timestamp;

/// What became of a copy that was given a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Under way: the slot was taken, the relay host has not answered.
    Taken,
    /// The relay host answered 250 to the message.
    Accepted,
    /// The relay host answered 4xx or 5xx. The slot was given back.
    Refused,
    /// The relay host could not be reached, or was lost before it had the message. The slot was
    /// given back.
    Unreached,
    /// Not tried: relaying was switched off meanwhile, or the window closed. The slot was given
    /// back.
    Withdrawn,
    /// The answer to the message was lost, or the process died. It may have been accepted: the
    /// slot is kept.
    Unknown,
}

impl Fate {
    const ALL: [(Fate, &'static str); 6] = [
        (Fate::Taken, "taken"),
        (Fate::Accepted, "accepted"),
        (Fate::Refused, "refused"),
        (Fate::Unreached, "unreached"),
        (Fate::Withdrawn, "withdrawn"),
        (Fate::Unknown, "unknown"),
    ];

    /// The word for it in a store, a report and the log.
    pub fn as_str(self) -> &'static str {
        let found = Fate::ALL.iter().find(|(fate, _)| *fate == self);
        found.map_or("unknown", |(_, word)| word)
    }

    /// Whether it holds its slot.
    pub fn holds_slot(self) -> bool {
        matches!(self, Fate::Taken | Fate::Accepted | Fate::Unknown)
    }
}

impl FromStr for Fate {
    type Err = std::convert::Infallible;

    /// What no version of ours wrote is not known.
    fn from_str(word: &str) -> Result<Fate, Self::Err> {
        let found = Fate::ALL.iter().find(|(_, known)| *known == word);
        Ok(found.map_or(Fate::Unknown, |(fate, _)| *fate))
    }
}

/// A copy that was given a slot: a line of the relay's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The name its queue file had; never comes again.
    pub name: String,
    /// When the slot was taken.
    pub taken: Timestamp,
    /// When its fate was known.
    pub settled: Option<Timestamp>,
    /// What became of it.
    pub fate: Fate,
    /// What the relay host answered, or what went wrong.
    pub answer: String,
    /// The envelope's sender; empty for `<>`.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// The client that sent it.
    pub source: String,
    /// The sensor that took it.
    pub sensor: String,
}

/// Between the recipients of a relay in its column. No address that is relayed to holds it.
pub(super) const BETWEEN_RECIPIENTS: char = ' ';

/// The recipients of a relay for its column.
pub(super) fn join_recipients(recipients: &[String]) -> String {
    recipients.join(&BETWEEN_RECIPIENTS.to_string())
}

/// Records that a [`Probe`] tells of.
pub(super) const RECORDS_AFTER_PROBE: u64 = 20;

/// What became of a relay, on its way into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The window its slot was taken in.
    pub window: u64,
    /// The record's number in that window.
    pub seq: u64,
    /// The queue file's name.
    pub name: String,
    /// When it was known.
    pub at: Timestamp,
    /// What became of it.
    pub fate: Fate,
    /// What the relay host answered, or what went wrong.
    pub answer: String,
}

/// A recipient that a test of the relay was sent to, from one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSeen {
    /// The recipient.
    pub recipient: String,
    /// The client that sent it.
    pub source: String,
    /// How many, first and last.
    pub seen: super::Day,
}

/// A line of the relay's ledger with the record it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerLine {
    /// The record's id.
    pub id: String,
    /// The line.
    pub relay: Relay,
}

/// A recipient that relays were tested with, and what came after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The recipient.
    pub recipient: String,
    /// How many tests, first and last.
    pub seen: super::Day,
    /// The clients that sent them.
    pub sources: Vec<String>,
    /// Records that came from these clients since the first test, most frequent first: id,
    /// subject, spams.
    pub records: Vec<(String, String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates_are_read_as_they_are_written() {
        for (fate, word) in Fate::ALL {
            assert_eq!(fate.as_str(), word);
            assert_eq!(word.parse(), Ok(fate));
        }
        assert_eq!("from the future".parse(), Ok(Fate::Unknown));
    }
}

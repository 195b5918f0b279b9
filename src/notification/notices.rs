//! Which of the things that happen become a notice: of each kind the first at once, then one an
//! hour with the number of those held back. A decision without I/O.
//!
//! What is held back waits for the next of its kind: when nothing more happens, there is nothing
//! more to say.

use std::fmt;
use std::time::Duration;

use crate::timestamp::Timestamp;

/// The shortest time between two notices of a kind.
pub const EVERY: Duration = Duration::from_secs(3600);

/// The shortest time to the next try after a notice could not be sent.
pub const RETRY: Duration = Duration::from_secs(300);

/// What needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message could not be read and was set aside.
    Undeliverable,
    /// The database has been away for five minutes.
    DatabaseGone,
    /// A disk is nearly full.
    DiskNearlyFull,
    /// The hpfeeds broker refuses our credentials.
    BrokerRefuses,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 4] = [
        Kind::Undeliverable,
        Kind::DatabaseGone,
        Kind::DiskNearlyFull,
        Kind::BrokerRefuses,
    ];

    /// One word, for logs and the state file.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Undeliverable => "undeliverable",
            Kind::DatabaseGone => "database_gone",
            Kind::DiskNearlyFull => "disk_nearly_full",
            Kind::BrokerRefuses => "broker_refuses",
        }
    }
}

/// What one mail is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What it is.
    pub kind: Kind,
    /// When it happened.
    pub at: Timestamp,
    /// What and where, as it was reported.
    pub detail: String,
    /// How many more of its kind happened since the last notice of it.
    pub held_back: u64,
    /// The last notice of its kind, if there was one.
    pub last: Option<Timestamp>,
}

/// What is remembered of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Past {
    /// The last notice.
    last: Option<Timestamp>,
    /// The earliest moment of the next.
    next: Option<Timestamp>,
    held_back: u64,
}

/// What was mailed and what was held back, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notices([Past; Kind::ALL.len()]);

impl Notices {
    /// Takes in that something happened; what is to be mailed about it, if it is not held back.
    pub fn consider(&mut self, kind: Kind, detail: String, now: Timestamp) -> Option<Notice> {
        let past = &mut self.0[kind as usize];
        // A next moment out of reach was made by a clock that was wrong.
        let early = |next: Timestamp| now < next && next <= now.after(EVERY);
        if past.next.is_some_and(early) {
            past.held_back = past.held_back.saturating_add(1);
            return None;
        }
        past.next = Some(now.after(EVERY));
        Some(Notice {
            kind,
            at: now,
            detail,
            held_back: std::mem::take(&mut past.held_back),
            last: past.last.replace(now),
        })
    }

    /// So many more happened that nobody looked at.
    pub fn hold_back(&mut self, kind: Kind, count: u64) {
        let past = &mut self.0[kind as usize];
        past.held_back = past.held_back.saturating_add(count);
    }

    /// The notice just made could not be sent: it counts as held back, and the next may come
    /// sooner.
    pub fn was_not_sent(&mut self, notice: &Notice) {
        let past = &mut self.0[notice.kind as usize];
        past.last = notice.last;
        past.next = Some(notice.at.after(RETRY));
        past.held_back = past.held_back.saturating_add(notice.held_back + 1);
    }

    /// Reads what [`Display`](fmt::Display) wrote. A line that says nothing is passed over.
    pub fn read(text: &str) -> Notices {
        let mut notices = Notices::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, last, next, held_back] = words[..] else {
                continue;
            };
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
            if let (Some(kind), Ok(held_back)) = (kind, held_back.parse()) {
                notices.0[kind as usize] = Past {
                    last: Timestamp::parse_rfc3339(last),
                    next: Timestamp::parse_rfc3339(next),
                    held_back,
                };
            }
        }
        notices
    }
}

/// A line for each kind there is something to remember of: its name, the last notice, the earliest
/// moment of the next (`-` for none), and how many were held back.
impl fmt::Display for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = |at: Option<Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
        for kind in Kind::ALL {
            let past = &self.0[kind as usize];
            if *past != Past::default() {
                let (last, next) = (moment(past.last), moment(past.next));
                writeln!(f, "{} {last} {next} {}", kind.name(), past.held_back)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds, 0)
    }

    fn consider(notices: &mut Notices, kind: Kind, seconds: i64) -> Option<(u64, bool)> {
        let notice = notices.consider(kind, String::new(), at(seconds));
        notice.map(|notice| (notice.held_back, notice.last.is_some()))
    }

    #[test]
    fn one_an_hour_of_each_kind_with_the_number_held_back() {
        let mut notices = Notices::default();
        for (seconds, kind, notice) in [
            (0, Kind::Undeliverable, Some((0, false))),
            (1, Kind::Undeliverable, None),
            (1, Kind::DiskNearlyFull, Some((0, false))),
            (3599, Kind::Undeliverable, None),
            (3600, Kind::Undeliverable, Some((2, true))),
            (3601, Kind::DiskNearlyFull, Some((0, true))),
            (3602, Kind::Undeliverable, None),
            (90_000, Kind::Undeliverable, Some((1, true))),
        ] {
            let considered = consider(&mut notices, kind, seconds);
            assert_eq!(considered, notice, "{kind:?} at {seconds}");
        }
    }

    #[test]
    fn what_was_missed_counts_as_held_back() {
        let mut notices = Notices::default();
        notices.hold_back(Kind::Undeliverable, 5);
        assert_eq!(
            consider(&mut notices, Kind::Undeliverable, 0),
            Some((5, false))
        );
        assert_eq!(
            consider(&mut notices, Kind::Undeliverable, 4000),
            Some((0, true))
        );
    }

    #[test]
    fn what_could_not_be_sent_is_tried_sooner_and_counted() {
        let mut notices = Notices::default();
        let notice = notices.consider(Kind::DatabaseGone, "x".into(), at(0));
        notices.was_not_sent(&notice.unwrap());
        assert_eq!(consider(&mut notices, Kind::DatabaseGone, 299), None);
        // The first, and the one held back.
        assert_eq!(
            consider(&mut notices, Kind::DatabaseGone, 300),
            Some((2, false))
        );
        assert_eq!(consider(&mut notices, Kind::DatabaseGone, 700), None);
    }

    #[test]
    fn a_clock_that_was_wrong_silences_nobody() {
        let mut notices = Notices::default();
        assert!(consider(&mut notices, Kind::DatabaseGone, 1_000_000).is_some());
        assert!(consider(&mut notices, Kind::DatabaseGone, 0).is_some());
        assert!(consider(&mut notices, Kind::DatabaseGone, 1).is_none());
    }

    #[test]
    fn it_reads_what_it_wrote_and_passes_over_the_rest() {
        let mut notices = Notices::default();
        assert_eq!(notices.to_string(), "");
        consider(&mut notices, Kind::Undeliverable, 0);
        consider(&mut notices, Kind::Undeliverable, 1);
        notices.hold_back(Kind::BrokerRefuses, 7);
        let text = notices.to_string();
        assert_eq!(Notices::read(&text), notices, "{text}");
        let broken =
            format!("\u{0}\nwhat - - 1\nundeliverable\n database_gone - - x\n{text}cut of");
        assert_eq!(Notices::read(&broken), notices);
        let mut again = Notices::read(&text);
        assert_eq!(consider(&mut again, Kind::Undeliverable, 2), None);
        assert_eq!(
            consider(&mut again, Kind::Undeliverable, 3600),
            Some((2, true))
        );
    }
}

//! Gathering: records that others published go into the main store as those of a window do.
//!
//! One transaction takes some of them in, each with a marker of the payload that it came in, so that a
//! payload that comes again counts once. Each is compared with what the store held before the
//! transaction, then with those that were new in it.
//!
//! What a published record does not say: on which of its days how many of its spams came. The first
//! counts on its first day, all others on its last. Its attachments have no path here and it has no
//! sample. What was relayed of it was relayed by somebody else, and is not added.

use std::collections::BTreeSet;

use super::index::MainIndex;
use crate::parsed::{ParsedAttachment, ParsedSpam};
use crate::sameness::Rule;
use crate::store::bounds::{self, cut};
use crate::store::{
    Day, Known, MainStore, NewRecord, Part, Place, Result, Sets, TakenRecord, WindowKey,
};
use crate::timestamp::Timestamp;

/// A published record, on its way into the main store.
pub struct Published {
    /// The marker of its payload.
    pub key: WindowKey,
    /// The record as one of a window's.
    pub record: TakenRecord,
}

/// Takes published records into the main store.
pub struct Gathering {
    main: Box<dyn MainStore>,
    rule: Rule,
    known: MainIndex,
}

impl Gathering {
    /// Gathers in this store. After an error it is given up, and a new one made.
    pub fn new(rule: Rule, main: Box<dyn MainStore>) -> Gathering {
        Gathering {
            main,
            rule,
            known: MainIndex::new(rule),
        }
    }

    /// Reads into the index what came into the main store since it was read.
    pub fn catch_up(&mut self) -> Result<()> {
        let known = &mut self.known;
        self.main.each_known(known.last(), &mut |number, record| {
            known.add(number, &record)
        })
    }

    /// Takes all of these in, or none; returns how many were not in before.
    pub fn take_in(&mut self, published: &[Published]) -> Result<u64> {
        self.catch_up()?;
        let (known, rule) = (&mut self.known, self.rule);
        let mut count = 0;
        self.main.add(&mut |taking| {
            count = 0;
            taking.each_known(known.last(), &mut |number, record| {
                known.add(number, &record)
            })?;
            // What is new becomes known for good when the transaction is read back.
            let mut new = MainIndex::new(rule);
            for Published { key, record } in published {
                if !taking.mark(key)? {
                    continue;
                }
                count += 1;
                let record_known = &record.record.known;
                let found = known.find(record_known).or_else(|| new.find(record_known));
                match found {
                    Some(id) => taking.record(record, &Place::Into(id))?,
                    None => {
                        taking.record(record, &Place::New)?;
                        new.add(0, record_known)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(count)
    }
}

impl Published {
    /// The record that this payload held; `None` where no store can hold its times.
    pub fn new(payload: &[u8], parsed: &ParsedSpam) -> Option<Published> {
        let body = match parsed.html.as_str() {
            "" => &parsed.text,
            html => html,
        };
        let record = NewRecord {
            known: Known {
                id: parsed.id.clone(),
                ssdeep: parsed.ssdeep.clone(),
                length: parsed.length,
                body_chars: body.chars().count() as u64,
                has_text: !parsed.text.is_empty(),
            },
            from: cut(&parsed.from, bounds::FROM).into_owned(),
            subject: cut(&parsed.subject, bounds::SUBJECT).into_owned(),
            text: parsed.text.clone(),
            html: parsed.html.clone(),
            headers: cut(&parsed.headers, bounds::HEADERS).into_owned(),
            sample: String::new(),
        };
        Some(Published {
            key: WindowKey::of_payload(payload),
            record: TakenRecord {
                record,
                count: parsed.count,
                days: days(parsed)?,
                sets: sets(parsed),
                relays: Vec::new(),
            },
        })
    }
}

/// The first of its spams on its first day, the others on its last.
fn days(parsed: &ParsedSpam) -> Option<Vec<Day>> {
    let first = Timestamp::parse_rfc3339(&parsed.first_seen)?;
    let last = Timestamp::parse_rfc3339(&parsed.last_seen)?;
    if first.day() == last.day() {
        return Some(vec![Day {
            count: parsed.count,
            first_seen: first,
            last_seen: last,
        }]);
    }
    let rest = |count| Day {
        count,
        ..Day::once(last)
    };
    Some(match parsed.count {
        ..=1 => vec![rest(1)],
        count => vec![Day::once(first), rest(count - 1)],
    })
}

fn sets(parsed: &ParsedSpam) -> Sets {
    Sets {
        links: distinct(&parsed.links, bounds::LINK),
        ips: distinct(&parsed.ips, bounds::ADDRESS),
        sensors: distinct(&parsed.sensors, bounds::ADDRESS),
        recipients: distinct(&parsed.to, bounds::ADDRESS),
        users: distinct(&parsed.users, bounds::ADDRESS),
        parts: parsed
            .attachments
            .iter()
            .map(part)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    }
}

/// The values in their order, each once and no longer than so many bytes.
fn distinct(values: &[String], most: usize) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let values = values.iter().map(|value| cut(value, most).into_owned());
    values.filter(|value| seen.insert(value.clone())).collect()
}

fn part(part: &ParsedAttachment) -> Part {
    Part {
        name: cut(&part.name, bounds::FILE_NAME).into_owned(),
        media_type: cut(&part.media_type, bounds::MEDIA_TYPE).into_owned(),
        size: part.size,
        md5: part.md5.to_ascii_lowercase(),
        sha256: part.sha256.to_ascii_lowercase(),
        inline: part.inline,
        path: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spanning(count: u64, first_seen: &str, last_seen: &str) -> Vec<(String, u64)> {
        let parsed = ParsedSpam {
            id: "0f".repeat(16),
            count,
            first_seen: first_seen.into(),
            last_seen: last_seen.into(),
            ..ParsedSpam::default()
        };
        let published = Published::new(b"payload", &parsed).unwrap();
        let seen = published.record.seen();
        assert_eq!(seen.count, count);
        assert_eq!(seen.last_seen.rfc3339_seconds(), last_seen);
        let days = published.record.days.iter();
        days.map(|day| (day.first_seen.date(), day.count)).collect()
    }

    #[test]
    fn a_record_that_spans_days_counts_on_its_first_and_its_last() {
        let (morning, evening) = ("2026-11-21T01:00:00Z", "2026-11-21T23:00:00Z");
        let later = "2026-11-24T00:00:00Z";
        let (first, last) = ("2026-11-21".to_owned(), "2026-11-24".to_owned());
        assert_eq!(spanning(7, morning, evening), [(first.clone(), 7)]);
        assert_eq!(spanning(7, morning, later), [(first, 1), (last.clone(), 6)]);
        assert_eq!(spanning(1, morning, later), [(last, 1)]);
    }

    #[test]
    fn values_go_in_once_and_no_longer_than_their_columns() {
        let part = ParsedAttachment {
            name: "x".repeat(5000),
            sha256: "0F".repeat(32),
            ..ParsedAttachment::default()
        };
        let parsed = ParsedSpam {
            first_seen: "2026-11-21T01:00:00Z".into(),
            last_seen: "2026-11-21T01:00:00Z".into(),
            subject: "é".repeat(5000),
            links: vec!["b".into(), "a".into(), "b".into(), "x".repeat(10_000)],
            attachments: vec![part.clone(), part],
            ..ParsedSpam::default()
        };
        let record = Published::new(b"payload", &parsed).unwrap().record;
        assert!(record.record.subject.len() <= bounds::SUBJECT);
        let links: Vec<_> = record.sets.links.iter().map(String::len).collect();
        assert_eq!(links, [1, 1, bounds::LINK]);
        let parts: Vec<_> = record
            .sets
            .parts
            .iter()
            .map(|part| part.name.len())
            .collect();
        assert_eq!(parts, [bounds::FILE_NAME]);
        assert_eq!(record.sets.parts[0].sha256, "0f".repeat(32));
    }

    #[test]
    fn each_payload_has_a_marker_of_its_own() {
        let one = WindowKey::of_payload(b"one");
        assert_eq!(one, WindowKey::of_payload(b"one"));
        assert_ne!(one, WindowKey::of_payload(b"two"));
        assert_eq!(one.token.len(), 16);
        // SHA-256 of "one" begins with 7692c3ad3540bb80 3c020b3aee66cd88.
        assert_eq!(
            (one.window, one.token.as_str()),
            (0x7692_c3ad_3540_bb80 >> 1, "3c020b3aee66cd88")
        );
    }
}

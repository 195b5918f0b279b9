//! `shiva report`: totals and the most frequent spams.

use std::fmt::Write;

use serde::Serialize;

use crate::analyzer::stores;
use crate::config::Config;
use crate::escape;
use crate::exit::Failure;
use crate::queue::Maildir;
use crate::store::{TopSpam, Totals};

/// Spams in the top list.
const TOP: usize = 10;

/// Columns of a subject in the table.
const SUBJECT_COLUMNS: usize = 44;

#[derive(Serialize)]
struct Report<'a> {
    totals: Totals,
    /// `null` for an operator who may not look into the queue.
    queue: Option<u64>,
    top: Vec<Top<'a>>,
}

#[derive(Serialize)]
struct Top<'a> {
    id: &'a str,
    count: u64,
    subject: &'a str,
    first_seen: String,
    last_seen: String,
    ips: u64,
    links: u64,
    attachments: u64,
}

/// Prints the report.
pub fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let mut reader = stores(config).reader()?;
    let totals = reader.totals()?;
    let spams = reader.top(TOP)?;
    let queue = Maildir::look(&config.queuepath).count(usize::MAX);
    let queue = queue.map(|length| length as u64);
    let top: Vec<Top<'_>> = spams.iter().map(top).collect();
    if json {
        return super::print_json(&Report { totals, queue, top });
    }
    super::print(table(&totals, queue, &top).as_bytes())
}

fn top(spam: &TopSpam) -> Top<'_> {
    Top {
        id: &spam.id,
        count: spam.count,
        subject: &spam.subject,
        first_seen: spam.first_seen.rfc3339_seconds(),
        last_seen: spam.last_seen.rfc3339_seconds(),
        ips: spam.ips,
        links: spam.links,
        attachments: spam.attachments,
    }
}

fn table(totals: &Totals, queue: Option<u64>, top: &[Top<'_>]) -> String {
    let mut out = String::from("SHIVA report\n\n");
    for (name, number) in [
        ("Spams received and analysed", totals.spams),
        ("Distinct spams", totals.distinct),
        ("Distinct links", totals.links),
        ("Source addresses", totals.ips),
        ("Distinct attachments", totals.attachments),
        ("Sensors", totals.sensors),
        ("Undeliverable messages", totals.undeliverable),
        ("Relayed", totals.relayed),
    ] {
        let _ = writeln!(out, "  {name:<28}{:>15}", grouped(number));
    }
    let waiting = queue.map_or("not known to you".into(), grouped);
    let _ = writeln!(out, "  {:<28}{waiting:>15}", "Waiting in the queue");
    if top.is_empty() {
        return out;
    }
    let _ = writeln!(
        out,
        "\nMost frequent\n\n  {:>9}  {:<8}  {}  {:<16}  {:<16}  {:>5}  {:>5}  {:>5}",
        "count",
        "id",
        escape::column("subject", SUBJECT_COLUMNS),
        "first seen (UTC)",
        "last seen (UTC)",
        "ips",
        "links",
        "files"
    );
    for spam in top {
        let _ = writeln!(
            out,
            "  {:>9}  {:<8}  {}  {:<16}  {:<16}  {:>5}  {:>5}  {:>5}",
            grouped(spam.count),
            spam.id.get(..8).unwrap_or(spam.id),
            escape::column(subject(spam.subject), SUBJECT_COLUMNS),
            minute(&spam.first_seen),
            minute(&spam.last_seen),
            spam.ips,
            spam.links,
            spam.attachments
        );
    }
    out.push_str("\n`shiva show ID` tells all that is known of one.\n");
    out
}

fn subject(subject: &str) -> &str {
    if subject.trim().is_empty() {
        "(no subject)"
    } else {
        subject
    }
}

/// `2026-11-21T21:07:55Z` as `2026-11-21 21:07`.
fn minute(rfc3339: &str) -> String {
    rfc3339.get(..16).unwrap_or(rfc3339).replace('T', " ")
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let numbers = [0, 7, 999, 1000, 1_847_091].map(grouped);
        assert_eq!(numbers, ["0", "7", "999", "1,000", "1,847,091"]);
    }

    #[test]
    fn a_hostile_subject_keeps_to_its_column() {
        let spam = Top {
            id: "0123456789abcdef0123456789abcdef",
            count: 12_345,
            subject: "\x1b[2J\r\nevil\u{202e} 你好你好你好你好你好你好你好你好你好你好",
            first_seen: "2026-11-21T21:07:55Z".into(),
            last_seen: "2026-11-21T21:08:55Z".into(),
            ips: 1,
            links: 2,
            attachments: 3,
        };
        let text = table(&Totals::default(), None, &[spam]);
        let waiting = "  Waiting in the queue        not known to you\n";
        assert!(text.contains(waiting), "{text}");
        assert!(!text.contains(['\x1b', '\r', '\u{202e}']));
        let row = text.lines().find(|line| line.contains("01234567")).unwrap();
        assert!(
            row.ends_with("2026-11-21 21:07  2026-11-21 21:08      1      2      3"),
            "{row}"
        );
    }
}

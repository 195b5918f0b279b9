//! `shiva probes`: the recipients that spammers tested the relay with, and what came after.

use std::fmt::Write;

use serde::Serialize;

use super::report::grouped;
use crate::analyzer::stores;
use crate::config::Config;
use crate::escape;
use crate::exit::Failure;
use crate::store::Probe;

/// Recipients shown to a person.
const LINES: usize = 50;

/// Recipients in JSON.
const JSON_LINES: usize = 100_000;

#[derive(Serialize)]
struct Tested<'a> {
    recipient: &'a str,
    count: u64,
    first_seen: String,
    last_seen: String,
    sources: &'a [String],
    /// Records from these sources since the first test.
    followed: Vec<Followed<'a>>,
}

#[derive(Serialize)]
struct Followed<'a> {
    id: &'a str,
    subject: &'a str,
    count: u64,
}

/// Shows the recipients.
pub fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let most = if json { JSON_LINES } else { LINES };
    let probes = stores(config).reader()?.probes(most)?;
    let tested: Vec<Tested<'_>> = probes.iter().map(tested).collect();
    if json {
        return super::print_json(&tested);
    }
    super::print(text(&tested).as_bytes())
}

fn tested(probe: &Probe) -> Tested<'_> {
    Tested {
        recipient: &probe.recipient,
        count: probe.seen.count,
        first_seen: probe.seen.first_seen.rfc3339_seconds(),
        last_seen: probe.seen.last_seen.rfc3339_seconds(),
        sources: &probe.sources,
        followed: probe
            .records
            .iter()
            .map(|(id, subject, count)| Followed {
                id,
                subject,
                count: *count,
            })
            .collect(),
    }
}

fn text(tested: &[Tested<'_>]) -> String {
    if tested.is_empty() {
        return "No test of the relay was seen. They are looked for with `relaypolicy : probe`.\n"
            .into();
    }
    let mut out = String::from("Recipients that the relay was tested with (UTC)\n");
    for probe in tested {
        let _ = writeln!(
            out,
            "\n  {}\n      {} tests, {} to {}, sent by {}",
            escape::line(probe.recipient),
            grouped(probe.count),
            minute(&probe.first_seen),
            minute(&probe.last_seen),
            escape::line(&probe.sources.join(", "))
        );
        for record in &probe.followed {
            let _ = writeln!(
                out,
                "      followed by {} of {}  {}",
                grouped(record.count),
                record.id.get(..8).unwrap_or(record.id),
                escape::line(record.subject)
            );
        }
    }
    out
}

/// `2026-11-21T21:07:55Z` as `2026-11-21 21:07`.
fn minute(rfc3339: &str) -> String {
    rfc3339.get(..16).unwrap_or(rfc3339).replace('T', " ")
}

//! `shiva relay`: what went on to the relay host, and what did not; `off` and `on` are the kill
//! switch.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::ValueEnum;
use serde::Serialize;

use super::report::grouped;
use crate::analyzer::stores;
use crate::config::{Config, Policy};
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::relay::switch::Switch;
use crate::store::{Fate, LedgerLine};

/// Lines of the ledger shown to a person.
const LINES: usize = 20;

/// Lines of the ledger in JSON.
const JSON_LINES: usize = 100_000;

/// Where the kill switch is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SwitchTo {
    /// Relay nothing from now on, whatever the configuration says
    Off,
    /// Relay again, if the configuration has it on
    On,
}

#[derive(Serialize)]
struct Ledger<'a> {
    /// `relay` of the configuration.
    relay: bool,
    /// Whether the kill switch allows it; `null` for an operator who may not look.
    switched_on: Option<bool>,
    policy: &'static str,
    host: String,
    individualcounter: u64,
    globalcounter: u64,
    /// Copies given a slot, by what became of them.
    copies: BTreeMap<&'static str, u64>,
    /// Spams that were given none, by reason.
    not_relayed: BTreeMap<&'a str, u64>,
    ledger: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    taken: String,
    settled: Option<String>,
    fate: &'static str,
    answer: &'a str,
    sender: &'a str,
    recipients: &'a [String],
    source_ip: &'a str,
    sensor: &'a str,
    file: &'a str,
}

/// Switches relaying off or on; at once, and for good.
pub fn switch(config: &Config, to: SwitchTo) -> Result<(), Failure> {
    let switch = Switch::of(&config.queuepath);
    let (switched, said) = match to {
        SwitchTo::Off => (
            switch.turn_off(),
            "Relaying is switched off, until `shiva relay on`.\n",
        ),
        SwitchTo::On if config.relay.on => (switch.turn_on(), "Relaying is switched on.\n"),
        SwitchTo::On => (
            switch.turn_on(),
            "The switch is on. Nothing is relayed: `relay` is off in the configuration.\n",
        ),
    };
    switched.map_err(|error| {
        Failure::new(
            Exit::CantCreate,
            format!("{error}; run this as root, or stop the analyzer to stop relaying"),
        )
    })?;
    super::print(said.as_bytes())
}

/// Shows the ledger.
pub fn run(config: &Config, json: bool) -> Result<(), Failure> {
    let mut reader = stores(config).reader()?;
    let lines = reader.relays(if json { JSON_LINES } else { LINES })?;
    let (fates, reasons) = (reader.fates()?, reader.unrelayed()?);
    let relay = &config.relay;
    let ledger = Ledger {
        relay: relay.on,
        switched_on: Switch::of(&config.queuepath).look(),
        policy: match relay.policy {
            Policy::Counter => "counter",
            Policy::Probe => "probe",
        },
        host: relay.server(),
        individualcounter: relay.individual,
        globalcounter: relay.global,
        copies: fates
            .iter()
            .map(|(fate, count)| (fate.as_str(), *count))
            .collect(),
        not_relayed: reasons
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count))
            .collect(),
        ledger: lines.iter().map(line).collect(),
    };
    if json {
        return super::print_json(&ledger);
    }
    super::print(text(&ledger, &fates, &reasons).as_bytes())
}

fn line(line: &LedgerLine) -> Line<'_> {
    let relay = &line.relay;
    Line {
        id: &line.id,
        taken: relay.taken.rfc3339_seconds(),
        settled: relay.settled.map(|at| at.rfc3339_seconds()),
        fate: relay.fate.as_str(),
        answer: &relay.answer,
        sender: &relay.sender,
        recipients: &relay.recipients,
        source_ip: &relay.source,
        sensor: &relay.sensor,
        file: &relay.name,
    }
}

fn text(ledger: &Ledger<'_>, fates: &[(Fate, u64)], reasons: &[(String, u64)]) -> String {
    let state = match (ledger.relay, ledger.switched_on) {
        (false, _) => "off in the configuration".to_owned(),
        (true, Some(false)) => "switched off; `shiva relay on` switches it on".to_owned(),
        (true, switch) => format!(
            "on{}, policy {}, to {}; {} copies of a spam and {} spams a window at most",
            if switch.is_none() {
                " in the configuration (its switch is not for you to see)"
            } else {
                ""
            },
            ledger.policy,
            ledger.host,
            grouped(ledger.individualcounter),
            grouped(ledger.globalcounter)
        ),
    };
    let mut out = format!("Relaying is {state}\n");
    if !fates.is_empty() {
        out.push_str("\nHanded to the relay host\n\n");
    }
    for (fate, count) in fates {
        let _ = writeln!(out, "  {:<28}{:>15}", fate.as_str(), grouped(*count));
    }
    if !reasons.is_empty() {
        out.push_str("\nNot relayed, by reason\n\n");
    }
    for (reason, count) in reasons {
        let _ = writeln!(out, "  {:<28}{:>15}", escape::line(reason), grouped(*count));
    }
    if !ledger.ledger.is_empty() {
        out.push_str("\nLatest (UTC)\n\n");
    }
    for line in &ledger.ledger {
        let time = line.taken.get(..19).unwrap_or_default().replace('T', " ");
        let id = line.id.get(..8).unwrap_or(line.id);
        let recipients = line.recipients.join(" ");
        let _ = writeln!(
            out,
            "  {time}  {id}  {}  from <{}> to <{}>, sent by {}",
            line.fate,
            escape::line(line.sender),
            escape::line(&recipients),
            escape::line(line.source_ip)
        );
        if !line.answer.is_empty() {
            let _ = writeln!(out, "      {}", escape::line(line.answer));
        }
    }
    out
}

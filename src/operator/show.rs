//! `shiva show`: one distinct spam with all that is known of it.

use std::fmt::Write;
use std::io::ErrorKind;

use super::report::grouped;
use crate::analyzer::stores;
use crate::config::Config;
use crate::envelope;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::parsed::ParsedSpam;
use crate::store::{Find, Spam};

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For a person.
    Text,
    /// As JSON, with the keys of the payload `shiva.parsed`.
    Json,
    /// The sample's message bytes, exactly as received.
    Raw,
}

/// Lines of a body shown to a person.
const BODY_LINES: usize = 40;

/// Values of a set shown to a person.
const SET_VALUES: usize = 50;

/// Shows the spam whose id begins with `id`.
pub fn run(config: &Config, id: &str, form: Form) -> Result<(), Failure> {
    let spam = match stores(config).reader()?.find(id)? {
        Find::One(spam) => spam,
        Find::None => {
            return Err(Failure::new(
                Exit::NoInput,
                format!("no spam has an id that begins with \"{id}\"; `shiva report` lists some"),
            ));
        }
        Find::Several(ids) => {
            return Err(Failure::new(
                Exit::NoInput,
                format!("several ids begin so, give more of it: {}", ids.join(" ")),
            ));
        }
    };
    match form {
        Form::Text => super::print(text(&spam).as_bytes()),
        Form::Json => super::print_json(&ParsedSpam::from(&*spam)),
        Form::Raw => {
            let path = &spam.record.sample;
            if path.is_empty() {
                let what = "there is no sample of it here: it was received over hpfeeds";
                return Err(Failure::new(Exit::NoInput, what));
            }
            let sample = std::fs::read(path).map_err(|error| {
                let what = match error.kind() {
                    ErrorKind::NotFound => format!(
                        "the sample is gone: {path} was moved away or deleted; put it back, or \
                         see what the record holds without --raw"
                    ),
                    _ => format!("cannot read the sample {path}: {error}"),
                };
                Failure::new(Exit::NoInput, what)
            })?;
            super::print(envelope::split(&sample).1)
        }
    }
}

fn text(spam: &Spam) -> String {
    let record = &spam.record;
    let mut out = String::new();
    for (name, value) in [
        ("id", record.known.id.as_str()),
        ("subject", &record.subject),
        ("from", &record.from),
        ("count", &grouped(spam.count)),
        ("first seen", &spam.first_seen.datetime()),
        ("last seen", &spam.last_seen.datetime()),
        ("relayed", &grouped(spam.relayed)),
        ("length", &grouped(record.known.length)),
        ("ssdeep", &record.known.ssdeep),
        ("sample", &record.sample),
    ] {
        let _ = writeln!(out, "{name:<12}{}", escape::line(value));
    }
    for (name, values) in [
        ("source addresses", &spam.sets.ips),
        ("sensors", &spam.sets.sensors),
        ("users", &spam.sets.users),
        ("recipients", &spam.sets.recipients),
        ("links", &spam.sets.links),
    ] {
        section(
            &mut out,
            name,
            values.iter().map(|value| escape::line(value)),
        );
    }
    let parts = spam.sets.parts.iter().map(|part| {
        let name = escape::value(&part.name);
        let kind = if part.inline { "inline" } else { "attached" };
        let size = grouped(part.size);
        let media_type = escape::value(&part.media_type);
        format!(
            "{name} {media_type} {size} bytes, {kind}, sha256 {}",
            part.sha256
        )
        .into()
    });
    section(&mut out, "attachments", parts);
    for (name, body) in [("text", &record.text), ("html", &record.html)] {
        if body.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{name}");
        for line in body.lines().take(BODY_LINES) {
            let _ = writeln!(out, "  {}", escape::line(line));
        }
        let more = body.lines().count().saturating_sub(BODY_LINES);
        if more > 0 {
            let _ = writeln!(
                out,
                "  … {} more lines; --json has all",
                grouped(more as u64)
            );
        }
    }
    out
}

fn section<'a>(
    out: &mut String,
    name: &str,
    values: impl ExactSizeIterator<Item = std::borrow::Cow<'a, str>>,
) {
    let all = values.len();
    if all == 0 {
        return;
    }
    let _ = writeln!(out, "\n{name} ({})", grouped(all as u64));
    for value in values.take(SET_VALUES) {
        let _ = writeln!(out, "  {value}");
    }
    if all > SET_VALUES {
        let more = grouped((all - SET_VALUES) as u64);
        let _ = writeln!(out, "  … {more} more; --json has all");
    }
}

//! `shiva pseudonym`: what a recipient is called in what is shared, and who is meant by a pseudonym.
//!
//! A pseudonym leads nowhere by itself. The way back goes through the stores: each recipient in
//! them is given its pseudonym, and those that were asked for are printed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use crate::analyzer::stores;
use crate::config::Config;
use crate::escape;
use crate::exit::{Exit, Failure};
use crate::hpfeeds::pseudonym::{Key, Pseudonyms, recognised};

/// Prints address and pseudonym, a line each: the pseudonyms of these addresses, or with
/// `reverse` the addresses of these pseudonyms.
pub fn run(config: &Config, words: &[String], reverse: bool) -> Result<(), Failure> {
    let key = Key::read(&config.hpfeeds.pseudonym_key).map_err(|error| no_key(&error))?;
    let pseudonyms = Pseudonyms::new(&key);
    if reverse {
        return back(config, &pseudonyms, words);
    }
    let lines = words
        .iter()
        .map(|address| line(address, &pseudonyms.address(address)));
    super::print(lines.collect::<String>().as_bytes())
}

fn back(config: &Config, pseudonyms: &Pseudonyms, words: &[String]) -> Result<(), Failure> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for word in words {
        let Some(pseudonym) = recognised(word) else {
            let what = format!("\"{word}\" is no pseudonym: p-, 16 letters, @recipient.invalid");
            return Err(Failure::new(Exit::Usage, what));
        };
        wanted.insert(pseudonym, BTreeSet::new());
    }
    stores(config).reader()?.each_recipient(&mut |recipient| {
        if let Some(found) = wanted.get_mut(&pseudonyms.address(recipient)) {
            found.insert(recipient.to_owned());
        }
        Ok(())
    })?;
    let lines = wanted.iter().flat_map(|(pseudonym, found)| {
        let found = found.iter();
        found.map(move |address| line(address, pseudonym))
    });
    super::print(lines.collect::<String>().as_bytes())?;
    let missing = wanted.iter().filter(|(_, found)| found.is_empty());
    let missing: Vec<&str> = missing.map(|(pseudonym, _)| pseudonym.as_str()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!(
        "no recipient in the stores has this pseudonym: {}",
        missing.join(" ")
    );
    Err(Failure::new(Exit::NoInput, what))
}

fn line(address: &str, pseudonym: &str) -> String {
    format!("{}\t{pseudonym}\n", escape::line(address))
}

fn no_key(error: &std::io::Error) -> Failure {
    let remedy = match error.kind() {
        ErrorKind::NotFound => {
            "; the analyzer makes the key when it first shares something over hpfeeds"
        }
        ErrorKind::PermissionDenied => "; it is for root and the analyzer's user alone",
        _ => "",
    };
    Failure::new(
        Exit::NoInput,
        format!("cannot read the key of the pseudonyms: {error}{remedy}"),
    )
}

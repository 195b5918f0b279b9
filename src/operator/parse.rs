//! `shiva parse`: what the analyzer sees in a message, nothing stored.
//!
//! One JSON object a line. Needs no configuration, no database and no rights but to read.

use std::io::{self, Read};
use std::path::PathBuf;

use serde::Serialize;

use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::message;
use crate::parsed::ParsedMessage;

#[derive(Serialize)]
struct Unreadable<'a> {
    file: &'a str,
    error: String,
}

/// Parses the files, or standard input when there are none. Ends with 66 when a file cannot be
/// read, else with 65 when a message cannot.
pub fn run(files: &[PathBuf]) -> Result<(), Failure> {
    let mut worst: Option<Failure> = None;
    if files.is_empty() {
        let mut raw = Vec::new();
        io::stdin()
            .read_to_end(&mut raw)
            .map_err(|error| Failure::new(Exit::NoInput, format!("standard input: {error}")))?;
        parse("-", &raw, &mut worst)?;
    }
    for file in files {
        let name = file.to_string_lossy();
        match std::fs::read(file) {
            Ok(raw) => parse(&name, &raw, &mut worst)?,
            Err(error) => {
                print_error(&name, error.to_string())?;
                let what = format!("{name}: {error}");
                worst = Some(Failure::new(Exit::NoInput, what));
            }
        }
    }
    worst.map_or(Ok(()), Err)
}

fn parse(name: &str, file: &[u8], worst: &mut Option<Failure>) -> Result<(), Failure> {
    let (envelope, raw) = envelope::split(file);
    match message::parse(raw) {
        Ok(message) => {
            let to = envelope.map_or_else(|| message.to.clone(), |envelope| envelope.rcpt_to);
            super::print_json(&ParsedMessage::new(name, &message, &to))
        }
        Err(reason) => {
            let what = format!("{name}: {reason}");
            worst.get_or_insert_with(|| Failure::new(Exit::Data, what));
            print_error(name, reason.to_string())
        }
    }
}

fn print_error(file: &str, error: String) -> Result<(), Failure> {
    super::print_json(&Unreadable { file, error })
}

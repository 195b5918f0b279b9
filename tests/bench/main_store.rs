//! What the index over a server's main store costs at the analyzer's start.
//!
//! `main_store CONFIG fill RECORDS` puts records with bodies into the main database of a
//! configuration, which `shiva-dbcreate` has made; half their texts are their own, half belong to
//! campaigns, as in the benchmark of the index. `main_store CONFIG read` streams them into the
//! index as the analyzer does at its start, and prints what that took: records, seconds, and MiB
//! of memory at most.

#[allow(dead_code)] // the benchmark of the index uses all of it
mod texts;

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, Params, Value};
use shiva::analyzer::stores;
use shiva::config::Config;
use shiva::correlation::Correlation;
use shiva::fingerprint;
use texts::Generator;

/// Records of one statement.
const ROWS: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let load = |path| Config::load(Some(Path::new(path))).map_err(|error| error.to_string());
    match arguments[..] {
        [config, "fill", records] => fill(&load(config)?, records.parse()?),
        [config, "read"] => read(&load(config)?),
        _ => Err("usage: main_store CONFIG fill RECORDS | main_store CONFIG read".into()),
    }
}

fn fill(config: &Config, records: usize) -> Result<(), Box<dyn Error>> {
    let server = &config.database.server;
    let options = OptsBuilder::new()
        .socket(server.socket.as_ref().and_then(|path| path.to_str()))
        .user(Some(&server.user))
        .db_name(Some(&server.main));
    let mut conn = Conn::new(options)?;
    let mut generator = Generator::new(1);
    let mut values: Vec<Value> = Vec::new();
    for n in 1..=records {
        let kind = generator.kind(records);
        let text = generator.text(kind);
        // Its own subject, so that no two records have one id.
        let subject = n.to_string();
        values.extend([
            fingerprint::id(&subject, &text).to_string().into(),
            fingerprint::ctph(&subject, &text).to_string().into(),
            (text.len() + subject.len()).into(),
            text.chars().count().into(),
            subject.into(),
            text.into(),
        ]);
        if n % ROWS == 0 || n == records {
            let rows = vec!["(?, ?, ?, ?, ?, ?, 1)"; values.len() / 6].join(", ");
            let statement = format!(
                "INSERT INTO spam (id, ssdeep, length, bodyChars, subject, textMessage, \
                 totalCounter) VALUES {rows}"
            );
            conn.exec_drop(statement, Params::Positional(std::mem::take(&mut values)))?;
        }
    }
    Ok(())
}

fn read(config: &Config) -> Result<(), Box<dyn Error>> {
    let stores = stores(config);
    let failed = |error: shiva::store::StoreError| error.to_string();
    let (windows, main) = (
        stores.windows().map_err(failed)?,
        stores.main().map_err(failed)?,
    );
    let mut correlation = Correlation::new(config.analyzer.rule, windows, main);
    let start = Instant::now();
    let records = correlation.catch_up().map_err(failed)?;
    println!(
        "{records} {} {}",
        start.elapsed().as_secs_f64(),
        most() >> 10
    );
    Ok(())
}

/// Kilobytes that this process had in memory at most.
fn most() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

//! A configuration of any text: it loads, or its error names a line. What was read of it, written
//! out plainly, loads as the same.
#![no_main]

use std::fmt::Write as _;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shiva::config::Config;
use shiva::config::dialect::Document;
use shiva::config::keys::{KEYS, SMTPAUTH, SMTPAUTH_KEYS};

const FILE: &str = "shiva.conf";

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match Config::from_text(Path::new(FILE), &text) {
        Ok(mut config) => {
            for warning in config.warnings.drain(..) {
                assert!(!warning.contains('\n'), "{warning:?}");
            }
            let plain = written(&text);
            let again = Config::from_text(Path::new(FILE), &plain);
            let mut again = again.unwrap_or_else(|error| panic!("{error}\n{plain}"));
            again.warnings.clear();
            assert_eq!(again, config, "{plain}");
        }
        Err(error) => names_a_line(&error.to_string(), text.lines().count()),
    }
});

/// An error is one line and names file and line; where keys are at odds, file and section.
fn names_a_line(error: &str, lines: usize) {
    assert!(!error.contains('\n'), "{error:?}");
    let place = error.strip_prefix(FILE).expect("an error without its file");
    if place.starts_with(": [database] ") || place.starts_with(": [receiver] ") {
        return;
    }
    let (line, what) = place
        .strip_prefix(':')
        .and_then(|place| place.split_once(": "))
        .expect("an error without its line");
    assert!((1..=lines).contains(&line.parse().expect("a number")));
    assert!(!what.is_empty());
}

/// Every declared key that the text sets, with what it is in the end.
fn written(text: &str) -> String {
    let mut document = Document::default();
    let read = document.read(Path::new(FILE), text);
    read.expect("it was read before");
    let declared = KEYS.iter().map(|key| (key.section, key.name));
    let old = SMTPAUTH_KEYS.iter().map(|&name| (SMTPAUTH, name));
    let mut plain = String::new();
    for (section, name) in declared.chain(old) {
        // What the old section says may be wrong where the new one says it, too.
        if let Ok(Some(entry)) = document.get(section, name) {
            // Values stand on lines of their own: there no `;` begins a comment.
            let value = entry.value.replace('\n', "\n ");
            let _ = write!(plain, "[{section}]\n{name} :\n {value}\n");
        }
    }
    plain
}

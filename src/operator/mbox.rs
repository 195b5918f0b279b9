//! Reads an mbox: many messages in one file, each led by a `From ` line.
//!
//! A separator is a line that begins with `From `, stands first or after an empty line, and ends
//! with a date as mail programs write it; a body's "From the desk of …" is none. The empty line
//! before a separator belongs to the mbox, and one `>` is taken off `>From `, `>>From ` …
//! (mboxrd). Memory holds one piece of a line, whatever the file holds.

use std::io::{self, BufRead, Read};

use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::timestamp::Timestamp;

/// Bytes of a line held at once.
const PIECE: u64 = 64 * 1024;

/// The date of a `From ` line, as C's asctime writes it.
const ASCTIME: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
);

/// What comes next in an mbox.
pub enum Event<'a> {
    /// A message begins; when its `From ` line says it was received.
    Begin(Option<Timestamp>),
    /// Bytes of the message.
    Bytes(&'a [u8]),
}

/// Reads an mbox from its start and gives what it holds to `each`, until `each` fails.
pub fn read<E: From<io::Error>>(
    mut input: impl BufRead,
    mut each: impl FnMut(Event<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    let mut at_line_start = true;
    // An empty line is held back until it is known whether a separator follows it.
    let mut empty_line: Option<Vec<u8>> = Some(Vec::new());
    loop {
        line.clear();
        if input.by_ref().take(PIECE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if at_line_start && empty_line.is_some() && is_separator(&line) {
            empty_line = None;
            each(Event::Begin(date(&line)))?;
            continue;
        }
        if let Some(held) = empty_line.take() {
            each(Event::Bytes(&held))?;
        }
        if at_line_start && matches!(line.as_slice(), b"\n" | b"\r\n") {
            empty_line = Some(std::mem::take(&mut line));
            continue;
        }
        let quoted = at_line_start && is_quoted_from(&line);
        each(Event::Bytes(
            line.get(usize::from(quoted)..).unwrap_or_default(),
        ))?;
        at_line_start = line.ends_with(b"\n");
    }
    Ok(())
}

/// Whether a file that begins so is an mbox.
pub fn is_mbox(start: &[u8]) -> bool {
    is_separator(
        start
            .split_inclusive(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default(),
    )
}

fn is_separator(line: &[u8]) -> bool {
    line.starts_with(b"From ") && date(line).is_some()
}

fn is_quoted_from(line: &[u8]) -> bool {
    let unquoted = line.iter().position(|byte| *byte != b'>').unwrap_or(0);
    unquoted > 0
        && line
            .get(unquoted..)
            .is_some_and(|rest| rest.starts_with(b"From "))
}

/// The date at the end of a `From ` line; a time zone before or after the year is passed over.
fn date(line: &[u8]) -> Option<Timestamp> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_whitespace().collect();
    let clock = words.iter().rposition(|word| word.contains(':'))?;
    let year = words
        .get(clock + 1..)?
        .iter()
        .find(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()))?;
    let [weekday, month, day] = words.get(clock.checked_sub(3)?..clock)? else {
        return None;
    };
    let text = format!("{weekday} {month} {day:>2} {} {year}", words[clock]);
    let at = PrimitiveDateTime::parse(&text, ASCTIME).ok()?;
    Some(Timestamp::from_seconds(at.assume_utc().unix_timestamp(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<(Option<String>, String)> {
        let mut all: Vec<(Option<String>, Vec<u8>)> = Vec::new();
        read::<io::Error>(text.as_bytes(), |event| {
            match event {
                Event::Begin(at) => all.push((at.map(Timestamp::datetime), Vec::new())),
                Event::Bytes(bytes) => all.last_mut().unwrap().1.extend_from_slice(bytes),
            }
            Ok(())
        })
        .unwrap();
        all.into_iter()
            .map(|(at, bytes)| (at, String::from_utf8(bytes).unwrap()))
            .collect()
    }

    #[test]
    fn splits_at_separators_only() {
        let text = "From a@b Thu Aug 22 13:27:39 2002\nSubject: 1\n\nFrom the desk of\n\n\
                    From here on\n>From quoted\n>>From twice\n\nFrom c@d Fri Aug  2 01:02:03 2002\n\
                    Subject: 2\n\nbody\n\n";
        assert!(is_mbox(text.as_bytes()));
        assert_eq!(
            messages(text),
            [
                (
                    Some("2002-08-22 13:27:39".to_owned()),
                    "Subject: 1\n\nFrom the desk of\n\nFrom here on\nFrom quoted\n>From twice\n"
                        .to_owned()
                ),
                (
                    Some("2002-08-02 01:02:03".to_owned()),
                    "Subject: 2\n\nbody\n".to_owned()
                ),
            ]
        );
    }

    #[test]
    fn a_message_is_no_mbox() {
        for text in ["Subject: x\n", "From the desk of\n", "", "From a@b\n"] {
            assert!(!is_mbox(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn a_line_longer_than_a_piece_is_one_line() {
        let long = "x".repeat(PIECE as usize) + "From a@b Thu Aug 22 13:27:39 2002\n";
        let text = format!("From a@b Thu Aug 22 13:27:39 2002\n\n{long}");
        assert_eq!(messages(&text).len(), 1);
        assert_eq!(messages(&text)[0].1, format!("\n{long}"));
    }
}

//! A stranger's bytes, made harmless for a log line or a terminal.
//!
//! Spam decides what stands in subjects, names and addresses. Before any of it reaches a log or
//! a screen, everything that could move a cursor, start a new line, hide or reorder text is
//! replaced: control characters (C0, DEL, C1), line and paragraph separators, bidirectional and
//! zero-width format characters. The result holds one line of printable text.

use std::borrow::Cow;
use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Whether a character may stand in a terminal or log line as it is.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// One line of printable text: white space that would break the line becomes a space, every
/// other harmful character its `\u{…}` form.
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_harmless(c) => out.push(c),
            '\t' | '\n' | '\r' => out.push(' '),
            c => {
                let _ = write!(out, "{}", c.escape_unicode());
            }
        }
    }
    Cow::Owned(out)
}

/// JSON text in ASCII: what is not stands as `\u` escapes, DEL too.
pub fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 2);
    for c in json.chars() {
        if c.is_ascii() && c != '\x7f' {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// The value of `key=value` in a log line: [`line()`], quoted when it is empty or holds a space,
/// a quote, a backslash or an equals sign.
pub fn value(text: &str) -> Cow<'_, str> {
    let safe = line(text);
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\');
    if !safe.is_empty() && safe.chars().all(plain) {
        return safe;
    }
    let mut out = String::with_capacity(safe.len() + 2);
    out.push('"');
    for c in safe.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Cow::Owned(out)
}

/// [`line()`] in exactly `columns` columns of a terminal: padded with spaces, or cut with `…`.
pub fn column(text: &str, columns: usize) -> String {
    let safe = line(text);
    let width = safe.width();
    if width <= columns {
        return format!("{safe}{}", " ".repeat(columns - width));
    }
    let mut out = String::new();
    let mut used = 0;
    for c in safe.chars() {
        let next = used + c.width().unwrap_or(0);
        if next + 1 > columns {
            break;
        }
        used = next;
        out.push(c);
    }
    out.push('…');
    out.push_str(&" ".repeat(columns.saturating_sub(used + 1)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(line("\x1b[2Jhi\u{9b}31m"), "\\u{1b}[2Jhi\\u{9b}31m");
        assert_eq!(line("a\r\nb\tc"), "a  b c");
        assert_eq!(line("ab\u{202e}cd\u{200b}"), "ab\\u{202e}cd\\u{200b}");
        assert_eq!(line("Grüße 你好 😀"), "Grüße 你好 😀");
    }

    #[test]
    fn json_in_ascii_is_the_same_json() {
        let text = "Gr\u{fc}\u{df}e \u{1f600}\u{7f}\u{9b}\u{202e}\n";
        let ascii = ascii_json(&serde_json::to_string(text).unwrap());
        assert_eq!(
            ascii,
            r#""Gr\u00fc\u00dfe \ud83d\ude00\u007f\u009b\u202e\n""#
        );
        assert_eq!(serde_json::from_str::<String>(&ascii).unwrap(), text);
    }

    #[test]
    fn a_log_value_cannot_forge_a_key() {
        assert_eq!(value("plain"), "plain");
        assert_eq!(value(""), "\"\"");
        assert_eq!(value("x event=stopped"), "\"x event=stopped\"");
        assert_eq!(value("a\"b\\"), "\"a\\\"b\\\\\"");
    }

    #[test]
    fn columns_are_exact_for_wide_characters() {
        for text in ["", "abc", "你好你好你好", "abcdefghijkl", "a\x1b[0m"] {
            assert_eq!(column(text, 7).width(), 7, "{text:?}");
        }
    }
}

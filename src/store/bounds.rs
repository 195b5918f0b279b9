//! How much of a value a column holds.
//!
//! The bounds are the same for every engine. What is longer is cut at a character's boundary and
//! marked; id, length and fingerprint were taken from the whole before.

use std::borrow::Cow;

/// Bytes of a subject.
pub const SUBJECT: usize = 4096;
/// Bytes of a From line.
pub const FROM: usize = 4096;
/// Bytes of an address, a user name or a sensor name.
pub const ADDRESS: usize = 1024;
/// Bytes of a link.
pub const LINK: usize = 8192;
/// Bytes of a file name as the sender gave it.
pub const FILE_NAME: usize = 1024;
/// Bytes of a media type.
pub const MEDIA_TYPE: usize = 256;
/// Bytes of a header block.
pub const HEADERS: usize = 1 << 20;
/// Bytes of a text or HTML body.
pub const BODY: usize = (16 << 20) - 1;
/// Bytes of the reason why a message was set aside.
pub const REASON: usize = 4096;
/// Bytes of what the relay host answered.
pub const ANSWER: usize = 1024;
/// Recipients of one message that are recorded.
pub const RECIPIENTS: usize = 10_000;
/// Values of a set that its old column keeps a digest of.
pub const DIGEST: usize = 20;

/// What stands at the end of a value that was cut.
const MARK: &str = " [cut by SHIVA]";

/// The value, cut and marked where it is longer than `bytes`.
pub fn cut(value: &str, bytes: usize) -> Cow<'_, str> {
    if value.len() <= bytes {
        return Cow::Borrowed(value);
    }
    let mut end = bytes.saturating_sub(MARK.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{MARK}", &value[..end]))
}

/// A set's digest for the column that held it in the first SHIVA: the first values, and how many
/// there are when that is not all.
pub fn digest(values: &[String], all: u64, separator: &str) -> String {
    let first = values.iter().take(DIGEST).map(String::as_str);
    let mut text = first.collect::<Vec<_>>().join(separator);
    if all > DIGEST as u64 {
        text.push_str(&format!("{separator}… ({all} in all)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters_and_says_so() {
        assert_eq!(cut("short", 5), "short");
        let long = "é".repeat(100);
        let kept = cut(&long, 50);
        assert!(kept.len() <= 50 && kept.ends_with(MARK), "{kept}");
    }

    #[test]
    fn a_digest_is_bounded() {
        let values: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        let text = digest(&values, 1000, ", ");
        assert!(
            text.starts_with("0, 1, ") && text.ends_with("… (1000 in all)"),
            "{text}"
        );
    }
}

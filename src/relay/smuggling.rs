//! A message that ends twice: for us at its end, for a lenient server before it.
//!
//! The end of data is CRLF, dot, CRLF and nothing else, and a dot after CRLF is stuffed, so that a
//! message cannot hold it. Some servers take a bare LF or CR for the end of a line. To them what
//! follows a dot between such lines is a second message, with an envelope of the spammer's own,
//! that neither counted nor chose its recipients here (SMTP smuggling, CVE-2023-51764 and its
//! kin). Whether the relay host or a server behind it is one of these cannot be seen from here,
//! and to change the message is no way out: it is relayed with its own bytes or not at all.

use memchr::memchr_iter;

/// How a line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Crlf,
    /// LF or CR alone.
    Bare,
}

/// Whether the message holds what a lenient server may take for the end of data: a line that is a
/// single dot, of whose two line ends at least one is not CRLF. NULs around the dot hide nothing,
/// for some servers drop them. Beginning and end of the message count as CRLF, because that is what
/// goes over the wire before and after it.
pub fn smuggles(message: &[u8]) -> bool {
    memchr_iter(b'.', message).any(|dot| {
        let (before, rest) = message.split_at(dot);
        let after = rest.get(1..).unwrap_or_default();
        match (line_end_before(before), line_end_after(after)) {
            (Some(before), Some(after)) => (before, after) != (LineEnd::Crlf, LineEnd::Crlf),
            _ => false,
        }
    })
}

/// The line end that the bytes before a dot are; behind NULs it is never a proper one.
fn line_end_before(bytes: &[u8]) -> Option<LineEnd> {
    let end = bytes.iter().rposition(|&byte| byte != 0);
    let seen = end.and_then(|end| bytes.get(..=end)).unwrap_or_default();
    let found = match seen {
        [] | [.., b'\r', b'\n'] => LineEnd::Crlf,
        [.., b'\n' | b'\r'] => LineEnd::Bare,
        _ => return None,
    };
    let direct = seen.len() == bytes.len();
    Some(if direct { found } else { LineEnd::Bare })
}

/// The line end that the bytes after a dot are; behind NULs it is never a proper one.
fn line_end_after(bytes: &[u8]) -> Option<LineEnd> {
    let start = bytes.iter().position(|&byte| byte != 0);
    let seen = start
        .and_then(|start| bytes.get(start..))
        .unwrap_or_default();
    let found = match seen {
        [] | [b'\r', b'\n', ..] => LineEnd::Crlf,
        [b'\n' | b'\r', ..] => LineEnd::Bare,
        _ => return None,
    };
    let direct = seen.len() == bytes.len();
    Some(if direct { found } else { LineEnd::Bare })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::stuffing::Stuffed;
    use proptest::prelude::*;

    #[test]
    fn look_alikes_are_found() {
        for inner in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\n.\r",
            b"\r.\r",
            b"\r.\n",
            b"\r.\r\n",
            b"\r\n.\n",
            b"\r\n.\r",
            b"\n\n.\r\n",
            b"\r\r\n.\r\r\n",
            b"\n\r.\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
            b"\n\0\0.\0\n",
        ] {
            let message = [b"Subject: a\r\n\r\nb", inner, b"MAIL FROM:<c>\r\n"].concat();
            assert!(smuggles(&message), "{}", inner.escape_ascii());
        }
    }

    #[test]
    fn the_ends_of_the_message_count_as_crlf() {
        for (message, expected) in [
            (&b".\n"[..], true),
            (b".\ra", true),
            (b"a\n.", true),
            (b"a\r.", true),
            (b"\0.\r\n", true),
            (b".", false),
            (b".\r\n", false),
            (b"a\r\n.", false),
            (b"", false),
            (b"\0", false),
        ] {
            assert_eq!(smuggles(message), expected, "{}", message.escape_ascii());
        }
    }

    #[test]
    fn other_dots_are_no_end() {
        for message in [
            &b"a\r\n.\r\nb\r\n"[..],
            b"a\n..\nb\n",
            b"a\n.b\nc\n",
            b"a\nb.\nc\n",
            b"a\n. \nb\n",
            b"a\r\0\r\nb.\0\n",
            b"\r\n\r\n...\r\n",
        ] {
            assert!(!smuggles(message), "{}", message.escape_ascii());
        }
    }

    /// Where the most lenient server sees the end of data: behind a dot between any two line ends.
    fn lenient_end(wire: &[u8]) -> Option<usize> {
        let wire: Vec<u8> = wire.iter().copied().filter(|&byte| byte != 0).collect();
        let is_end = |byte: Option<&u8>| matches!(byte, Some(b'\r' | b'\n'));
        (0..wire.len()).find(|&at| {
            let starts = at == 0 || is_end(wire.get(at - 1));
            wire[at] == b'.' && starts && is_end(wire.get(at + 1))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Of what does not smuggle, no server sees an end but the last dot of the wire.
        #[test]
        fn what_passes_ends_once(message in prop::collection::vec(prop::sample::select(&b"\r\n.a\0"[..]), 0..12)) {
            let mut wire: Vec<u8> = Stuffed::new(&message).flatten().copied().collect();
            let content = wire.iter().filter(|&&byte| byte != 0).count();
            wire.extend_from_slice(b".\r\n");
            if !smuggles(&message) {
                prop_assert_eq!(lenient_end(&wire), Some(content));
            }
        }
    }
}

//! The relay host's replies (RFC 5321 section 4.2), read from its bytes wherever they are cut.
//!
//! # Contract
//!
//! - A reply has at most [`REPLY_MAX`] bytes, all its lines together; a longer one is malformed, so
//!   no server can fill our memory.
//! - All lines of a reply bear the same code, from 200 to 599. What does not is malformed, and after
//!   that nothing more is read: which reply belongs to which command could only be guessed.
//! - A bare LF ends a line, too. What follows a reply waits for the next.
//! - Text that goes on to a log or a database is one harmless line of at most [`TEXT_MAX`] bytes.

use smtp_proto::{EXT_8BIT_MIME, EXT_DSN, EXT_PIPELINING, EXT_SIZE, EXT_SMTP_UTF8, EhloResponse};

use crate::escape;

/// Bytes of one reply, its line ends included. RFC 5321 has 512 a line; EHLO's has some twenty.
pub const REPLY_MAX: usize = 8 * 1024;

/// Bytes that are kept of a reply's text.
pub const TEXT_MAX: usize = 400;

/// Not a reply; what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// One reply, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code, 200 to 599.
    pub code: u16,
    raw: Vec<u8>,
}

impl Reply {
    /// 2xx: done.
    pub fn is_done(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx and 5xx.
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// The text of all lines without the code, harmless and cut.
    pub fn text(&self) -> String {
        let lines = self.raw.split(|&byte| byte == b'\n');
        let words: Vec<_> = lines
            .filter_map(|line| line.get(4..))
            .map(|line| String::from_utf8_lossy(line.trim_ascii()))
            .filter(|line| !line.is_empty())
            .collect();
        cut(&escape::line(&words.join(" ")))
    }

    /// What the server offers, if this is its answer to EHLO. Of an answer that cannot be read it is
    /// nothing: what is not used cannot be misunderstood.
    pub fn offers(&self) -> Offers {
        let parsed = EhloResponse::parse(&mut self.raw.iter());
        let has = |extension| {
            let response = parsed.as_ref().ok();
            response.is_some_and(|response| response.has_capability(extension))
        };
        Offers {
            pipelining: has(EXT_PIPELINING),
            size: has(EXT_SIZE),
            eight_bit: has(EXT_8BIT_MIME),
            utf8: has(EXT_SMTP_UTF8),
            dsn: has(EXT_DSN),
        }
    }
}

/// The extensions that are used where they are offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offers {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870).
    pub size: bool,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub utf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
}

/// A text of at most [`TEXT_MAX`] bytes.
pub fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

/// Takes bytes, gives replies.
#[derive(Debug, Default)]
pub struct Replies {
    waiting: Vec<u8>,
}

impl Replies {
    /// Takes in what was read. Call it only when [`Replies::next`] had nothing to give: then never
    /// more waits than a reply and what was read at once.
    pub fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Whether bytes wait that belong to no reply taken so far.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next reply; `None` when more bytes are needed.
    pub fn next(&mut self) -> Result<Option<Reply>, Malformed> {
        let mut code = None;
        let mut end = 0;
        for line in self.waiting.split_inclusive(|&byte| byte == b'\n') {
            end += line.len();
            if end > REPLY_MAX {
                return Err(Malformed("is too long"));
            }
            if !line.ends_with(b"\n") {
                return Ok(None);
            }
            let (found, last) = parse(line.trim_ascii_end())?;
            if *code.get_or_insert(found) != found {
                return Err(Malformed("has two codes"));
            }
            if last {
                let raw = self.waiting.drain(..end).collect();
                return Ok(Some(Reply { code: found, raw }));
            }
        }
        Ok(None)
    }
}

/// The code of a line, and whether it is the reply's last.
fn parse(line: &[u8]) -> Result<(u16, bool), Malformed> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(Malformed("does not begin with a code"));
    };
    let code = [a, b, c]
        .into_iter()
        .fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.first() {
        None | Some(b' ' | b'\t') => Ok((code, true)),
        Some(b'-') => Ok((code, false)),
        Some(_) => Err(Malformed("does not begin with a code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code and text of all replies in a stream, cut in two at every place.
    fn read(stream: &[u8]) -> Result<Vec<(u16, String)>, Malformed> {
        let mut results: Vec<_> = (0..=stream.len())
            .map(|cut| {
                let mut replies = Replies::default();
                let mut found = Vec::new();
                for part in [&stream[..cut], &stream[cut..]] {
                    replies.push(part);
                    while let Some(reply) = replies.next()? {
                        found.push((reply.code, reply.text()));
                    }
                }
                Ok(found)
            })
            .collect();
        results.dedup();
        assert_eq!(results.len(), 1, "the cut matters: {results:?}");
        results.remove(0)
    }

    #[test]
    fn replies_are_read_wherever_they_are_cut() {
        for (stream, expected) in [
            (&b"250 OK\r\n"[..], vec![(250, "OK")]),
            (b"250\r\n", vec![(250, "")]),
            (b"250 \r\n", vec![(250, "")]),
            (b"354 go on\n", vec![(354, "go on")]),
            (b"250-a\r\n250-b\r\n250 c\r\n", vec![(250, "a b c")]),
            (b"250-\r\n250 c\r\n", vec![(250, "c")]),
            (
                b"250 2.1.0 OK\r\n550-5.1.1 no\r\n550 5.1.1 one\r\n354 x\r\n",
                vec![(250, "2.1.0 OK"), (550, "5.1.1 no 5.1.1 one"), (354, "x")],
            ),
            (b"250-OK\r\n", vec![]),
            (b"250 O", vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(code, text)| (code, text.to_owned()))
                .collect();
            assert_eq!(read(stream).unwrap(), expected, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for stream in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25 OK\r\n",
            b"2500 OK\r\n",
            b"250OK\r\n",
            b"150 x\r\n",
            b"650 x\r\n",
            b"250-a\r\n550 b\r\n",
            b"250-a\r\nb\r\n",
            b"\0\r\n",
        ] {
            assert!(read(stream).is_err(), "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn an_endless_reply_is_refused_before_it_fills_memory() {
        for line in [&b"250-\n"[..], b"250-a\r\n", b"2"] {
            let mut replies = Replies::default();
            let pushed = (1..=REPLY_MAX + 1).find(|_| {
                replies.push(line);
                replies.next().is_err()
            });
            let bytes = pushed.expect("an end") * line.len();
            assert!(bytes <= REPLY_MAX + line.len(), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn the_text_is_harmless_and_short() {
        let mut replies = Replies::default();
        replies.push(b"550 \x1b[2J\xff\0 ");
        replies.push("é".repeat(1000).as_bytes());
        replies.push(b"\r\n");
        let text = replies.next().unwrap().unwrap().text();
        assert!(text.starts_with("\\u{1b}[2J\u{fffd}\\u{0} é"), "{text}");
        assert!(text.len() > TEXT_MAX - 4 && text.len() <= TEXT_MAX);
    }

    fn offers(answer: &[u8]) -> Offers {
        let mut replies = Replies::default();
        replies.push(answer);
        replies.next().unwrap().unwrap().offers()
    }

    #[test]
    fn offers_are_those_of_the_answer() {
        let everything = Offers {
            pipelining: true,
            size: true,
            eight_bit: true,
            utf8: true,
            dsn: true,
        };
        let exim: &[u8] = b"250-h Hello localhost [127.0.0.1]\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n\
            250-DSN\r\n250-PIPELINING\r\n250-PIPE_CONNECT\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n250 HELP\r\n";
        assert_eq!(offers(exim), everything);
        assert_eq!(
            offers(b"250-h\r\n250-x-odd=1 2\r\n250 dsn\r\n"),
            Offers {
                dsn: true,
                ..Offers::default()
            }
        );
        assert_eq!(
            offers(b"250 PIPELINING\r\n"),
            Offers::default(),
            "that is its name"
        );
        assert_eq!(
            offers(b"250-h\r\n250-\r\n250 DSN\r\n"),
            Offers {
                dsn: true,
                ..Offers::default()
            }
        );
    }
}

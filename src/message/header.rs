//! Structured header values: Content-Type and Content-Disposition (RFC 2045
//! section 5.1, RFC 2183, RFC 2231), and the addresses of To (RFC 5322 section 3.4).
//!
//! mail-parser reads the values. Its readers take quadratic time on some (a
//! parameter in many pieces, unfinished encoded words), so what they get is cut to
//! the bounds below; honest values are far shorter. A value that cannot be read
//! counts as absent.

use std::collections::HashSet;

use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, HeaderValue};

use super::MAX_RECIPIENTS;

/// Most bytes read of a Content-Type or Content-Disposition value.
const MAX_PARAMETERS_BYTES: usize = 8 * 1024;
/// Most bytes read of all To values together.
const MAX_TO_BYTES: usize = 64 * 1024;

/// Content-Type or Content-Disposition, read.
#[derive(Debug, Default)]
pub(super) struct Parameters<'a>(Option<ContentType<'a>>);

impl<'a> Parameters<'a> {
    /// Reads the raw value of a field. `buffer` holds it when it had to be copied.
    pub fn read(value: &'a [u8], buffer: &'a mut Vec<u8>) -> Self {
        let value = bounded(value, MAX_PARAMETERS_BYTES, buffer);
        match MessageStream::new(value).parse_content_type() {
            HeaderValue::ContentType(parsed) => Self(Some(parsed)),
            _ => Self(None),
        }
    }

    /// `type/subtype` in lower case; none when either is missing.
    pub fn media_type(&self) -> Option<(&str, &str)> {
        let parsed = self.0.as_ref()?;
        let kind = token(&parsed.c_type);
        let subtype = token(parsed.c_subtype.as_deref()?);
        (!kind.is_empty() && !subtype.is_empty()).then_some((kind, subtype))
    }

    /// The disposition in lower case, or an empty string.
    pub fn disposition(&self) -> &str {
        self.0.as_ref().map_or("", |parsed| token(&parsed.c_type))
    }

    /// A parameter's value, RFC 2231 and RFC 2047 decoded.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.0.as_ref()?.attribute(name)
    }
}

/// The leading run of a value that is an RFC 2045 token, so that `text/html
/// charset=x` (a semicolon forgotten) is still text/html.
fn token(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_graphic() || "()<>@,;:\\\"/[]?=".contains(c))
        .unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The value cut to `limit` bytes and ending in the LF that mail-parser needs.
fn bounded<'a>(value: &'a [u8], limit: usize, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if value.len() <= limit && value.ends_with(b"\n") {
        return value;
    }
    buffer.extend_from_slice(value.get(..limit).unwrap_or(value));
    buffer.push(b'\n');
    buffer
}

/// Gathers the addresses of To fields.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    /// Distinct addr-specs in order of appearance.
    pub addresses: Vec<String>,
    known: HashSet<String>,
    read: usize,
}

impl Recipients {
    /// Adds the addresses of one To value. What has no `@` is no address.
    pub fn add(&mut self, value: &[u8]) {
        let left = MAX_TO_BYTES.saturating_sub(self.read);
        if left == 0 {
            return;
        }
        self.read += value.len();
        let mut buffer = Vec::new();
        let value = bounded(value, left, &mut buffer);
        let HeaderValue::Address(parsed) = MessageStream::new(value).parse_address() else {
            return;
        };
        for address in parsed.iter().filter_map(|entry| entry.address.as_ref()) {
            self.one(address);
        }
    }

    fn one(&mut self, address: &str) {
        let address = address.trim();
        if self.addresses.len() < MAX_RECIPIENTS
            && address.contains('@')
            && !self.known.contains(address)
        {
            self.known.insert(address.to_owned());
            self.addresses.push(address.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media_type(value: &str) -> Option<(String, String)> {
        let mut buffer = Vec::new();
        let parsed = Parameters::read(value.as_bytes(), &mut buffer);
        let (kind, subtype) = parsed.media_type()?;
        Some((kind.to_owned(), subtype.to_owned()))
    }

    fn parameter(value: &str, name: &str) -> Option<String> {
        let mut buffer = Vec::new();
        let parsed = Parameters::read(value.as_bytes(), &mut buffer);
        parsed.parameter(name).map(str::to_owned)
    }

    #[test]
    fn media_types() {
        let html = Some(("text".to_owned(), "html".to_owned()));
        assert_eq!(media_type(" Text/HTML; charset=x\r\n"), html);
        assert_eq!(media_type("text/html charset=x"), html);
        assert_eq!(media_type("text"), None);
        assert_eq!(media_type(""), None);
        assert_eq!(media_type("/"), None);
    }

    #[test]
    fn parameters() {
        let name = |value| parameter(value, "filename");
        assert_eq!(
            name("attachment; filename=\"../../etc/passwd\""),
            Some("../../etc/passwd".to_owned())
        );
        assert_eq!(
            name("attachment; filename*0*=utf-8''a%20; filename*1=b.pdf\r\n"),
            Some("a b.pdf".to_owned())
        );
        assert_eq!(
            name("attachment; filename=\"=?utf-8?q?=C3=A9.zip?=\""),
            Some("\u{e9}.zip".to_owned())
        );
        assert_eq!(name("attachment"), None);
    }

    #[test]
    fn recipients() {
        let mut to = Recipients::default();
        to.add(b" \"A, B\" <a@x.test>, b@x.test,, <a@x.test>, root, <\r\n");
        to.add(b"undisclosed-recipients:;");
        to.add(b"Team: c@x.test, d@x.test;\r\n");
        assert_eq!(
            to.addresses,
            ["a@x.test", "b@x.test", "c@x.test", "d@x.test"]
        );
    }

    #[test]
    fn recipients_are_bounded() {
        let flood: String = (0..1_000_000).map(|n| format!("u{n}@x.test, ")).collect();
        let mut to = Recipients::default();
        to.add(flood.as_bytes());
        assert_eq!(to.addresses.len(), MAX_RECIPIENTS);
    }
}

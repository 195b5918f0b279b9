//! Tells which command a line is, and reads the arguments of those that have a grammar.
//!
//! Telling and reading are two steps, because a Postfix looks at the order of commands before it
//! looks at their syntax: `MAIL` within a transaction is answered `503` whatever follows it.
//! Other servers look at the syntax first.
//!
//! smtp-proto reads MAIL and RCPT. Where it refuses a line, or reads more into one than is good
//! here (it takes the quotes off a local part and makes the null path out of `<postmaster>`), the
//! lenient reader of [`path`] takes over, with the parameters of a Postfix. A parameter of an
//! extension that belongs to ESMTP but changes nothing for us (DSN, SMTPUTF8, AUTH) is accepted
//! without having been offered: refusing it would only lose spam.
//!
//! What follows a NUL in a line is ignored. Nothing here keeps state or fails; a refusal is the
//! answer to give.

use std::borrow::Cow;

use smtp_proto::{
    MAIL_BODY_7BIT, MAIL_BODY_8BITMIME, MAIL_RET_FULL, MAIL_RET_HDRS, MAIL_SMTPUTF8, MailFrom,
    RCPT_NOTIFY_DELAY, RCPT_NOTIFY_FAILURE, RCPT_NOTIFY_NEVER, RCPT_NOTIFY_SUCCESS, RcptTo,
    Request,
};

use super::answer::Answer;
use super::path;

/// Parameters of MAIL that smtp-proto knows and a Postfix takes.
const MAIL_FLAGS: u64 =
    MAIL_BODY_7BIT | MAIL_BODY_8BITMIME | MAIL_RET_FULL | MAIL_RET_HDRS | MAIL_SMTPUTF8;

/// Parameters of RCPT that smtp-proto knows and a Postfix takes.
const RCPT_FLAGS: u64 =
    RCPT_NOTIFY_SUCCESS | RCPT_NOTIFY_FAILURE | RCPT_NOTIFY_DELAY | RCPT_NOTIFY_NEVER;

/// The commands, and what else a line can turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Helo,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
    Auth,
    Starttls,
    Bdat,
    Etrn,
    Help,
    Expn,
    /// HTTP, as spoken to a proxy.
    Http,
    /// Not SMTP either: a mail header, a TLS handshake.
    Foreign,
    /// None of the above.
    Unknown,
    /// An empty line.
    Empty,
}

/// The verb table. Which of them a server knows is for its face to say.
const VERBS: [(&[u8], Verb); 18] = [
    (b"HELO", Verb::Helo),
    (b"EHLO", Verb::Ehlo),
    (b"MAIL", Verb::Mail),
    (b"RCPT", Verb::Rcpt),
    (b"DATA", Verb::Data),
    (b"RSET", Verb::Rset),
    (b"NOOP", Verb::Noop),
    (b"VRFY", Verb::Vrfy),
    (b"QUIT", Verb::Quit),
    (b"AUTH", Verb::Auth),
    (b"STARTTLS", Verb::Starttls),
    (b"BDAT", Verb::Bdat),
    (b"ETRN", Verb::Etrn),
    (b"HELP", Verb::Help),
    (b"EXPN", Verb::Expn),
    (b"CONNECT", Verb::Http),
    (b"GET", Verb::Http),
    (b"POST", Verb::Http),
];

/// A command line, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command<'a> {
    pub verb: Verb,
    /// What follows the verb, without white space at either end.
    pub arguments: &'a [u8],
    /// The line up to its LF (or up to a NUL), as smtp-proto wants it.
    line: &'a [u8],
    /// The line was UTF-8, what follows a NUL included.
    pub utf8: bool,
}

impl<'a> Command<'a> {
    /// The line without white space at either end.
    pub(super) fn text(&self) -> &'a [u8] {
        path::trim(self.line)
    }
}

/// What MAIL says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sender<'a> {
    /// The path as it was written.
    pub path: &'a [u8],
    /// Empty for the null reverse-path.
    pub address: String,
    /// SIZE (RFC 1870).
    pub size: Size<'a>,
}

/// SIZE, as declared with MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size<'a> {
    /// Not, or as 0, which is the same.
    Unsaid,
    Bytes(u64),
    /// A number beyond all numbers.
    Overflow,
    /// No number.
    Junk(&'a [u8]),
}

/// What RCPT says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recipient<'a> {
    /// The path as it was written.
    pub path: &'a [u8],
    pub address: String,
}

impl<'a> Command<'a> {
    /// Takes a line apart; any line is a command of some sort.
    pub(super) fn new(line: &'a [u8]) -> Self {
        let utf8 = str::from_utf8(line).is_ok();
        let line = memchr::memchr(0, line)
            .and_then(|nul| line.get(..nul))
            .unwrap_or(line);
        let text = path::trim(line);
        let end = text
            .iter()
            .position(|&byte| path::is_space(byte))
            .unwrap_or(text.len());
        let (word, arguments) = text.split_at_checked(end).unwrap_or((text, &[]));
        Command {
            verb: verb(word),
            arguments: path::trim(arguments),
            line,
            utf8,
        }
    }

    /// Whether MAIL or RCPT has its `FROM:` or `TO:`.
    pub(super) fn has_keyword(&self) -> bool {
        self.after_keyword().is_some()
    }

    /// Reads the arguments of MAIL (RFC 5321 §4.1.1.2).
    pub(super) fn sender(&self) -> Result<Sender<'a>, Answer<'a>> {
        self.strict_sender()
            .map_or_else(|| self.lenient_sender(), Ok)
    }

    /// Reads the arguments of RCPT (RFC 5321 §4.1.1.3).
    pub(super) fn recipient(&self) -> Result<Recipient<'a>, Answer<'a>> {
        self.strict_recipient()
            .map_or_else(|| self.lenient_recipient(), Ok)
    }

    /// Reads the arguments of BDAT (RFC 3030 §2): the chunk's size in bytes, and whether it is the
    /// last.
    pub(super) fn chunk(&self) -> Option<(u64, bool)> {
        let mut words = str::from_utf8(self.arguments)
            .ok()?
            .split_ascii_whitespace();
        let size = words.next()?;
        let last = words.next();
        let known = last.is_none_or(|word| word.eq_ignore_ascii_case("LAST"));
        let plain = size.bytes().all(|byte| byte.is_ascii_digit());
        if !known || !plain || words.next().is_some() {
            return None;
        }
        Some((size.parse().ok()?, last.is_some()))
    }

    /// smtp-proto's reading of the line, unless quoting makes it one that loses something.
    fn strict(&self) -> Option<Request<Cow<'a, str>>> {
        if memchr::memchr2(b'"', b'\\', self.line).is_some() {
            return None;
        }
        Request::parse(&mut self.line.iter()).ok()
    }

    fn strict_sender(&self) -> Option<Sender<'a>> {
        match self.strict()? {
            Request::Mail {
                from:
                    MailFrom {
                        address,
                        flags,
                        size,
                        trans_id: None,
                        solicit: None,
                        mtrk: None,
                        hold_for: 0,
                        hold_until: 0,
                        mt_priority: 0,
                        ..
                    },
            } if !address.is_empty() && flags & !MAIL_FLAGS == 0 => Some(Sender {
                path: self.path().ok()?.0,
                address: path::text(address.as_bytes()),
                size: match u64::try_from(size) {
                    Ok(0) | Err(_) => Size::Unsaid,
                    Ok(bytes) => Size::Bytes(bytes),
                },
            }),
            _ => None,
        }
    }

    fn strict_recipient(&self) -> Option<Recipient<'a>> {
        match self.strict()? {
            Request::Rcpt {
                to:
                    RcptTo {
                        address,
                        flags,
                        rrvs: 0,
                        ..
                    },
            } if !address.is_empty() && flags & !RCPT_FLAGS == 0 => Some(Recipient {
                path: self.path().ok()?.0,
                address: path::text(address.as_bytes()),
            }),
            _ => None,
        }
    }

    fn lenient_sender(&self) -> Result<Sender<'a>, Answer<'a>> {
        let (path, mut parameters) = self.path()?;
        let mut sender = Sender {
            path,
            address: self.address(path)?,
            size: Size::Unsaid,
        };
        while let Some(parameter) = next_parameter(&mut parameters) {
            let (key, value) = key_and_value(parameter);
            match key.to_ascii_uppercase().as_slice() {
                b"SIZE" => sender.size = size(value),
                b"BODY" if is_body(value) => {}
                b"SMTPUTF8" | b"RET" | b"ENVID" | b"AUTH" => {}
                _ => return Err(Answer::Unsupported(self.verb, path, parameter)),
            }
        }
        Ok(sender)
    }

    fn lenient_recipient(&self) -> Result<Recipient<'a>, Answer<'a>> {
        let (path, mut parameters) = self.path()?;
        let address = self.address(path)?;
        if address.is_empty() {
            return Err(Answer::NullRecipient(path));
        }
        while let Some(parameter) = next_parameter(&mut parameters) {
            let (key, _) = key_and_value(parameter);
            if !key.eq_ignore_ascii_case(b"NOTIFY") && !key.eq_ignore_ascii_case(b"ORCPT") {
                return Err(Answer::Unsupported(self.verb, path, parameter));
            }
        }
        Ok(Recipient { path, address })
    }

    /// What follows `FROM:` or `TO:`.
    fn after_keyword(&self) -> Option<&'a [u8]> {
        let keyword: &[u8] = match self.verb {
            Verb::Mail => b"FROM",
            _ => b"TO",
        };
        self.arguments
            .split_at_checked(keyword.len())
            .filter(|(word, _)| word.eq_ignore_ascii_case(keyword))
            .and_then(|(_, rest)| path::trim(rest).strip_prefix(b":"))
    }

    /// The word after `FROM:` or `TO:`, and the parameters after it.
    fn path(&self) -> Result<(&'a [u8], &'a [u8]), Answer<'a>> {
        let no_path = Answer::NoPath(self.verb, self.arguments);
        let rest = self.after_keyword().ok_or(no_path)?;
        let malformed = |_| Answer::BadPath(self.verb, path::trim(rest));
        let (word, parameters) = path::word(rest).map_err(malformed)?;
        if word.is_empty() {
            return Err(no_path);
        }
        Ok((word, parameters))
    }

    /// The address in a path.
    fn address(&self, path: &'a [u8]) -> Result<String, Answer<'a>> {
        path::address(path).map_err(|_| Answer::BadPath(self.verb, path))
    }
}

/// Which command the first word of a line is.
fn verb(word: &[u8]) -> Verb {
    let Some(&first) = word.first() else {
        return Verb::Empty;
    };
    let known = VERBS
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name));
    if let Some(&(_, verb)) = known {
        return verb;
    }
    // No command begins with anything but a letter or looks like `Header:`. Whoever sends that
    // speaks another protocol, or is sending a message that was not asked for.
    if !first.is_ascii_alphabetic() || memchr::memchr(b':', word).is_some() {
        return Verb::Foreign;
    }
    Verb::Unknown
}

/// Splits the next parameter off `rest`; one with an open quote reaches to the end of the line.
fn next_parameter<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (parameter, after) = path::word(rest).unwrap_or((path::trim(rest), &[]));
    *rest = after;
    (!parameter.is_empty()).then_some(parameter)
}

fn key_and_value(parameter: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
    let (key, value) = parameter.split_at_checked(end).unwrap_or((parameter, &[]));
    (key, value.strip_prefix(b"=").unwrap_or_default())
}

/// A value of BODY (RFC 6152 §2). It changes nothing for us.
fn is_body(value: &[u8]) -> bool {
    [&b"8BITMIME"[..], b"7BIT"]
        .iter()
        .any(|known| value.eq_ignore_ascii_case(known))
}

/// Reads the value of SIZE (RFC 1870 §5).
fn size(digits: &[u8]) -> Size<'_> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Size::Junk(digits);
    }
    match str::from_utf8(digits).map(str::parse) {
        Ok(Ok(0)) => Size::Unsaid,
        Ok(Ok(bytes)) => Size::Bytes(bytes),
        _ => Size::Overflow,
    }
}

#[cfg(test)]
mod tests;

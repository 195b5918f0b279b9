//! The words of a Sendmail 8.17 as Debian builds it, with default settings but for those that let
//! more in (names in HELO that are none are taken), and `PrivacyOptions` with `novrfy` and
//! `noexpn`, as most have it. DELIVERBY is not offered, and there is no help file.
//!
//! The answers were taken from the real server, but for those to what it could not be brought to:
//! a full disk, the end of the service, too many clients and a login that succeeds.
//! Those are from the strings in its program.

use std::net::IpAddr;

use super::{Chunking, Context, Face, Habits, echo, mechanisms, put, put_lines};
use crate::smtp::MessageId;
use crate::smtp::answer::{Answer, Initial};
use crate::smtp::command::Verb;

/// `MAXBADCOMMANDS`: lines that are no command.
const MAX_UNKNOWN: u32 = 25;

/// The version, of the program and of the configuration.
const VERSION: &str = "8.17.1.9";

/// Digits of the times in a queue id.
const BASE60: &[u8; 60] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx";

/// One session's face.
#[derive(Debug, Default)]
pub(super) struct Sendmail {
    unknown: u32,
    /// The client has said something: it is no browser that takes this for a proxy.
    spoken: bool,
}

impl Face for Sendmail {
    fn habits(&self) -> Habits {
        Habits {
            shape_first: false,
            needs_name: false,
            size_is_number: false,
            auth_after_ehlo: false,
            login_before_transaction: true,
            passes_over_early_response: false,
            etrn_outside_mail: false,
            chunking: Chunking::No,
            reads_beginnings: false,
            wants_utf8: false,
        }
    }

    fn knows(&self, verb: Verb) -> bool {
        match verb {
            Verb::Http => !self.spoken,
            _ => !matches!(verb, Verb::Foreign | Verb::Empty | Verb::Bdat),
        }
    }

    fn takes_arguments(&self, verb: Verb) -> bool {
        verb != Verb::Starttls
    }

    fn hear(&mut self, _: Verb) -> Option<Answer<'static>> {
        self.spoken = true;
        None
    }

    fn say(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) {
        match *answer {
            Answer::Ehlo => put_lines(output, 250, &offers(context)),
            // It hangs up without a word.
            Answer::Timeout => {}
            ref other => put(output, &words(other, context)),
        }
    }

    fn refuse(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) -> bool {
        if let Answer::Unrecognized(_) = answer {
            self.unknown += 1;
            if self.unknown > MAX_UNKNOWN {
                self.say(&Answer::TooManyCommands, context, output);
                return true;
            }
        }
        self.say(answer, context, output);
        matches!(answer, Answer::LineTooLong | Answer::ResponseTooLong)
    }
}

/// What EHLO lists, in Sendmail's order.
fn offers(context: &Context<'_>) -> Vec<String> {
    let profile = context.profile;
    let mut offers = vec![hello(context)];
    offers.extend(["ENHANCEDSTATUSCODES", "PIPELINING", "8BITMIME"].map(str::to_owned));
    offers.push(format!("SIZE {}", profile.max_message_size));
    offers.extend(["DSN", "ETRN"].map(str::to_owned));
    if profile.auth.offered() {
        offers.push(format!("AUTH {}", mechanisms()));
    }
    if context.offers_tls() {
        offers.push("STARTTLS".into());
    }
    offers.push("HELP".into());
    offers
}

/// The first line to HELO and EHLO. The client's address has no name.
fn hello(context: &Context<'_>) -> String {
    let name = context.helo.split_whitespace().next().unwrap_or_default();
    let valid = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
    let meeting = match name.chars().all(valid) {
        true => "pleased to meet you",
        false => "accepting invalid domain name",
    };
    let (host, address) = (&context.profile.hostname, address(context));
    format!("{host} Hello [{address}], {meeting}")
}

/// The client's address, of IPv6 with its name and with all its zeros.
fn address(context: &Context<'_>) -> String {
    match context.client.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let groups = address.segments().map(|group| format!("{group:x}"));
            format!("IPv6:{}", groups.join(":"))
        }
    }
}

/// Year, month, day, hour, minute and second, each one digit in base 60, two digits of a sequence,
/// and a number where a Sendmail has the process.
pub(super) fn queue_id(id: &MessageId) -> String {
    let date = id.at.datetime();
    let field = |from: usize, to: usize| -> u64 {
        date.get(from..to)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    let (year, month) = (
        field(0, 4).saturating_sub(1900),
        field(5, 7).saturating_sub(1),
    );
    let (day, hour, minute, second) = (field(8, 10), field(11, 13), field(14, 16), field(17, 19));
    let process = id.number % 1_000_000;
    let sequence = id.number / 1_000_000 + u64::from(id.at.subsecond_micros());
    let digits = [
        year,
        month,
        day,
        hour,
        minute,
        second,
        sequence / 60,
        sequence,
    ];
    let digits: String = digits.into_iter().map(base60).collect();
    format!("{digits}{process:06}")
}

fn base60(number: u64) -> char {
    let digit = usize::try_from(number % 60).unwrap_or(0);
    char::from(BASE60.get(digit).copied().unwrap_or(b'0'))
}

/// What stands before the colon that is missing or has nothing behind it.
fn keyword(arguments: &[u8]) -> String {
    let end = memchr::memchr(b':', arguments).unwrap_or(arguments.len());
    echo(arguments.get(..end).unwrap_or(arguments))
}

fn bad_path(path: &[u8]) -> String {
    let count = |wanted: u8| path.iter().filter(|&&byte| byte == wanted).count();
    let (shown, quotes) = (echo(path), count(b'"'));
    if quotes % 2 == 1 {
        return format!("553 5.0.0 {shown}... Unbalanced '\"'");
    }
    match count(b'<').cmp(&count(b'>')) {
        std::cmp::Ordering::Greater => format!("553 5.0.0 {shown}... Unbalanced '<'"),
        std::cmp::Ordering::Less => format!("553 5.0.0 {shown}... Unbalanced '>'"),
        std::cmp::Ordering::Equal => format!("553 5.1.3 {shown}... Invalid route address"),
    }
}

fn unsupported(parameter: &[u8]) -> String {
    let end = memchr::memchr(b'=', parameter).unwrap_or(parameter.len());
    let (key, value) = parameter.split_at_checked(end).unwrap_or((parameter, b""));
    let value = value.strip_prefix(b"=").unwrap_or_default();
    match key.eq_ignore_ascii_case(b"BODY") {
        true => format!("501 5.5.4 Unknown BODY type {}", echo(value)),
        false => format!("555 5.5.4 {} parameter unrecognized", echo(key)),
    }
}

fn words(answer: &Answer<'_>, context: &Context<'_>) -> String {
    let (host, address) = (&context.profile.hostname, address(context));
    let limit = context.profile.max_message_size;
    match *answer {
        Answer::Greeting => {
            let date = context.client.connected_at.rfc5322();
            format!("220 {host} ESMTP Sendmail {VERSION}/{VERSION}; {date} GMT")
        }
        Answer::Helo | Answer::Ehlo => format!("250 {}", hello(context)),
        Answer::NameMissing(Verb::Ehlo) => "501 5.0.0 EHLO requires domain address".into(),
        Answer::NameMissing(_) => "501 5.0.0 HELO requires domain address".into(),
        Answer::SenderOk(path) => format!("250 2.1.0 {}... Sender ok", echo(path)),
        Answer::RecipientOk(path) => format!("250 2.1.5 {}... Recipient ok", echo(path)),
        Answer::Queued(id) => {
            format!("250 2.0.0 {} Message accepted for delivery", queue_id(id))
        }
        Answer::Bye => format!("221 2.0.0 {host} closing connection"),
        Answer::Help => format!("502 5.3.0 Sendmail {VERSION} -- HELP not implemented"),
        Answer::EtrnRefused(domain) => {
            format!("250 2.0.0 Queuing for node {} started", echo(domain))
        }
        Answer::Unrecognized(line) => {
            format!("500 5.5.1 Command unrecognized: \"{}\"", echo(line))
        }
        Answer::NotSmtp => format!("421 4.7.0 {host} Rejecting open proxy [{address}]"),
        Answer::LineTooLong | Answer::ResponseTooLong => {
            format!("421 4.7.0 {host} Command too long, possible attack [{address}]")
        }
        Answer::NoPath(_, arguments) => {
            let keyword = keyword(arguments);
            format!("501 5.5.2 Syntax error in parameters scanning \"{keyword}\"")
        }
        Answer::BadPath(_, path) => bad_path(path),
        Answer::NullRecipient(path) => format!("553 5.0.0 {}... User address required", echo(path)),
        Answer::Unsupported(_, _, parameter) => unsupported(parameter),
        Answer::SizeOverLimit => {
            format!("552 5.2.3 Message size exceeds fixed maximum message size ({limit})")
        }
        Answer::MessageTooBig => format!("552 5.2.3 Message exceeds maximum fixed size ({limit})"),
        Answer::MechanismUnknown(name) => {
            format!("504 5.3.3 AUTH mechanism {} not available", echo(name))
        }
        Answer::NotBase64(response, Initial::No) => {
            format!("501 5.5.4 cannot decode AUTH parameter {}", echo(response))
        }
        Answer::NotBase64(response, Initial::Yes) | Answer::AuthSyntax(response) => {
            format!("501 5.5.4 cannot BASE64 decode '{}'", echo(response))
        }
        Answer::Challenge(challenge) => format!("334 {challenge}"),
        // Sendmail counts no messages: it would say this of commands.
        Answer::TooManyCommands | Answer::TooManyMessages => {
            format!("421 4.7.0 {host} Too many bad commands; closing connection")
        }
        Answer::DataTimeout(sender) => {
            let sender = echo(sender.as_bytes());
            format!("421 4.4.1 collect: relay=[{address}], from=<{sender}>, info=read timeout")
        }
        ref other => constant(other).into(),
    }
}

/// The answers that say the same always.
fn constant(answer: &Answer<'_>) -> &'static str {
    match answer {
        Answer::StartData => "354 End data with <CR><LF>.<CR><LF>",
        Answer::ResetOk => "250 2.0.0 Reset state",
        Answer::Unverified(_) | Answer::VrfySyntax | Answer::VrfyBadAddress(_) => {
            "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"
        }
        Answer::ExpnRefused => "502 5.7.0 Sorry, we do not allow this operation",
        Answer::EtrnSyntax => "500 5.5.2 Parameter required",

        Answer::Arguments(_) => "501 5.5.2 Syntax error (no parameters allowed)",
        Answer::TlsRefused => "454 4.3.3 TLS not available after start",
        Answer::TlsAlready => "503 5.5.0 TLS already active",
        Answer::TlsReady => "220 2.0.0 Ready to start TLS",
        Answer::NestedMail => "503 5.5.0 Sender already specified",
        Answer::NeedMail => "503 5.0.0 Need MAIL before RCPT",
        Answer::NeedMailFor(_) => "503 5.0.0 Need MAIL command",
        Answer::NoRecipients(_) => "503 5.0.0 Need RCPT (recipient)",
        Answer::TooManyRecipients => "452 4.5.3 Too many recipients",
        Answer::SizeOverflow => "552 5.2.3 Message size exceeds maximum value",
        Answer::SpaceShort | Answer::StorageFull | Answer::WriteFailed => {
            "452 4.4.5 Insufficient disk space; try again later"
        }
        Answer::Shutdown => "421 4.3.0 closing connection",
        Answer::Busy => "421 4.3.2 Too many open connections.",

        Answer::AuthRefused => "503 5.3.3 AUTH not available",
        Answer::AuthInTransaction => "503 5.5.0 AUTH not permitted during a mail transaction",
        Answer::AlreadyLoggedIn => "503 5.5.0 Already Authenticated",
        Answer::MechanismMissing => "501 5.5.2 AUTH mechanism must be specified",
        Answer::AuthCancelled => "501 5.0.0 AUTH aborted",
        Answer::LoginFailed | Answer::ResponseTooEarly => "535 5.7.0 authentication failed",
        Answer::LoggedIn => "235 2.0.0 OK Authenticated",
        Answer::NeedAuth => "530 5.7.0 Authentication required",

        // Not said by this server.
        Answer::Empty
        | Answer::NotUtf8
        | Answer::BadSize(_)
        | Answer::BdatRefused
        | Answer::EtrnInMail
        | Answer::ChunkOk(_)
        | Answer::ChunkSyntax
        | Answer::EmptyChunk
        | Answer::ChunkTooBig
        | Answer::ChunkDiscarded(_)
        | Answer::BetweenChunks(_)
        | Answer::OnlyReset
        | Answer::QueuedChunks(..) => "500 5.5.1 Command unrecognized",
        Answer::NoopOk => "250 2.0.0 OK",
        // These have been worded before.
        Answer::Greeting
        | Answer::Helo
        | Answer::Ehlo
        | Answer::NameMissing(_)
        | Answer::SenderOk(_)
        | Answer::RecipientOk(_)
        | Answer::Queued(_)
        | Answer::Bye
        | Answer::Help
        | Answer::EtrnRefused(_)
        | Answer::Unrecognized(_)
        | Answer::NotSmtp
        | Answer::LineTooLong
        | Answer::ResponseTooLong
        | Answer::NoPath(..)
        | Answer::BadPath(..)
        | Answer::NullRecipient(_)
        | Answer::Unsupported(..)
        | Answer::SizeOverLimit
        | Answer::MessageTooBig
        | Answer::MechanismUnknown(_)
        | Answer::NotBase64(..)
        | Answer::AuthSyntax(_)
        | Answer::Challenge(_)
        | Answer::TooManyCommands
        | Answer::TooManyMessages
        | Answer::Timeout
        | Answer::DataTimeout(_) => "250 2.0.0 OK",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::{Client, Profile};
    use crate::timestamp::Timestamp;

    #[test]
    fn addresses_of_both_families_are_as_sendmail_writes_them() {
        let profile = Profile {
            hostname: "mx".into(),
            ..Profile::default()
        };
        for (address, written) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::1", "IPv6:0:0:0:0:0:0:0:1"),
            ("2001:db8::ab", "IPv6:2001:db8:0:0:0:0:0:ab"),
        ] {
            let client = Client {
                address: address.parse().unwrap(),
                connected_at: Timestamp::from_seconds(0, 0),
                nonce: 0,
            };
            let context = Context {
                profile: &profile,
                client: &client,
                helo: "x",
                extended: false,
                encrypted: false,
            };
            let expected = format!("250 mx Hello [{written}], pleased to meet you");
            assert_eq!(words(&Answer::Helo, &context), expected);
        }
    }

    #[test]
    fn queue_ids_are_as_sendmail_makes_them() {
        // 2026-11-26 10:51:05; the real one gave 6AQAp5fZ008154.
        let at = Timestamp::from_seconds(1_795_690_265, 41 * 60 + 35);
        let id = MessageId { at, number: 8_154 };
        assert_eq!(queue_id(&id), "6AQAp5fZ008154");
    }
}

//! What an Exim says, as it stands in its sources.

use super::queue_id;
use crate::smtp::answer::Answer;
use crate::smtp::command::Verb;
use crate::smtp::personality::{Context, echo};

/// The first line to HELO and EHLO. The name of the client's address is not looked up; there is
/// none, as for most clients of a relay.
pub(super) fn hello(context: &Context<'_>) -> String {
    let (host, name) = (&context.profile.hostname, echo(context.helo.as_bytes()));
    format!("{host} Hello {name} [{}]", context.client.address)
}

/// `MAIL FROM:` with nothing behind it; anything else without `FROM:` is no command to Exim.
pub(super) fn is_operand_missing(answer: &Answer<'_>) -> bool {
    matches!(answer, Answer::NoPath(_, arguments) if arguments.ends_with(b":"))
}

/// What is wrong with a path, as Exim says it behind the path.
fn fault(path: &[u8]) -> String {
    let quotes = path.iter().filter(|&&byte| byte == b'"').count();
    let count = |wanted: u8| path.iter().filter(|&&byte| byte == wanted).count();
    if quotes % 2 == 1 {
        return "unmatched doublequote in local part".into();
    }
    if count(b'<') > count(b'>') {
        return "'>' missing at end of address".into();
    }
    match memchr::memchr(b'>', path).and_then(|end| path.split_at_checked(end + 1)) {
        Some((address, rest)) if !rest.is_empty() => {
            format!(
                "malformed address: {} may not follow {}",
                echo(rest),
                echo(address)
            )
        }
        _ => "missing or malformed local part".into(),
    }
}

pub(super) fn words(answer: &Answer<'_>, context: &Context<'_>) -> String {
    let host = &context.profile.hostname;
    let fixed = match *answer {
        Answer::Greeting => {
            let date = context.client.connected_at.rfc5322();
            return format!("220 {host} ESMTP Exim 4.96 {date} +0000");
        }
        Answer::Helo | Answer::Ehlo => return format!("250 {}", hello(context)),
        Answer::Queued(id) => return format!("250 OK id={}", queue_id(id)),
        Answer::ChunkOk(bytes) => return format!("250 {bytes} byte chunk received"),
        Answer::Bye => return format!("221 {host} closing connection"),
        Answer::Challenge(challenge) => return format!("334 {challenge}"),
        Answer::NameMissing(verb) => {
            let verb = if verb == Verb::Ehlo { "EHLO" } else { "HELO" };
            return format!("501 Syntactically invalid {verb} argument(s)");
        }
        Answer::BadPath(_, path) => return format!("501 {}: {}", echo(path), fault(path)),
        Answer::VrfyBadAddress(path) => return format!("501 {}", fault(path)),
        Answer::NullRecipient(path) => {
            return format!("501 {}: missing or malformed local part", echo(path));
        }
        Answer::Unsupported(Verb::Mail, _, parameter) if is_body(parameter) => {
            "501 invalid data for BODY"
        }
        Answer::Unsupported(_, path, parameter) => {
            let (path, parameter) = (echo(path), echo(parameter));
            return format!(
                "501 {path} {parameter}: malformed address: {parameter} may not follow {path} "
            );
        }
        Answer::MechanismUnknown(name) if !name.iter().all(is_of_mechanism) => {
            "501 invalid character in authentication mechanism name"
        }
        Answer::MechanismUnknown(name) => {
            return format!("504 {} authentication mechanism not supported", echo(name));
        }
        Answer::NoPath(verb, _) if is_operand_missing(answer) => match verb {
            Verb::Mail => "501 MAIL must have an address operand",
            _ => "501 RCPT must have an address operand",
        },
        Answer::Timeout => {
            return format!("421 {host}: SMTP command timeout - closing connection");
        }
        Answer::DataTimeout(_) => {
            return format!("421 {host} SMTP incoming data timeout - closing connection.");
        }
        Answer::Shutdown => {
            return format!("421 {host}: Service not available - closing connection");
        }
        Answer::Busy => "421 Too many concurrent SMTP connections; please try again later.",
        ref other => constant(other),
    };
    fixed.into()
}

fn is_body(parameter: &[u8]) -> bool {
    parameter
        .get(..5)
        .is_some_and(|key| key.eq_ignore_ascii_case(b"BODY="))
}

fn is_of_mechanism(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The answers that say the same always.
fn constant(answer: &Answer<'_>) -> &'static str {
    match answer {
        Answer::RecipientOk(_) => "250 Accepted",
        Answer::StartData => "354 Enter message, ending with \".\" on a line by itself",
        Answer::ResetOk => "250 Reset OK",
        Answer::Unverified(_) => "252 Administrative prohibition",
        Answer::VrfySyntax => "501 empty address",
        Answer::ExpnRefused => "550 Administrative prohibition",
        Answer::EtrnInMail => "503 ETRN is not permitted inside a transaction",
        Answer::EtrnRefused(_) | Answer::EtrnSyntax => "458 Administrative prohibition",

        Answer::Arguments(_) => "501 unexpected argument data",
        Answer::ChunkSyntax => "501 missing size for BDAT command",
        Answer::EmptyChunk => "504 zero size for BDAT command",
        Answer::BetweenChunks(_) => "503 only BDAT permissible after non-LAST BDAT",
        Answer::OnlyReset | Answer::ChunkDiscarded(_) => "503 only RSET accepted now",
        Answer::BdatRefused => "503 BDAT command used when CHUNKING not advertised",
        Answer::TlsRefused | Answer::TlsAlready => "503 STARTTLS command used when not advertised",
        Answer::TlsReady => "220 TLS go ahead",
        Answer::NestedMail => "503 sender already given",
        Answer::NeedMail => "503 sender not yet given",
        Answer::NeedMailFor(Verb::Bdat) | Answer::NoRecipients(Verb::Bdat) => {
            "503 valid RCPT command must precede BDAT"
        }
        Answer::NeedMailFor(_) | Answer::NoRecipients(_) => {
            "503 valid RCPT command must precede DATA"
        }
        Answer::TooManyRecipients => "452 too many recipients",
        Answer::SizeOverflow
        | Answer::SizeOverLimit
        | Answer::MessageTooBig
        | Answer::ChunkTooBig => "552 Message size exceeds maximum permitted",
        Answer::SpaceShort => "452 space shortage, please try later",
        Answer::TooManyMessages => "421 too many messages in this connection",
        Answer::StorageFull | Answer::WriteFailed => "451 Error while writing spool file",
        Answer::TooManyCommands => "554 Too many nonmail commands",

        Answer::AuthRefused => "503 AUTH command used when not advertised",
        Answer::AuthInTransaction => "503 not permitted in mail transaction",
        Answer::AlreadyLoggedIn => "503 already authenticated",
        Answer::MechanismMissing => "504  authentication mechanism not supported",
        Answer::AuthSyntax(_) | Answer::NotBase64(..) | Answer::ResponseTooLong => {
            "501 Invalid base64 data"
        }
        Answer::ResponseTooEarly => "553 Initial data not expected",
        Answer::AuthCancelled => "501 Authentication cancelled",
        Answer::LoginFailed => "535 Incorrect authentication data",
        Answer::LoggedIn => "235 Authentication succeeded",
        Answer::NeedAuth => "530 Authentication required",

        Answer::Unrecognized(_)
        | Answer::NoPath(..)
        | Answer::LineTooLong
        | Answer::Empty
        | Answer::NotSmtp
        | Answer::NotUtf8 => "500 unrecognized command",

        Answer::SenderOk(_) | Answer::NoopOk => "250 OK",
        // These have been worded before.
        Answer::Greeting
        | Answer::Helo
        | Answer::Ehlo
        | Answer::NameMissing(_)
        | Answer::Queued(_)
        | Answer::QueuedChunks(..)
        | Answer::ChunkOk(_)
        | Answer::Bye
        | Answer::Help
        | Answer::Challenge(_)
        | Answer::BadPath(..)
        | Answer::BadSize(_)
        | Answer::VrfyBadAddress(_)
        | Answer::NullRecipient(_)
        | Answer::Unsupported(..)
        | Answer::MechanismUnknown(_)
        | Answer::Timeout
        | Answer::DataTimeout(_)
        | Answer::Shutdown
        | Answer::Busy => "250 OK",
    }
}

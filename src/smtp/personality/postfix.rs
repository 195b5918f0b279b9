//! The words of a Postfix 3.7 with default settings.
//!
//! Codes are those of RFC 5321 §4.2, with enhanced codes (RFC 3463) on every reply but the
//! greeting and those to HELO and EHLO (RFC 2034 §4), and to ETRN, as Postfix has it. Behind its
//! AUTH there is a Dovecot, as mostly, which gives no reason when a pair is wrong.

use super::{Chunking, Context, Face, Habits, echo, mechanisms, put, put_lines};
use crate::smtp::MessageId;
use crate::smtp::answer::{Answer, Initial};
use crate::smtp::command::Verb;

/// Errors after which a session is closed; the default of `smtpd_hard_error_limit`. A message
/// that was stored forgives those before it.
const MAX_ERRORS: u32 = 20;

/// One session's face.
#[derive(Debug, Default)]
pub(super) struct Postfix {
    errors: u32,
}

impl Face for Postfix {
    fn habits(&self) -> Habits {
        Habits {
            shape_first: false,
            needs_name: true,
            size_is_number: true,
            auth_after_ehlo: false,
            login_before_transaction: false,
            passes_over_early_response: true,
            etrn_outside_mail: true,
            chunking: Chunking::PassOver,
            reads_beginnings: true,
            wants_utf8: true,
        }
    }

    fn knows(&self, verb: Verb) -> bool {
        !matches!(verb, Verb::Help | Verb::Expn)
    }

    fn takes_arguments(&self, verb: Verb) -> bool {
        !matches!(verb, Verb::Rset | Verb::Starttls | Verb::Data)
    }

    fn say(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) {
        match *answer {
            Answer::Ehlo => put_lines(output, 250, &offers(context)),
            ref other => put(output, &words(other, context)),
        }
        if let Answer::Queued(_) | Answer::QueuedChunks(..) = answer {
            self.errors = 0;
        }
    }

    fn refuse(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) -> bool {
        self.say(answer, context, output);
        self.errors += 1;
        let over = self.errors >= MAX_ERRORS;
        if over {
            self.say(&Answer::TooManyCommands, context, output);
        }
        over
    }
}

/// Microseconds of the time, and the number where a Postfix has the inode.
pub(super) fn queue_id(id: &MessageId) -> String {
    format!("{:05X}{:X}", id.at.subsecond_micros(), id.number)
}

/// What EHLO lists, in Postfix's order (RFC 5321 §4.1.1.1; RFC 2920, 1870, 1985, 3207, 4954,
/// 2034, 6152, 3461, 6531, 3030).
fn offers(context: &Context<'_>) -> Vec<String> {
    let profile = context.profile;
    let mut offers = vec![
        profile.hostname.clone(),
        "PIPELINING".into(),
        format!("SIZE {}", profile.max_message_size),
    ];
    offers.extend(["VRFY", "ETRN"].map(str::to_owned));
    if context.offers_tls() {
        offers.push("STARTTLS".into());
    }
    if profile.auth.offered() {
        offers.push(format!("AUTH {}", mechanisms()));
    }
    let rest = [
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8",
        "CHUNKING",
    ];
    offers.extend(rest.map(str::to_owned));
    offers
}

fn words(answer: &Answer<'_>, context: &Context<'_>) -> String {
    let host = &context.profile.hostname;
    let fixed = match *answer {
        Answer::Greeting => return format!("220 {host} ESMTP Postfix"),
        Answer::Helo | Answer::Ehlo => return format!("250 {host}"),
        Answer::Queued(id) => return format!("250 2.0.0 Ok: queued as {}", queue_id(id)),
        Answer::QueuedChunks(id, taken) => {
            let (bytes, id) = (taken.total, queue_id(id));
            return format!("250 2.0.0 Ok: {bytes} bytes queued as {id}");
        }
        Answer::ChunkOk(bytes) => return format!("250 2.0.0 Ok: {bytes} bytes"),
        Answer::ChunkDiscarded(bytes) => {
            return format!("551 5.0.0 Discarded {bytes} bytes after earlier error");
        }
        Answer::Unverified(address) => return format!("252 2.0.0 {}", echo(address)),
        Answer::EtrnRefused(domain) => {
            return format!("459 <{}>: service unavailable", echo(domain));
        }
        Answer::Unsupported(_, _, parameter) => {
            return format!("555 5.5.4 Unsupported option: {}", echo(parameter));
        }
        Answer::Challenge(challenge) => return format!("334 {challenge}"),
        Answer::TooManyCommands => return format!("421 4.7.0 {host} Error: too many errors"),
        Answer::Timeout | Answer::DataTimeout(_) => {
            return format!("421 4.4.2 {host} Error: timeout exceeded");
        }
        Answer::Shutdown => return format!("421 4.3.2 {host} Service shutting down"),
        // Postfix counts by address and minute, and would say 450; we end the session.
        Answer::TooManyMessages => {
            let address = context.client.address;
            return format!("421 4.7.0 {host} Error: too much mail from {address}");
        }
        Answer::Busy => {
            let address = context.client.address;
            return format!("421 4.7.0 {host} Error: too many connections from {address}");
        }

        Answer::SenderOk(_) => "250 2.1.0 Ok",
        Answer::RecipientOk(_) => "250 2.1.5 Ok",
        Answer::StartData => "354 End data with <CR><LF>.<CR><LF>",
        Answer::ResetOk | Answer::NoopOk | Answer::Help => "250 2.0.0 Ok",
        Answer::Bye => "221 2.0.0 Bye",
        Answer::NotSmtp => "221 2.7.0 Error: I can break rules, too. Goodbye.",

        Answer::SpaceShort | Answer::StorageFull => "452 4.3.1 Insufficient system storage",
        Answer::WriteFailed => "451 4.3.0 Error: queue file write error",
        Answer::TooManyRecipients => "452 4.5.3 Error: too many recipients",
        Answer::MessageTooBig => "552 5.3.4 Error: message file too big",

        Answer::Empty => "500 5.5.2 Error: bad syntax",
        Answer::NotUtf8 => "500 5.5.2 Error: bad UTF-8 syntax",
        Answer::LineTooLong => "500 5.5.2 Error: line too long",
        Answer::Unrecognized(_) | Answer::ExpnRefused => "500 5.5.2 Error: command not recognized",
        Answer::AuthRefused => "503 5.5.1 Error: authentication not enabled",
        Answer::AuthInTransaction => "503 5.5.1 Error: MAIL transaction in progress",
        Answer::AlreadyLoggedIn => "503 5.5.1 Error: already authenticated",
        Answer::MechanismMissing | Answer::AuthSyntax(_) => "501 5.5.4 Syntax: AUTH mechanism",
        Answer::MechanismUnknown(_) => {
            "535 5.7.8 Error: authentication failed: Invalid authentication mechanism"
        }
        Answer::NotBase64(_, Initial::Yes) => {
            "535 5.7.8 Error: authentication failed: Invalid base64 data in initial response"
        }
        Answer::NotBase64(_, Initial::No) => {
            "535 5.7.8 Error: authentication failed: Invalid base64 data in continued response"
        }
        Answer::LoginFailed | Answer::ResponseTooEarly => {
            "535 5.7.8 Error: authentication failed: (reason unavailable)"
        }
        Answer::ResponseTooLong => "500 5.5.6 SASL response limit exceeded",
        Answer::AuthCancelled => "501 5.7.0 Authentication aborted",
        Answer::LoggedIn => "235 2.7.0 Authentication successful",
        Answer::NeedAuth => "530 5.7.0 Authentication required",
        Answer::TlsReady => "220 2.0.0 Ready to start TLS",
        Answer::TlsAlready => "554 5.5.1 Error: TLS already active",
        Answer::TlsRefused => "502 5.5.1 Error: command not implemented",
        Answer::BdatRefused => "521 5.5.1 Error: command not implemented",
        Answer::ChunkSyntax => "521 5.5.4 Syntax: BDAT count [LAST]",
        Answer::EmptyChunk => "551 5.7.1 Null BDAT request",
        Answer::ChunkTooBig => "552 5.3.4 Chunk exceeds message size limit",
        Answer::BetweenChunks(Verb::Mail) => "503 5.5.1 Error: MAIL after BDAT",
        Answer::BetweenChunks(Verb::Rcpt) => "503 5.5.1 Error: RCPT after BDAT",
        Answer::BetweenChunks(_) | Answer::OnlyReset => "503 5.5.1 Error: DATA after BDAT",

        Answer::NameMissing(Verb::Ehlo) => "501 Syntax: EHLO hostname",
        Answer::NameMissing(_) => "501 Syntax: HELO hostname",
        Answer::NoPath(Verb::Mail, _) => "501 5.5.4 Syntax: MAIL FROM:<address>",
        Answer::NoPath(..) => "501 5.5.4 Syntax: RCPT TO:<address>",
        Answer::BadPath(Verb::Mail, _) => "501 5.1.7 Bad sender address syntax",
        Answer::BadPath(..) | Answer::NullRecipient(_) | Answer::VrfyBadAddress(_) => {
            "501 5.1.3 Bad recipient address syntax"
        }
        Answer::Arguments(Verb::Rset) => "501 5.5.4 Syntax: RSET",
        Answer::Arguments(Verb::Starttls) => "501 5.5.4 Syntax: STARTTLS",
        Answer::Arguments(_) => "501 5.5.4 Syntax: DATA",
        Answer::VrfySyntax => "501 5.5.4 Syntax: VRFY address [SMTPUTF8]",
        Answer::EtrnInMail => "503 Error: MAIL transaction in progress",
        Answer::EtrnSyntax => "500 Syntax: ETRN domain",
        Answer::BadSize(_) => "501 5.5.4 Bad message size syntax",
        Answer::SizeOverflow => "552 5.3.4 Message size exceeds file system imposed limit",
        Answer::SizeOverLimit => "552 5.3.4 Message size exceeds fixed limit",

        Answer::NestedMail => "503 5.5.1 Error: nested MAIL command",
        Answer::NeedMail => "503 5.5.1 Error: need MAIL command",
        Answer::NeedMailFor(_) => "503 5.5.1 Error: need RCPT command",
        Answer::NoRecipients(_) => "554 5.5.1 Error: no valid recipients",
    };
    fixed.into()
}

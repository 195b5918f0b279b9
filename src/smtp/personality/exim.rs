//! The words of an Exim 4.96 as Debian builds it, with default settings but for those that let
//! more in: `hosts_require_helo` and the checks of names in HELO off, addresses without a domain
//! taken.
//!
//! An Exim speaks without enhanced codes, looks at the shape of a command before its place, and
//! bears little: the fourth error ends the session, and so does the fourth unknown command or the
//! eleventh command that has nothing to do with a mail. It tells DATA without a recipient what its
//! RCPTs were told.

mod words;

use std::mem;

use super::{Chunking, Context, Face, Habits, mechanisms, put, put_lines};
use crate::smtp::MessageId;
use crate::smtp::answer::Answer;
use crate::smtp::command::Verb;
use words::{hello, is_operand_missing, words};

/// `smtp_max_synprot_errors`.
const MAX_ERRORS: u32 = 3;

/// `smtp_max_unknown_commands`.
const MAX_UNKNOWN: u32 = 3;

/// `smtp_accept_max_nonmail`.
const MAX_NONMAIL: u32 = 10;

/// Digits of the numbers in a message id.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// One session's face.
#[derive(Debug, Default)]
pub(super) struct Exim {
    errors: u32,
    unknown: u32,
    nonmail: u32,
    /// Commands of which the next does not count as one that has nothing to do with a mail.
    spent: Vec<Verb>,
    /// The command that is being answered, and what the one before it was.
    verb: Option<Verb>,
    before: Before,
    now: Before,
    /// What all RCPTs since MAIL were told, while it was the same.
    recipients: Told,
    /// A message has begun: the client cannot save the greeting's round trip any more.
    past_connect: bool,
}

/// What a command was that the next one may be excused by.
#[derive(Debug, Default, Clone, Copy)]
struct Before {
    refused_mail: bool,
    recipient: bool,
}

#[derive(Debug, Default)]
enum Told {
    #[default]
    Nothing,
    Always(String),
    This,
}

impl Face for Exim {
    fn habits(&self) -> Habits {
        Habits {
            shape_first: true,
            needs_name: false,
            size_is_number: false,
            auth_after_ehlo: true,
            login_before_transaction: true,
            passes_over_early_response: false,
            etrn_outside_mail: true,
            chunking: Chunking::HearOut,
            reads_beginnings: false,
            wants_utf8: false,
        }
    }

    fn knows(&self, verb: Verb) -> bool {
        !matches!(verb, Verb::Http | Verb::Foreign | Verb::Empty)
    }

    fn takes_arguments(&self, verb: Verb) -> bool {
        !matches!(verb, Verb::Rset | Verb::Starttls | Verb::Data | Verb::Quit)
    }

    fn hear(&mut self, verb: Verb) -> Option<Answer<'static>> {
        self.verb = Some(verb);
        self.before = mem::take(&mut self.now);
        match verb {
            Verb::Mail => self.now.refused_mail = true,
            Verb::Rcpt => self.now.recipient = true,
            Verb::Helo | Verb::Ehlo | Verb::Rset => self.recipients = Told::Nothing,
            _ => {}
        }
        self.nonmail += u32::from(self.is_nonmail(verb));
        (self.nonmail > MAX_NONMAIL).then_some(Answer::TooManyCommands)
    }

    fn say(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) {
        match *answer {
            Answer::Ehlo => put_lines(output, 250, &self.offers(context)),
            Answer::Help => put_lines(output, 214, &help(context)),
            Answer::QueuedChunks(id, taken) => {
                let (chunk, total) = (taken.chunk, taken.total);
                put(output, &format!("250- {chunk} byte chunk, total {total}"));
                put(output, &format!("250 OK id={}", queue_id(id)));
            }
            ref other => {
                let reply = words(other, context);
                put(output, &reply);
                self.remember(reply);
            }
        }
        match answer {
            Answer::SenderOk(_) => {
                self.now.refused_mail = false;
                self.recipients = Told::Nothing;
            }
            Answer::StartData | Answer::ChunkOk(_) | Answer::QueuedChunks(..) => {
                self.past_connect = true;
                // AUTH is excused once a session, the others once a message.
                self.spent.retain(|&verb| verb == Verb::Auth);
                self.recipients = Told::Nothing;
            }
            _ => {}
        }
    }

    fn refuse(&mut self, answer: &Answer<'_>, context: &Context<'_>, output: &mut Vec<u8>) -> bool {
        if let Answer::Unrecognized(_) | Answer::NoPath(..) = answer
            && !is_operand_missing(answer)
        {
            self.unknown += 1;
            if self.unknown > MAX_UNKNOWN {
                put(output, "500 Too many unrecognized commands");
                return true;
            }
        }
        let counts = self.counts(answer, context);
        let mut reply = words(answer, context);
        if let Answer::NeedMailFor(_) | Answer::NoRecipients(_) = answer {
            if let Told::Always(told) = &self.recipients {
                put(
                    output,
                    "503-All RCPT commands were rejected with this error:",
                );
                put(output, &format!("503-{told}"));
            }
            if !counts {
                reply = reply.replace("valid", "Valid");
            }
        }
        self.remember(reply.clone());
        self.errors += u32::from(counts);
        let over = self.errors > MAX_ERRORS;
        match reply.split_at_checked(4) {
            Some((code, text)) if over => {
                let code = code.trim_end();
                put(output, &format!("{code}-{text}"));
                put(
                    output,
                    &format!("{code} Too many syntax or protocol errors"),
                );
            }
            _ => put(output, &reply),
        }
        over
    }
}

impl Exim {
    /// Whether this is one more command that has nothing to do with a mail.
    fn is_nonmail(&mut self, verb: Verb) -> bool {
        let excused = match verb {
            Verb::Noop | Verb::Vrfy | Verb::Expn | Verb::Etrn | Verb::Help => return true,
            // One is excused, whichever it is.
            Verb::Helo | Verb::Ehlo => Verb::Helo,
            Verb::Rset | Verb::Starttls | Verb::Auth => verb,
            _ => return false,
        };
        let spent = self.spent.contains(&excused);
        if !spent {
            self.spent.push(excused);
        }
        spent
    }

    /// Whether a refusal is the client's fault. What pipelining brings about is not.
    fn counts(&mut self, answer: &Answer<'_>, context: &Context<'_>) -> bool {
        match answer {
            Answer::NeedMail => {
                let excused = context.extended && self.before.refused_mail;
                self.now.refused_mail = excused;
                self.now.recipient = excused;
                !excused
            }
            Answer::NeedMailFor(_) | Answer::NoRecipients(_) => {
                !(context.extended && self.before.recipient)
            }
            Answer::VrfySyntax
            | Answer::VrfyBadAddress(_)
            | Answer::ExpnRefused
            | Answer::EtrnRefused(_)
            | Answer::EtrnSyntax
            | Answer::SizeOverflow
            | Answer::SizeOverLimit
            | Answer::MessageTooBig
            | Answer::NeedAuth
            | Answer::NotBase64(..)
            | Answer::AuthSyntax(_)
            | Answer::AuthCancelled
            | Answer::ResponseTooEarly
            | Answer::ResponseTooLong
            | Answer::LoginFailed => false,
            _ => true,
        }
    }

    /// Remembers what a RCPT is told.
    fn remember(&mut self, reply: String) {
        if self.verb == Some(Verb::Rcpt) {
            self.verb = None;
            self.recipients = match mem::take(&mut self.recipients) {
                Told::Nothing => Told::Always(reply),
                Told::Always(told) if told == reply => Told::Always(told),
                Told::Always(_) | Told::This => Told::This,
            };
        }
    }

    /// What EHLO lists, in Exim's order.
    fn offers(&self, context: &Context<'_>) -> Vec<String> {
        let profile = context.profile;
        let mut offers = vec![hello(context), format!("SIZE {}", profile.max_message_size)];
        offers.extend(["8BITMIME", "PIPELINING"].map(str::to_owned));
        if !self.past_connect {
            offers.push("PIPECONNECT".into());
        }
        if profile.auth.offered() {
            offers.push(format!("AUTH {}", mechanisms()));
        }
        offers.push("CHUNKING".into());
        if context.offers_tls() {
            offers.push("STARTTLS".into());
        }
        offers.extend(["SMTPUTF8", "HELP"].map(str::to_owned));
        offers
    }
}

fn help(context: &Context<'_>) -> Vec<String> {
    let tls = if context.offers_tls() {
        "STARTTLS "
    } else {
        ""
    };
    let commands = format!("AUTH {tls}HELO EHLO MAIL RCPT DATA BDAT NOOP QUIT RSET HELP");
    vec!["Commands supported:".into(), commands]
}

/// Seconds, a number where an Exim has the process, and half-milliseconds, in base 62.
pub(super) fn queue_id(id: &MessageId) -> String {
    let seconds = u64::try_from(id.at.seconds()).unwrap_or(0);
    let fraction = u64::from(id.at.subsecond_micros()) / 500;
    format!(
        "{}-{}-{}",
        base62(seconds, 6),
        base62(id.number, 6),
        base62(fraction, 2)
    )
}

fn base62(mut number: u64, digits: usize) -> String {
    let mut text = vec!['0'; digits];
    for place in text.iter_mut().rev() {
        let digit = usize::try_from(number % 62).unwrap_or(0);
        *place = char::from(BASE62.get(digit).copied().unwrap_or(b'0'));
        number /= 62;
    }
    text.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::Timestamp;

    #[test]
    fn message_ids_are_as_exim_makes_them() {
        let at = Timestamp::from_seconds(1_795_690_049, 999_500);
        let id = MessageId { at, number: 12_586 };
        assert_eq!(queue_id(&id), "1xWX0j-0003H0-WF");
    }
}

//! What the session makes of each command, and in which order it looks at things.

use super::chunks::Chunks;
use super::{Phase, Session, Verdict, refuse};
use crate::smtp::answer::Answer;
use crate::smtp::command::{Command, Size, Verb};
use crate::smtp::data::DataReader;
use crate::smtp::{Transaction, path};

impl Session {
    pub(super) fn execute<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        if !matches!(command.verb, Verb::Rcpt | Verb::Bdat) {
            self.commands += 1;
        }
        let verb = match self.face.knows(command.verb) {
            true => command.verb,
            false => Verb::Unknown,
        };
        if let Some(last_words) = self.face.hear(verb) {
            return Verdict::HangUp(last_words);
        }
        if let Some(refusal) = self.between_chunks(verb) {
            return refuse(refusal);
        }
        let habits = self.face.habits();
        let bare = command.arguments.is_empty();
        let surplus = !bare && !self.face.takes_arguments(verb);
        match verb {
            Verb::Helo | Verb::Ehlo if bare && habits.needs_name => {
                refuse(Answer::NameMissing(verb))
            }
            Verb::Helo => self.greet(command.arguments, Answer::Helo),
            Verb::Ehlo => self.greet(command.arguments, Answer::Ehlo),
            Verb::Mail | Verb::Rcpt if habits.shape_first && !command.has_keyword() => {
                refuse(Answer::NoPath(verb, command.arguments))
            }
            Verb::Mail => self.mail(command),
            Verb::Rcpt => self.rcpt(command),
            Verb::Data if !habits.shape_first => self.data(surplus),
            Verb::Data | Verb::Rset | Verb::Starttls | Verb::Quit if surplus => {
                refuse(Answer::Arguments(verb))
            }
            Verb::Data => self.data(false),
            Verb::Rset => self.reset(Answer::ResetOk),
            Verb::Noop => self.accept(Answer::NoopOk),
            Verb::Help => self.accept(Answer::Help),
            Verb::Vrfy => self.vrfy(command.arguments),
            Verb::Expn => refuse(Answer::ExpnRefused),
            Verb::Quit => Verdict::HangUp(Answer::Bye),
            Verb::Auth => self.auth(command),
            Verb::Starttls if self.tls.is_some() => refuse(Answer::TlsAlready),
            Verb::Starttls if !self.profile.tls => refuse(Answer::TlsRefused),
            Verb::Starttls => Verdict::StartTls,
            Verb::Bdat => self.bdat(command),
            Verb::Etrn if habits.etrn_outside_mail && self.in_mail() => refuse(Answer::EtrnInMail),
            Verb::Etrn if bare => refuse(Answer::EtrnSyntax),
            Verb::Etrn => refuse(Answer::EtrnRefused(command.arguments)),
            Verb::Http | Verb::Foreign | Verb::Unknown if habits.wants_utf8 && !command.utf8 => {
                refuse(Answer::NotUtf8)
            }
            Verb::Http | Verb::Foreign => Verdict::HangUp(Answer::NotSmtp),
            Verb::Empty => refuse(Answer::Empty),
            Verb::Unknown => refuse(Answer::Unrecognized(command.text())),
        }
    }

    fn accept<'l>(&mut self, answer: Answer<'_>) -> Verdict<'l> {
        self.say(&answer);
        Verdict::Accepted
    }

    fn greet<'l>(&mut self, name: &[u8], answer: Answer<'_>) -> Verdict<'l> {
        self.helo = path::text(name);
        self.extended = answer == Answer::Ehlo;
        self.reset(answer)
    }

    /// Accepts what ends a transaction.
    fn reset<'l>(&mut self, answer: Answer<'_>) -> Verdict<'l> {
        let forgotten = self.forget();
        self.say(&answer);
        forgotten.map_or(Verdict::Accepted, Verdict::Forgotten)
    }

    /// Whether there is a MAIL that no end has come of.
    pub(super) fn in_mail(&self) -> bool {
        let begun = |chunks: &Chunks| chunks.begun;
        self.envelope.is_some() || self.chunks.as_ref().is_some_and(begun)
    }

    /// Recipients so far.
    pub(super) fn recipients(&self) -> usize {
        let envelope = self.envelope.as_ref();
        envelope.map_or(0, |envelope| envelope.rcpt_to.len())
    }

    fn mail<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        if self.envelope.is_some() {
            return refuse(Answer::NestedMail);
        }
        if self.profile.auth.required && self.user.is_none() {
            return refuse(Answer::NeedAuth);
        }
        let sender = match command.sender() {
            Ok(sender) => sender,
            Err(refusal) => return refuse(refusal),
        };
        match self.no_message() {
            Some((last_words, true)) => return Verdict::HangUp(last_words),
            Some((answer, false)) => return refuse(answer),
            None => {}
        }
        match sender.size {
            Size::Junk(value) if self.face.habits().size_is_number => {
                return refuse(Answer::BadSize(value));
            }
            Size::Overflow => {
                self.met.sizes += 1;
                return refuse(Answer::SizeOverflow);
            }
            Size::Bytes(bytes) if bytes > self.profile.max_message_size => {
                self.met.sizes += 1;
                return refuse(Answer::SizeOverLimit);
            }
            Size::Unsaid | Size::Junk(_) | Size::Bytes(_) => {}
        }
        self.envelope = Some(Transaction {
            mail_from: sender.address,
            ..Transaction::default()
        });
        self.accept(Answer::SenderOk(sender.path))
    }

    fn rcpt<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        if self.envelope.is_none() {
            return refuse(Answer::NeedMail);
        }
        let recipient = match command.recipient() {
            Ok(recipient) => recipient,
            Err(refusal) => return refuse(refusal),
        };
        if let Some(answer) = self.no_recipient(self.recipients()) {
            // Not an error: the client is to send the message now and the rest in another.
            self.commands += 1;
            return self.accept(answer);
        }
        if let Some(envelope) = &mut self.envelope {
            envelope.rcpt_to.push(recipient.address);
        }
        self.accept(Answer::RecipientOk(recipient.path))
    }

    /// `surplus`: there are arguments, and there may be none.
    fn data<'l>(&mut self, surplus: bool) -> Verdict<'l> {
        let recipients = self.recipients();
        let Some(envelope) = self.envelope.take_if(|_| recipients > 0 && !surplus) else {
            return refuse(match self.envelope {
                None => Answer::NeedMailFor(Verb::Data),
                Some(_) if recipients == 0 => Answer::NoRecipients(Verb::Data),
                Some(_) => Answer::Arguments(Verb::Data),
            });
        };
        self.say(&Answer::StartData);
        self.phase = Phase::Content {
            reader: DataReader::new(),
            size: 0,
        };
        self.begin(envelope)
    }

    /// A message begins, with this envelope.
    pub(super) fn begin<'l>(&mut self, envelope: Transaction) -> Verdict<'l> {
        self.sender.clone_from(&envelope.mail_from);
        self.messages += 1;
        self.commands = 0;
        Verdict::Begin(Transaction {
            helo: self.helo.clone(),
            user: self.user.clone(),
            tls: self.tls.clone(),
            ..envelope
        })
    }

    fn vrfy<'l>(&mut self, address: &'l [u8]) -> Verdict<'l> {
        if address.is_empty() {
            return refuse(Answer::VrfySyntax);
        }
        match path::address(address) {
            Ok(path) if !path.is_empty() => self.accept(Answer::Unverified(address)),
            _ => refuse(Answer::VrfyBadAddress(address)),
        }
    }
}

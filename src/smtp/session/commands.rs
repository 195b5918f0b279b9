//! What the session makes of each command, and in which order it looks at things.

use super::{Session, Verdict, refuse};
use crate::smtp::answer::Answer;
use crate::smtp::command::{Command, Verb};
use crate::smtp::{Transaction, path};

impl Session {
    pub(super) fn execute<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        if command.verb != Verb::Rcpt {
            self.commands += 1;
        }
        let verb = match self.face().knows(command.verb) {
            true => command.verb,
            false => Verb::Unknown,
        };
        let bare = command.arguments.is_empty();
        match verb {
            Verb::Helo | Verb::Ehlo if bare => refuse(Answer::NameMissing(verb)),
            Verb::Helo => self.greet(command.arguments, Answer::Helo),
            Verb::Ehlo => self.greet(command.arguments, Answer::Ehlo),
            Verb::Mail => self.mail(command),
            Verb::Rcpt => self.rcpt(command),
            Verb::Data => self.data(bare),
            Verb::Rset if !bare => refuse(Answer::Arguments(Verb::Rset)),
            Verb::Rset => {
                self.envelope = None;
                self.accept(Answer::ResetOk)
            }
            Verb::Noop => self.accept(Answer::NoopOk),
            Verb::Help => self.accept(Answer::Help),
            Verb::Vrfy => self.vrfy(command.arguments),
            Verb::Expn => refuse(Answer::ExpnRefused),
            Verb::Quit => Verdict::HangUp(Answer::Bye),
            Verb::Auth => self.auth(command),
            Verb::Starttls if !bare => refuse(Answer::Arguments(Verb::Starttls)),
            Verb::Starttls if self.tls.is_some() => refuse(Answer::TlsAlready),
            Verb::Starttls if !self.profile.tls => refuse(Answer::TlsRefused),
            Verb::Starttls => Verdict::StartTls,
            // Its content would follow unasked and be read as commands.
            Verb::Bdat => Verdict::HangUp(Answer::BdatRefused(command.text())),
            Verb::Etrn if bare => refuse(Answer::EtrnSyntax),
            Verb::Etrn => refuse(Answer::EtrnRefused(command.arguments)),
            Verb::Foreign => Verdict::HangUp(Answer::NotSmtp),
            Verb::Empty => refuse(Answer::Empty),
            Verb::Unknown => {
                self.tally.unknown += 1;
                refuse(Answer::Unrecognized(command.text()))
            }
        }
    }

    fn accept<'l>(&mut self, answer: Answer<'_>) -> Verdict<'l> {
        self.say(&answer);
        Verdict::Accepted
    }

    fn greet<'l>(&mut self, name: &[u8], answer: Answer<'_>) -> Verdict<'l> {
        self.envelope = None;
        self.helo = path::text(name);
        self.extended = answer == Answer::Ehlo;
        self.accept(answer)
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
        if sender.size > Some(self.profile.max_message_size) {
            return refuse(Answer::SizeOverLimit);
        }
        self.envelope = Some(Transaction {
            mail_from: sender.address,
            declared_size: sender.size,
            eight_bit: sender.eight_bit,
            ..Transaction::default()
        });
        self.accept(Answer::SenderOk(sender.path))
    }

    fn rcpt<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        let Some(there_are) = self
            .envelope
            .as_ref()
            .map(|envelope| envelope.rcpt_to.len())
        else {
            return refuse(Answer::NeedMail);
        };
        let recipient = match command.recipient() {
            Ok(recipient) => recipient,
            Err(refusal) => return refuse(refusal),
        };
        if let Some(answer) = self.no_recipient(there_are) {
            // Not an error: the client is to send the message now and the rest in another.
            self.commands += 1;
            return self.accept(answer);
        }
        if let Some(envelope) = &mut self.envelope {
            envelope.rcpt_to.push(recipient.address);
        }
        self.accept(Answer::RecipientOk(recipient.path))
    }

    fn data<'l>(&mut self, bare: bool) -> Verdict<'l> {
        match self.envelope.take() {
            None => refuse(Answer::NeedMailForData),
            Some(envelope) if envelope.rcpt_to.is_empty() || !bare => {
                let refusal = if envelope.rcpt_to.is_empty() {
                    Answer::NoRecipients
                } else {
                    Answer::Arguments(Verb::Data)
                };
                self.envelope = Some(envelope);
                refuse(refusal)
            }
            Some(envelope) => Verdict::Begin(Transaction {
                helo: self.helo.clone(),
                user: self.user.clone(),
                tls: self.tls.clone(),
                ..envelope
            }),
        }
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

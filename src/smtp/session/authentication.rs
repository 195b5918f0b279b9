//! AUTH within a session (RFC 4954): when it may come, and what each response leads to.

use md5::{Digest, Md5};

use super::{Phase, Session, Verdict, refuse};
use crate::smtp::answer::{Answer, Initial};
use crate::smtp::auth::{Attempt, Exchange, Mechanism, Turn};
use crate::smtp::command::Command;
use crate::smtp::path;

impl Session {
    pub(super) fn auth<'l>(&mut self, command: Command<'l>) -> Verdict<'l> {
        let habits = self.face.habits();
        if !self.profile.auth.offered() || habits.auth_after_ehlo && !self.extended {
            return refuse(Answer::AuthRefused);
        }
        match (self.user.is_some(), self.in_mail()) {
            (true, true) if !habits.login_before_transaction => {
                return refuse(Answer::AuthInTransaction);
            }
            (true, _) => return refuse(Answer::AlreadyLoggedIn),
            (false, true) => return refuse(Answer::AuthInTransaction),
            (false, false) => {}
        }
        let end = command
            .arguments
            .iter()
            .position(|&byte| path::is_space(byte));
        let end = end.unwrap_or(command.arguments.len());
        let (name, rest) = command.arguments.split_at(end);
        let response = path::trim(rest);
        if name.is_empty() {
            return refuse(Answer::MechanismMissing);
        }
        if response.iter().any(|&byte| path::is_space(byte)) {
            return refuse(Answer::AuthSyntax(response));
        }
        let Some(mechanism) = Mechanism::named(name) else {
            return refuse(Answer::MechanismUnknown(name));
        };
        let challenge = self.challenge();
        let (exchange, asked) = Exchange::begin(mechanism, challenge);
        match response {
            b"" => self.ask(exchange, &asked),
            _ if mechanism == Mechanism::CramMd5 => match habits.passes_over_early_response {
                true => self.ask(exchange, &asked),
                false => refuse(Answer::ResponseTooEarly),
            },
            b"=" => self.take(exchange, b"", Initial::Yes),
            _ => self.take(exchange, response, Initial::Yes),
        }
    }

    /// Takes the line that answers a challenge.
    pub(super) fn respond<'l>(&mut self, exchange: Exchange, line: &'l [u8]) -> Verdict<'l> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        match line.strip_suffix(b"\r").unwrap_or(line) {
            b"*" => give_up(exchange, Answer::AuthCancelled),
            response => self.take(exchange, response, Initial::No),
        }
    }

    fn take<'l>(
        &mut self,
        exchange: Exchange,
        response: &'l [u8],
        initial: Initial,
    ) -> Verdict<'l> {
        match exchange.respond(response, &self.profile.auth) {
            Turn::Ask(exchange, asked) => self.ask(exchange, &asked),
            Turn::Tried(attempt) if attempt.accepted => Verdict::Tried(attempt, Answer::LoggedIn),
            Turn::Tried(attempt) => Verdict::Tried(attempt, Answer::LoginFailed),
            Turn::NotBase64(attempt) => {
                Verdict::Tried(attempt, Answer::NotBase64(response, initial))
            }
        }
    }

    fn ask<'l>(&mut self, exchange: Exchange, asked: &str) -> Verdict<'l> {
        self.phase = Phase::Login(exchange);
        self.say(&Answer::Challenge(asked));
        Verdict::Accepted
    }

    /// Answers an attempt. One that failed counts as an error, so that there is an end of guessing.
    pub(super) fn answer_attempt(&mut self, attempt: &Attempt, answer: &Answer<'_>) {
        if attempt.accepted {
            self.user = Some(path::text(&attempt.user));
            self.say(answer);
            return;
        }
        let over = self.refuse(answer);
        self.count_error(over);
    }

    /// The connection has ended: the attempt to log in that was under way, if any.
    pub fn broken_off(&mut self) -> Option<Attempt> {
        self.close();
        self.given_up.take()
    }

    /// A challenge that nobody has seen before and nobody can foresee (RFC 2195 §2).
    fn challenge(&mut self) -> String {
        self.challenges += 1;
        let drawn = Md5::new()
            .chain_update(self.client.nonce.to_be_bytes())
            .chain_update(self.challenges.to_be_bytes())
            .finalize();
        let random = drawn
            .iter()
            .take(8)
            .fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
        let seconds = self.client.connected_at.seconds();
        format!("<{random}.{seconds}@{}>", self.profile.hostname)
    }
}

/// An attempt that the client, or we, gave up.
pub(super) fn give_up(exchange: Exchange, answer: Answer<'_>) -> Verdict<'_> {
    match exchange.given_up() {
        Some(attempt) => Verdict::Tried(attempt, answer),
        None => refuse(answer),
    }
}

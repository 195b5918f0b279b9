//! What the session does where one of its limits is met.

use super::{Phase, Session};
use crate::smtp::Outcome;
use crate::smtp::answer::Answer;
use crate::smtp::limits::{Met, Shortage};

impl Session {
    /// Tells what the shell lacks from now on, if anything: no message is begun without it.
    pub fn set_shortage(&mut self, shortage: Option<Shortage>) {
        self.shortage = shortage;
    }

    /// How often limits were met since the shell last cleared this.
    pub fn met(&mut self) -> &mut Met {
        &mut self.met
    }

    /// Bytes that the session holds, about: what it has read and not done, what it has to say, the
    /// envelope so far, and the names it was told.
    pub fn held(&self) -> usize {
        let envelope = self.envelope.as_ref().map_or(0, |envelope| {
            let recipients = envelope.rcpt_to.iter();
            let text: usize = recipients
                .map(|to| to.capacity() + size_of::<String>())
                .sum();
            envelope.mail_from.capacity() + text
        });
        let names = self.helo.capacity() + self.sender.capacity();
        self.line.held() + self.output.capacity() + self.heard.capacity() + envelope + names
    }

    /// Why no message may begin now; and whether the session ends by that.
    pub(super) fn no_message(&mut self) -> Option<(Answer<'static>, bool)> {
        if self.messages >= self.profile.limits.messages {
            self.met.closed += 1;
            return Some((Answer::TooManyMessages, true));
        }
        self.shortage.map(|_| {
            self.met.shortages += 1;
            (Answer::SpaceShort, false)
        })
    }

    /// Why a recipient may not be added to so many.
    pub(super) fn no_recipient(&mut self, there_are: usize) -> Option<Answer<'static>> {
        if there_are >= self.profile.max_recipients {
            self.met.recipients += 1;
            return Some(Answer::TooManyRecipients);
        }
        (self.shortage == Some(Shortage::Memory)).then(|| {
            self.met.shortages += 1;
            Answer::SpaceShort
        })
    }

    /// Counts a refusal, and closes the session where it is one too many.
    pub(super) fn count_error(&mut self, over: bool) {
        self.errors += 1;
        if over {
            self.met.closed += 1;
            self.close();
        } else if self.errors >= self.profile.limits.errors {
            self.hang_up();
        }
    }

    /// Counts what became of a message.
    pub(super) fn count_message(&mut self, outcome: &Outcome) {
        if matches!(outcome, Outcome::Kept { .. }) {
            self.errors = 0;
        }
    }

    /// Closes the session where there were too many commands.
    pub(super) fn bound_commands(&mut self) {
        let is_over = matches!(self.phase, Phase::Closed);
        if !is_over && self.commands >= self.profile.limits.commands {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        self.met.closed += 1;
        self.say(&Answer::TooManyCommands);
        self.close();
    }
}

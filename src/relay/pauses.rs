//! How long a relay host that fails is left alone. No I/O.
//!
//! A host that is away, lost in the middle of a mail or busy (4xx) will be so for the next mail, too:
//! it is left alone for a pause that grows from [`PAUSE_FIRST`] to [`PAUSE_MOST`]. A refusal for good
//! (5xx) is mostly the mail's own (a line too long for exim4, a sender whose domain does not exist),
//! and spam is full of these: the next mail is tried at once. Only [`REFUSALS_MAX`] of them on end say
//! that the host refuses us.

use std::time::Duration;

use super::delivery::Outcome;

/// The first pause after a failure, doubled each time.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause.
pub const PAUSE_MOST: Duration = Duration::from_secs(60);

/// Refusals for good on end that are taken for the host's.
pub const REFUSALS_MAX: u32 = 10;

/// What is remembered of the last deliveries.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    refusals: u32,
}

impl Default for Pauses {
    fn default() -> Pauses {
        Pauses {
            next: PAUSE_FIRST,
            refusals: 0,
        }
    }
}

impl Pauses {
    /// How long the host is left alone after a delivery that ended so.
    pub fn after(&mut self, outcome: &Outcome) -> Option<Duration> {
        match outcome {
            Outcome::Accepted(_) => {
                *self = Pauses::default();
                return None;
            }
            Outcome::Refused { code: 500.., .. } if self.refusals + 1 < REFUSALS_MAX => {
                self.refusals += 1;
                return None;
            }
            _ => self.refusals = 0,
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSE_MOST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Outcome {
        Outcome::Refused {
            code,
            text: String::new(),
        }
    }

    fn seconds(pauses: &mut Pauses, outcome: &Outcome) -> u64 {
        pauses.after(outcome).map_or(0, |pause| pause.as_secs())
    }

    #[test]
    fn a_host_that_fails_is_left_alone_longer_each_time() {
        for failed in [
            Outcome::Unreached(String::new()),
            Outcome::Unknown(String::new()),
            refused(451),
        ] {
            let mut pauses = Pauses::default();
            for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
                assert_eq!(seconds(&mut pauses, &failed), expected, "{failed:?}");
            }
            let accepted = Outcome::Accepted(String::new());
            assert_eq!(pauses.after(&accepted), None);
            assert_eq!(seconds(&mut pauses, &failed), 1, "{failed:?}");
        }
    }

    #[test]
    fn a_mail_refused_for_good_holds_up_no_other_but_ten_on_end_do() {
        let mut pauses = Pauses::default();
        for expected in [1, 2] {
            for _ in 1..REFUSALS_MAX {
                assert_eq!(pauses.after(&refused(552)), None);
            }
            assert_eq!(seconds(&mut pauses, &refused(550)), expected);
        }
        for _ in 1..REFUSALS_MAX {
            assert_eq!(pauses.after(&refused(550)), None);
        }
        assert_eq!(pauses.after(&Outcome::Accepted(String::new())), None);
        assert_eq!(pauses.after(&refused(550)), None);
    }
}

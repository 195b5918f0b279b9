//! What happens again and again is said once, and then rarely.

use std::time::{Duration, Instant};

/// How often it is said again.
const SAY_EVERY: Duration = Duration::from_secs(300);

/// Counts one kind of mishap.
#[derive(Debug, Default)]
pub(super) struct Rarely {
    said: Option<Instant>,
    /// How often it happened.
    pub(super) times: u64,
}

impl Rarely {
    /// It happened again. True when that is to be said.
    pub(super) fn happened(&mut self, now: Instant) -> bool {
        self.times += 1;
        let due = self
            .said
            .is_none_or(|said| now.saturating_duration_since(said) >= SAY_EVERY);
        if due {
            self.said = Some(now);
        }
        due
    }

    /// How often it happened until now, where it did: from now on it is a new mishap.
    pub(super) fn over(&mut self) -> Option<u64> {
        let times = self.times;
        *self = Rarely::default();
        (times > 0).then_some(times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_said_once_in_five_minutes_and_counted() {
        let mut rarely = Rarely::default();
        let start = Instant::now();
        let said = (0..600).filter(|second| {
            let now = start + Duration::from_secs(*second);
            rarely.happened(now)
        });
        assert_eq!(said.collect::<Vec<_>>(), [0, 300]);
        assert_eq!(rarely.over(), Some(600));
        assert_eq!(rarely.over(), None);
        assert!(rarely.happened(start));
    }
}

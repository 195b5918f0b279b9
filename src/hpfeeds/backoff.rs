//! When a broker is tried again.
//!
//! The pause begins with [`FIRST`] and doubles up to [`MOST`]; where only an operator can help it is
//! [`SLOW`] at once. Each is drawn from a quarter less to a quarter more, so that the sensors that
//! lost one broker do not come back as one. No clock and no waiting here.

use std::time::Duration;

use super::Fault;

/// The first pause after a connection was lost.
pub const FIRST: Duration = Duration::from_secs(1);

/// The longest pause while a broker is away.
pub const MOST: Duration = Duration::from_secs(300);

/// The pause where the broker refuses us, or is not trusted.
pub const SLOW: Duration = Duration::from_secs(600);

/// The pauses of one publisher or subscriber.
#[derive(Clone, Debug)]
pub struct Backoff {
    /// Losses in a row.
    losses: u32,
    /// Where the drawing of pauses stands.
    random: u64,
}

impl Backoff {
    /// Draws its pauses from this seed.
    pub fn new(seed: u64) -> Backoff {
        Backoff {
            losses: 0,
            random: seed,
        }
    }

    /// Draws pauses that nobody else has.
    pub fn random() -> Backoff {
        let mut seed = [0; 8];
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        Backoff::new(u64::from_ne_bytes(seed))
    }

    /// How long to wait after this fault.
    pub fn pause(&mut self, fault: &Fault) -> Duration {
        let pause = match fault.needs_operator() {
            true => SLOW,
            false => {
                let pause = FIRST.saturating_mul(1 << self.losses.min(20)).min(MOST);
                self.losses = self.losses.saturating_add(1);
                pause
            }
        };
        // 0 to 1 of half of it, upon three quarters of it.
        pause * 3 / 4 + pause.mul_f64(self.draw() / 2.0)
    }

    /// The broker is there: a publisher says so when its payloads were taken, a subscriber when a
    /// message came or the connection has held for a minute. A broker that greets is not enough: it
    /// may refuse each time.
    pub fn worked(&mut self) {
        self.losses = 0;
    }

    /// A number from 0 to 1 (SplitMix64).
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0);
        f64::from(top) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Fault {
        Fault::Lost("b:1: gone".into())
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new(7);
        let mut expected = FIRST;
        for _ in 0..40 {
            let pause = backoff.pause(&lost());
            assert!(
                (expected * 3 / 4..=expected * 5 / 4).contains(&pause),
                "{pause:?}"
            );
            expected = (expected * 2).min(MOST);
        }
        backoff.worked();
        assert!(backoff.pause(&lost()) <= FIRST * 5 / 4);
    }

    #[test]
    fn who_is_refused_comes_back_seldom_from_the_first_time_on() {
        let mut backoff = Backoff::new(7);
        for _ in 0..3 {
            let pause = backoff.pause(&Fault::Credentials("b:1: no".into()));
            assert!(pause >= SLOW * 3 / 4, "{pause:?}");
        }
        assert!(backoff.pause(&lost()) <= FIRST * 5 / 4);
    }

    #[test]
    fn two_sensors_do_not_come_back_together() {
        let pauses = |mut backoff: Backoff| [0; 5].map(|_| backoff.pause(&lost()));
        assert_ne!(pauses(Backoff::new(1)), pauses(Backoff::new(2)));
        assert_ne!(pauses(Backoff::random()), pauses(Backoff::random()));
        let mut one = Backoff::new(1);
        let drawn = [0; 50].map(|_| one.pause(&Fault::Refused(String::new())));
        assert!(drawn.iter().any(|pause| *pause < SLOW * 7 / 8));
        assert!(drawn.iter().any(|pause| *pause > SLOW * 9 / 8));
    }
}

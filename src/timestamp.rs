//! Moments in time, as SHIVA writes them.
//!
//! One type, [`Timestamp`]: microseconds since the epoch, always UTC. It prints as RFC 3339
//! (envelope line, JSON, logs), as the `datetime` of the old tables (seconds), as a date, and as
//! mails have it. A moment outside the years 0 to 9999 cannot be written in these forms and is
//! clamped to the nearest that can.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

const RFC3339: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
const RFC3339_SECONDS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const DATETIME: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const RFC5322: &[BorrowedFormatItem<'static>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second]"
);
const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");

/// The first second of the year 0 and the last of the year 9999, in seconds since the epoch.
const SECONDS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The system clock's time.
    pub fn now() -> Timestamp {
        Timestamp::from(SystemTime::now())
    }

    /// From whole seconds and the microseconds within the second.
    pub fn from_seconds(seconds: i64, micros: u32) -> Timestamp {
        let seconds = seconds.clamp(*SECONDS.start(), *SECONDS.end());
        Timestamp(seconds * 1_000_000 + i64::from(micros.min(999_999)))
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Microseconds within the second, 0 to 999,999.
    pub fn subsecond_micros(self) -> u32 {
        u32::try_from(self.0.rem_euclid(1_000_000)).unwrap_or(0)
    }

    /// How long after `earlier` this is; zero when it is before (clocks are set back).
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// This moment and `duration` more.
    pub fn after(self, duration: Duration) -> Timestamp {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(micros))
    }

    /// Reads RFC 3339 with `Z` and any number of fraction digits from none to nine.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let (seconds, fraction) = match text.strip_suffix('Z')?.split_once('.') {
            Some((seconds, fraction)) => (seconds, fraction),
            None => (text.strip_suffix('Z')?, ""),
        };
        if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let at = PrimitiveDateTime::parse(&format!("{seconds}Z"), RFC3339_SECONDS).ok()?;
        let micros = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
        Some(Timestamp::from_seconds(
            at.assume_utc().unix_timestamp(),
            micros,
        ))
    }

    /// Reads the `datetime` of the tables, `YYYY-MM-DD HH:MM:SS`.
    pub fn parse_datetime(text: &str) -> Option<Timestamp> {
        let at = PrimitiveDateTime::parse(text, DATETIME).ok()?;
        Some(Timestamp::from_seconds(at.assume_utc().unix_timestamp(), 0))
    }

    /// `YYYY-MM-DDTHH:MM:SSZ`, for JSON reports.
    pub fn rfc3339_seconds(self) -> String {
        self.format(RFC3339_SECONDS)
    }

    /// `YYYY-MM-DD HH:MM:SS`, the `datetime` of the tables.
    pub fn datetime(self) -> String {
        self.format(DATETIME)
    }

    /// `Tue, 14 Nov 2023 22:13:20`, as a mail server says it; the zone is for the caller to add.
    pub fn rfc5322(self) -> String {
        self.format(RFC5322)
    }

    /// As the Date field of a mail (RFC 5322 section 3.3).
    pub fn mail_date(self) -> String {
        format!("{} +0000", self.rfc5322())
    }

    /// `YYYY-MM-DD`.
    pub fn date(self) -> String {
        self.format(DATE)
    }

    /// Days since the epoch: a cheap key for "the same day".
    pub fn day(self) -> i64 {
        self.seconds().div_euclid(86_400)
    }

    fn format(self, form: &[BorrowedFormatItem<'static>]) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .and_then(|at| at.format(form).ok())
            .unwrap_or_default()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        let micros = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        let bounds = (*SECONDS.start() * 1_000_000, *SECONDS.end() * 1_000_000);
        Timestamp(micros.clamp(bounds.0, bounds.1))
    }
}

/// RFC 3339, UTC, six fraction digits.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(RFC3339))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_itself() {
        let at = Timestamp::from_seconds(1_700_000_000, 7);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.000007Z");
        assert_eq!(Timestamp::parse_rfc3339(&at.to_string()), Some(at));
        assert_eq!(at.datetime(), "2023-11-14 22:13:20");
        assert_eq!(at.rfc3339_seconds(), "2023-11-14T22:13:20Z");
        assert_eq!(at.mail_date(), "Tue, 14 Nov 2023 22:13:20 +0000");
        assert_eq!(
            Timestamp::parse_datetime(&at.datetime()),
            Some(Timestamp::from_seconds(1_700_000_000, 0))
        );
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "Z",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "x.5Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text:?}");
        }
    }

    #[test]
    fn clamps_what_no_calendar_holds() {
        assert_eq!(
            Timestamp::from_seconds(i64::MAX, 0).datetime(),
            "9999-12-31 23:59:59"
        );
    }
}

//! Why a connection to a broker ended, or was not to be had.

use std::fmt;

/// What a broker says when it gives up on a subscriber that does not read: no refusal.
const TOO_SLOW: &str = "backpressure";

/// Bytes of a broker's words that are repeated: an error frame may hold a mebibyte.
const WORDS_MAX: usize = 200;

/// What happened; the text says where and, if the broker said anything, in its words. What a broker
/// says is a stranger's: a log or screen needs [`escape`](crate::escape).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The broker refuses the ident or its secret.
    Credentials(String),
    /// The broker refuses what was asked of it, as a channel that is not for this ident.
    Refused(String),
    /// There is no TLS with this broker that can be trusted.
    Untrusted(String),
    /// It is no hpfeeds broker, or breaks the protocol.
    Malformed(String),
    /// The broker was not reached, went away or did not answer.
    Lost(String),
    /// The frame would be longer than a broker takes. Nothing of it was sent, and the connection
    /// goes on.
    TooLong(String),
}

impl Fault {
    /// Whether it lasts until an operator does something: trying again soon would only make noise
    /// in the broker's log.
    pub fn needs_operator(&self) -> bool {
        match self {
            Fault::Credentials(_) | Fault::Refused(_) | Fault::Untrusted(_) => true,
            Fault::Malformed(_) | Fault::Lost(_) | Fault::TooLong(_) => false,
        }
    }

    /// What an error frame means. The protocol has words for it and nothing else; those of the
    /// Python package's broker and of the older one it came from are known. `asked` is whether the
    /// broker was asked for anything yet: where it was not, only the credentials can be wrong.
    pub(super) fn said(broker: &str, words: &str, asked: bool) -> Fault {
        let words = words
            .get(..words.floor_char_boundary(WORDS_MAX))
            .unwrap_or_default();
        let lower = words.to_lowercase();
        if lower.contains(TOO_SLOW) {
            return Fault::Lost(format!("{broker} gave up on us: {words}"));
        }
        if !asked || lower.contains("auth") && lower.contains("fail") {
            return Fault::Credentials(format!("{broker} refuses ident or secret: {words}"));
        }
        Fault::Refused(format!("{broker} refuses: {words}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Credentials(text)
            | Fault::Refused(text)
            | Fault::Untrusted(text)
            | Fault::Malformed(text)
            | Fault::Lost(text)
            | Fault::TooLong(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_known_brokers_are_understood() {
        let credentials = ["Authentication failed for sensor", "authfail."];
        for words in credentials {
            let fault = Fault::said("b:1", words, true);
            assert_eq!(
                fault,
                Fault::Credentials(format!("b:1 refuses ident or secret: {words}"))
            );
        }
        let refusals = [
            "Authkey not allowed to pub here. ident=sensor, chan=shiva.raw",
            "First message was not AUTH",
            "accessfail.",
            "identfail.",
        ];
        for words in refusals {
            let fault = Fault::said("b:1", words, true);
            assert_eq!(fault, Fault::Refused(format!("b:1 refuses: {words}")));
            assert!(matches!(
                Fault::said("b:1", words, false),
                Fault::Credentials(_)
            ));
        }
        let long = Fault::said("b:1", &"é".repeat(1 << 19), true).to_string();
        assert!(long.len() < WORDS_MAX + 20, "{}", long.len());
        let slow = Fault::said("b:1", "Backpressure deadline timer expired", true);
        assert!(!slow.needs_operator());
    }
}

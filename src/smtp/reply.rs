//! The wording of every reply, as a Postfix 3.7 with default settings gives it.
//!
//! Replies are what makes a client believe in the relay, and what a scanner fingerprints, so they
//! stand together in one place. Codes are those of RFC 5321 §4.2, with enhanced codes (RFC 3463)
//! on every reply but the greeting and those to HELO and EHLO (RFC 2034 §4).
//!
//! A reply never carries a stranger's bytes as they came: [`echo`] bounds them and takes control
//! characters out, so that no reply can hold a second line.

use super::Profile;

pub(super) const OK: &str = "250 2.0.0 Ok";
pub(super) const SENDER_OK: &str = "250 2.1.0 Ok";
pub(super) const RECIPIENT_OK: &str = "250 2.1.5 Ok";
pub(super) const START_DATA: &str = "354 End data with <CR><LF>.<CR><LF>";
pub(super) const BYE: &str = "221 2.0.0 Bye";
pub(super) const NOT_SMTP: &str = "221 2.7.0 Error: I can break rules, too. Goodbye.";

pub(super) const STORAGE_FULL: &str = "452 4.3.1 Insufficient system storage";
pub(super) const WRITE_FAILED: &str = "451 4.3.0 Error: queue file write error";
pub(super) const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Error: too many recipients";

pub(super) const BAD_SYNTAX: &str = "500 5.5.2 Error: bad syntax";
pub(super) const LINE_TOO_LONG: &str = "500 5.5.2 Error: line too long";
pub(super) const NOT_RECOGNIZED: &str = "500 5.5.2 Error: command not recognized";
pub(super) const NOT_IMPLEMENTED: &str = "502 5.5.1 Error: command not implemented";
pub(super) const BDAT_NOT_IMPLEMENTED: &str = "521 5.5.1 Error: command not implemented";
pub(super) const NO_AUTH: &str = "503 5.5.1 Error: authentication not enabled";

pub(super) const HELO_SYNTAX: &str = "501 Syntax: HELO hostname";
pub(super) const EHLO_SYNTAX: &str = "501 Syntax: EHLO hostname";
pub(super) const MAIL_SYNTAX: &str = "501 5.5.4 Syntax: MAIL FROM:<address>";
pub(super) const RCPT_SYNTAX: &str = "501 5.5.4 Syntax: RCPT TO:<address>";
pub(super) const DATA_SYNTAX: &str = "501 5.5.4 Syntax: DATA";
pub(super) const RSET_SYNTAX: &str = "501 5.5.4 Syntax: RSET";
pub(super) const VRFY_SYNTAX: &str = "501 5.5.4 Syntax: VRFY address [SMTPUTF8]";
pub(super) const STARTTLS_SYNTAX: &str = "501 5.5.4 Syntax: STARTTLS";
pub(super) const BAD_SENDER: &str = "501 5.1.7 Bad sender address syntax";
pub(super) const BAD_RECIPIENT: &str = "501 5.1.3 Bad recipient address syntax";
pub(super) const BAD_SIZE: &str = "501 5.5.4 Bad message size syntax";

pub(super) const NESTED_MAIL: &str = "503 5.5.1 Error: nested MAIL command";
pub(super) const NEED_MAIL: &str = "503 5.5.1 Error: need MAIL command";
pub(super) const NEED_RCPT: &str = "503 5.5.1 Error: need RCPT command";
pub(super) const NO_RECIPIENTS: &str = "554 5.5.1 Error: no valid recipients";

pub(super) const SIZE_OVERFLOW: &str = "552 5.3.4 Message size exceeds file system imposed limit";
pub(super) const SIZE_OVER_LIMIT: &str = "552 5.3.4 Message size exceeds fixed limit";
pub(super) const MESSAGE_TOO_BIG: &str = "552 5.3.4 Error: message file too big";

/// Most characters of a client's own words that a reply repeats, so that a reply stays within
/// the 512 bytes of RFC 5321 §4.5.3.1.5.
const MAX_ECHO: usize = 100;

/// Appends one reply line.
pub(super) fn put(output: &mut Vec<u8>, reply: &str) {
    output.extend_from_slice(reply.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// The greeting (RFC 5321 §4.2.4).
pub(super) fn greeting(output: &mut Vec<u8>, profile: &Profile) {
    put(output, &format!("220 {} ESMTP Postfix", profile.hostname));
}

/// The answer to HELO (RFC 5321 §4.1.1.1).
pub(super) fn helo(output: &mut Vec<u8>, profile: &Profile) {
    put(output, &format!("250 {}", profile.hostname));
}

/// The answer to EHLO: what is offered, in Postfix's order (RFC 5321 §4.1.1.1; RFC 2920, 1870,
/// 2034, 6152).
pub(super) fn ehlo(output: &mut Vec<u8>, profile: &Profile) {
    put(output, &format!("250-{}", profile.hostname));
    put(output, "250-PIPELINING");
    put(output, &format!("250-SIZE {}", profile.max_message_size));
    put(output, "250-VRFY");
    put(output, "250-ENHANCEDSTATUSCODES");
    put(output, "250 8BITMIME");
}

/// The answer to a message that is stored.
pub(super) fn queued(output: &mut Vec<u8>, queue_id: &str) {
    put(output, &format!("250 2.0.0 Ok: queued as {queue_id}"));
}

/// The answer to VRFY, which confirms nothing (RFC 5321 §3.5.3).
pub(super) fn cannot_verify(output: &mut Vec<u8>, address: &[u8]) {
    put(output, &format!("252 2.0.0 {}", echo(address)));
}

/// The refusal of a MAIL or RCPT parameter (RFC 5321 §4.1.1.11).
pub(super) fn unsupported(parameter: &[u8]) -> String {
    format!("555 5.5.4 Unsupported option: {}", echo(parameter))
}

/// The last words to a client that errs or idles without end.
pub(super) fn too_many_errors(output: &mut Vec<u8>, profile: &Profile) {
    put(
        output,
        &format!("421 4.7.0 {} Error: too many errors", profile.hostname),
    );
}

/// The last words to a client that has said nothing for too long (RFC 5321 §4.5.3.2.7).
pub(super) fn timeout(output: &mut Vec<u8>, profile: &Profile) {
    put(
        output,
        &format!("421 4.4.2 {} Error: timeout exceeded", profile.hostname),
    );
}

/// The last words before the service stops (RFC 5321 §3.8).
pub(super) fn shutdown(output: &mut Vec<u8>, profile: &Profile) {
    put(
        output,
        &format!("421 4.3.2 {} Service shutting down", profile.hostname),
    );
}

/// A client's bytes made fit to stand in a reply.
fn echo(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .take(MAX_ECHO)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_bounded_line() {
        let mut output = Vec::new();
        cannot_verify(&mut output, b"a\r\n250 fake\x00\x1b\xff");
        assert_eq!(output, "252 2.0.0 a??250 fake??\u{fffd}\r\n".as_bytes());

        let longest = unsupported("\u{1f4a9}".repeat(600).as_bytes());
        assert!(longest.len() + 2 <= 512);
    }

    #[test]
    fn ehlo_lists_what_is_offered() {
        let mut output = Vec::new();
        let profile = Profile {
            hostname: "mx.example".into(),
            max_message_size: 1000,
            max_recipients: 1,
        };
        ehlo(&mut output, &profile);
        let expected = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-VRFY\r\n\
                        250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n";
        assert_eq!(output, expected.as_bytes());
    }
}

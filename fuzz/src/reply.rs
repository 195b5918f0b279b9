//! Replies of SMTP (RFC 5321 §4.2.1), read strictly.

/// Most bytes of one reply, all its lines together.
pub const REPLY_MAX: usize = 1024;

/// The codes of the replies in `output`. Panics where one is not whole and well-formed.
pub fn codes(output: &[u8]) -> Vec<u16> {
    let text = str::from_utf8(output).expect("a reply that is not UTF-8");
    let mut codes = Vec::new();
    let mut begun: Option<&str> = None;
    for line in text.split_inclusive("\r\n") {
        let line = line.strip_suffix("\r\n").expect("a reply without its end");
        assert!(!line.contains(char::is_control), "{line:?}");
        let (code, rest) = line.split_at_checked(3).expect("a reply without a code");
        assert!(begun.is_none_or(|begun| begun == code), "two codes: {text}");
        match rest.as_bytes().first() {
            Some(b'-') => begun = Some(code),
            Some(b' ') => {
                begun = None;
                codes.push(code.parse().expect("a code that is no number"));
            }
            _ => panic!("not a reply: {line:?}"),
        }
    }
    assert!(begun.is_none(), "a reply without its last line: {text}");
    assert!(codes.iter().all(|code| (200..600).contains(code)), "{text}");
    codes
}

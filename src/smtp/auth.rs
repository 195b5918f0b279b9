//! AUTH (RFC 4954) with PLAIN (RFC 4616), LOGIN and CRAM-MD5 (RFC 2195): the exchange of one
//! attempt, and who is let in.
//!
//! An [`Exchange`] takes the client's responses one by one and gives back challenges, until it has
//! an [`Attempt`] or cannot go on. It knows nothing of replies, and keeps one name at most, which
//! is shorter than the longest response.
//!
//! Names and passwords are bytes and are compared as they were sent. A response that says less
//! than its mechanism asks for (PLAIN without its NULs, a password that is not in base64, a name and
//! then nothing) is an attempt all the same, and refused: what was tried is what a honeypot wants to
//! know.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use crate::fingerprint;

/// Longest name that is let in, in bytes (RFC 4616 §2). A longer one is refused whatever is
/// configured, so that nothing longer gets into an envelope.
pub const MAX_USER: usize = 255;

/// Padding is wanted, as by Dovecot and Exim; bits that do not count may be anything.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// What LOGIN asks for, in the words that clients wait for.
const ASK_USER: &[u8] = b"Username:";
const ASK_PASSWORD: &[u8] = b"Password:";

/// Which pairs are let in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Accept {
    /// Those of the configuration.
    #[default]
    Listed,
    /// All, as a relay whose passwords have been guessed would.
    Any,
    /// None.
    None,
}

/// A user and the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The user's name.
    pub user: Vec<u8>,
    /// The user's password.
    pub password: Vec<u8>,
}

/// Who may log in, and who must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// Whether mail is taken from clients that are logged in only.
    pub required: bool,
    /// Which pairs are let in.
    pub accept: Accept,
    /// The pairs of [`Accept::Listed`].
    pub pairs: Vec<Pair>,
}

impl Auth {
    /// Whether AUTH is offered.
    pub fn offered(&self) -> bool {
        self.required || self.accept == Accept::Any
    }

    fn lets_in(&self, user: &[u8], secret: &Secret) -> bool {
        let listed = || {
            self.pairs
                .iter()
                .any(|pair| pair.user == user && secret.is_of(&pair.password))
        };
        !user.is_empty()
            && user.len() <= MAX_USER
            && match self.accept {
                Accept::Listed => listed(),
                Accept::Any => true,
                Accept::None => false,
            }
    }
}

/// A way to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Name and password in one response.
    Plain,
    /// Name and password in two responses.
    Login,
    /// A name, and a digest of a challenge under the password.
    CramMd5,
}

impl Mechanism {
    /// All of them, in the order that they are offered in.
    pub const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::Login, Mechanism::CramMd5];

    /// The name that it is offered under.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::CramMd5 => "CRAM-MD5",
        }
    }

    /// The mechanism of this name, in any case.
    pub(super) fn named(name: &[u8]) -> Option<Mechanism> {
        let is_it = |mechanism: &Mechanism| name.eq_ignore_ascii_case(mechanism.name().as_bytes());
        Mechanism::ALL.into_iter().find(is_it)
    }
}

/// What a client proved, or did not prove, its name with; bytes as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Password(Vec<u8>),
    /// The digest of this challenge under a password, in hexadecimal.
    Digest {
        /// What the client was sent.
        challenge: String,
        /// What came back.
        digest: Vec<u8>,
    },
    /// A response that was to be in base64 and is not, as it was sent.
    Raw(Vec<u8>),
    /// Nothing: the client gave up after its name.
    Unsent,
}

impl Secret {
    fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Secret::Password(sent) => sent == password,
            Secret::Digest { challenge, digest } => {
                cram_md5(password, challenge).as_bytes() == digest
            }
            Secret::Raw(_) | Secret::Unsent => false,
        }
    }
}

/// One attempt to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// How it was made.
    pub mechanism: Mechanism,
    /// The user's name as sent.
    pub user: Vec<u8>,
    /// PLAIN's name of whom to act for, as sent; mostly empty.
    pub acting_for: Vec<u8>,
    /// What the name came with.
    pub secret: Secret,
    /// Whether it was let in.
    pub accepted: bool,
}

/// What comes of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The client is to answer this, which is in base64.
    Ask(Exchange, String),
    /// All is said.
    Tried(Attempt),
    /// The response is not base64, and the attempt has failed.
    NotBase64(Attempt),
}

/// An attempt under way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Plain,
    LoginUser,
    LoginPassword { user: Vec<u8> },
    CramMd5 { challenge: String },
}

impl Exchange {
    /// Begins an attempt that gets no initial response: the first thing to ask, in base64.
    /// CRAM-MD5 sends `challenge`.
    pub(super) fn begin(mechanism: Mechanism, challenge: String) -> (Exchange, String) {
        match mechanism {
            Mechanism::Plain => (Exchange::Plain, String::new()),
            Mechanism::Login => (Exchange::LoginUser, BASE64.encode(ASK_USER)),
            Mechanism::CramMd5 => {
                let asked = BASE64.encode(&challenge);
                (Exchange::CramMd5 { challenge }, asked)
            }
        }
    }

    /// Takes a response; `=` as an initial response is the empty one (RFC 4954 §4).
    pub(super) fn respond(self, response: &[u8], auth: &Auth) -> Turn {
        let Ok(response) = BASE64.decode(response) else {
            return Turn::NotBase64(self.failed(Secret::Raw(response.to_vec())));
        };
        let tried = |mechanism, user: &[u8], acting_for: &[u8], secret, complete| {
            Turn::Tried(Attempt {
                mechanism,
                user: user.to_vec(),
                acting_for: acting_for.to_vec(),
                accepted: complete && auth.lets_in(user, &secret),
                secret,
            })
        };
        match self {
            Exchange::Plain => {
                let mut fields = response.splitn(3, |&byte| byte == 0);
                let mut field = || fields.next();
                let (first, second, third) = (field().unwrap_or_default(), field(), field());
                let (acting_for, user, password) = match (second, third) {
                    (Some(second), Some(third)) => (first, second, third),
                    _ => (&[][..], first, second.unwrap_or_default()),
                };
                let secret = Secret::Password(password.to_vec());
                tried(Mechanism::Plain, user, acting_for, secret, third.is_some())
            }
            Exchange::LoginUser => Turn::Ask(
                Exchange::LoginPassword { user: response },
                BASE64.encode(ASK_PASSWORD),
            ),
            Exchange::LoginPassword { user } => tried(
                Mechanism::Login,
                &user,
                &[],
                Secret::Password(response),
                true,
            ),
            Exchange::CramMd5 { challenge } => {
                // The digest has no space, a name may have some.
                let end = memchr::memrchr(b' ', &response).unwrap_or(response.len());
                let (user, digest) = response.split_at(end);
                let digest = digest.strip_prefix(b" ").unwrap_or_default().to_vec();
                let complete = digest.len() == 32 && digest.iter().all(u8::is_ascii_hexdigit);
                let secret = Secret::Digest { challenge, digest };
                tried(Mechanism::CramMd5, user, &[], secret, complete)
            }
        }
    }
}

impl Exchange {
    /// The attempt that it is when the client gives up now; none before it has said a name.
    pub(super) fn given_up(self) -> Option<Attempt> {
        let is_named = matches!(self, Exchange::LoginPassword { .. });
        is_named.then(|| self.failed(Secret::Unsent))
    }

    fn failed(self, secret: Secret) -> Attempt {
        let (mechanism, user) = match self {
            Exchange::Plain => (Mechanism::Plain, Vec::new()),
            Exchange::LoginUser => (Mechanism::Login, Vec::new()),
            Exchange::LoginPassword { user } => (Mechanism::Login, user),
            Exchange::CramMd5 { .. } => (Mechanism::CramMd5, Vec::new()),
        };
        Attempt {
            mechanism,
            user,
            acting_for: Vec::new(),
            secret,
            accepted: false,
        }
    }
}

/// The digest of a challenge under a password (RFC 2195 §2).
fn cram_md5(password: &[u8], challenge: &str) -> String {
    let digest = Hmac::<Md5>::new_from_slice(password)
        .map(|hmac| hmac.chain_update(challenge).finalize().into_bytes());
    // A key of any length is one.
    digest.map_or_else(|_| String::new(), |digest| fingerprint::hex(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIM: &str = "tim";

    fn listed() -> Auth {
        let pair = |user: &str, password: &str| Pair {
            user: user.into(),
            password: password.into(),
        };
        Auth {
            required: true,
            accept: Accept::Listed,
            pairs: vec![pair(TIM, "tanstaaftanstaaf"), pair("Bob", "Se,cret")],
        }
    }

    fn attempt(exchange: Exchange, response: &[u8], auth: &Auth) -> Attempt {
        match exchange.respond(BASE64.encode(response).as_bytes(), auth) {
            Turn::Tried(attempt) => attempt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_example_of_rfc_2195() {
        let challenge = "<1896.697170952@postoffice.reston.mci.net>";
        let (exchange, asked) = Exchange::begin(Mechanism::CramMd5, challenge.into());
        assert_eq!(
            asked,
            "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
        );
        let response = b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
        let Turn::Tried(attempt) = exchange.respond(response, &listed()) else {
            panic!("no attempt");
        };
        assert!(attempt.accepted);
        assert_eq!(attempt.user, TIM.as_bytes());
        let digest = b"b913a602c7eda7a495b4e6e7334d3890".to_vec();
        let challenge = challenge.into();
        assert_eq!(attempt.secret, Secret::Digest { challenge, digest });
    }

    #[test]
    fn names_and_passwords_are_the_bytes_that_were_sent() {
        for (response, user, password, accepted) in [
            (&b"\0Bob\0Se,cret"[..], &b"Bob"[..], &b"Se,cret"[..], true),
            (b"Bob\0Bob\0Se,cret", b"Bob", b"Se,cret", true),
            (b"\0bob\0Se,cret", b"bob", b"Se,cret", false),
            (b"\0Bob\0se,cret", b"Bob", b"se,cret", false),
            (b"\0Bob\0Se,cret\0", b"Bob", b"Se,cret\0", false),
            (b"\0\xff\0\r\n", b"\xff", b"\r\n", false),
            (b"Bob\0Se,cret", b"Bob", b"Se,cret", false),
            (b"Bob", b"Bob", b"", false),
            (b"", b"", b"", false),
        ] {
            let found = attempt(Exchange::Plain, response, &listed());
            assert_eq!(found.user, user, "{response:?}");
            assert_eq!(found.secret, Secret::Password(password.to_vec()));
            assert_eq!(found.accepted, accepted, "{response:?}");
        }
        assert_eq!(
            attempt(Exchange::Plain, b"root\0a\0b", &listed()).acting_for,
            b"root"
        );
    }

    #[test]
    fn any_pair_gets_in_if_it_is_one() {
        let any = Auth {
            accept: Accept::Any,
            ..Auth::default()
        };
        let long = [b'a'; MAX_USER + 1];
        let longest = &long[..MAX_USER];
        for (user, accepted) in [
            (&b"x"[..], true),
            (b"", false),
            (longest, true),
            (&long, false),
        ] {
            let user = user.to_vec();
            let found = attempt(Exchange::LoginPassword { user }, b"", &any);
            assert_eq!(found.accepted, accepted, "{:?}", found.user);
        }
        assert!(!attempt(Exchange::Plain, b"x\0y", &any).accepted);
        let cram = |response: &[u8]| {
            let challenge = "<1@x>".into();
            attempt(Exchange::CramMd5 { challenge }, response, &any).accepted
        };
        assert!(cram(b"a b 0123456789abcdef0123456789abcdef"));
        assert!(!cram(b"a 0123"));
        let none = Auth {
            accept: Accept::None,
            ..listed()
        };
        assert!(!attempt(Exchange::Plain, b"\0Bob\0Se,cret", &none).accepted);
    }

    #[test]
    fn base64_is_read_strictly() {
        for wrong in [
            "!!!", "=", "Ym9", "Ym9i=", "Ym 9i", "Ym9i ", "Y=9i", "Ym9i\0", "\u{e9}",
        ] {
            let turn = Exchange::LoginUser.respond(wrong.as_bytes(), &listed());
            let Turn::NotBase64(attempt) = turn else {
                panic!("{turn:?}");
            };
            assert_eq!(attempt.secret, Secret::Raw(wrong.into()));
            assert!(!attempt.accepted);
        }
        for (right, user) in [("", ""), ("Ym9i", "bob"), ("Yg==", "b"), ("Yh==", "b")] {
            let user = user.into();
            let asked = Turn::Ask(Exchange::LoginPassword { user }, "UGFzc3dvcmQ6".into());
            assert_eq!(
                Exchange::LoginUser.respond(right.as_bytes(), &listed()),
                asked
            );
        }
    }
}

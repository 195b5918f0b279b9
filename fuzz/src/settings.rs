//! What an SMTP session is told before a client says anything, and how it ends.

use std::net::{IpAddr, Ipv4Addr};

use shiva::smtp::{Accept, Auth, Client, Limits, Pair, Personality, Profile, Shortage};
use shiva::timestamp::Timestamp;

use crate::input::Choices;

/// How a session ends that did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client is gone.
    Gone,
    /// The client says nothing for too long.
    Silence,
    /// The service stops.
    Stop,
}

/// What becomes of a message that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is stored.
    Kept,
    /// There is no room for it.
    Full,
    /// It cannot be stored.
    Failed,
    /// The shell loses it, and says nothing to the session.
    Lost,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Settings<'c> {
    /// The session's profile.
    pub profile: Profile,
    /// What the shell lacks.
    pub shortage: Option<Shortage>,
    /// TLS comes before SMTP.
    pub tls_first: bool,
    /// How it ends.
    pub end: End,
    fates: Option<Choices<'c>>,
}

impl<'c> Settings<'c> {
    /// The first four choices; those after them are the messages' fates.
    pub fn chosen(choices: Choices<'c>) -> Settings<'c> {
        let [face, access, end, shortage] = [0, 1, 2, 3].map(|number| choices.at(number));
        let mut profile = profile(face);
        if face & 8 != 0 {
            // Small ones, for a fuzz input is short.
            profile.max_message_size = 64;
            profile.max_recipients = 2;
            profile.limits = Limits {
                line: 64,
                commands: 10,
                errors: 5,
                messages: 2,
            };
        }
        profile.auth = Auth {
            required: access & 1 != 0,
            accept: [Accept::Listed, Accept::Any, Accept::None][usize::from(access >> 1 & 3) % 3],
            pairs: vec![Pair {
                user: b"a".to_vec(),
                password: b"b".to_vec(),
            }],
        };
        profile.tls = access & 8 != 0;
        Settings {
            profile,
            shortage: match shortage & 7 {
                0 => Some(Shortage::Memory),
                1 => Some(Shortage::Disk),
                _ => None,
            },
            tls_first: end & 12 == 12,
            end: [End::Silence, End::Stop, End::Gone, End::Gone][usize::from(end & 3)],
            fates: Some(choices),
        }
    }

    /// The face that is chosen, large limits, no login, every message kept, and in the end the
    /// client goes.
    pub fn plain(choices: Choices<'_>) -> Settings<'static> {
        Settings {
            profile: profile(choices.at(0)),
            shortage: None,
            tls_first: false,
            end: End::Gone,
            fates: None,
        }
    }

    /// What becomes of the message of this number.
    pub fn fate(&self, number: usize) -> Fate {
        match self.fates.map(|choices| choices.at(4 + number) & 7) {
            Some(0) => Fate::Full,
            Some(1) => Fate::Failed,
            Some(2) => Fate::Lost,
            _ => Fate::Kept,
        }
    }
}

fn profile(face: u8) -> Profile {
    let (_, personality) = Personality::NAMED[usize::from(face % 3)];
    Profile {
        hostname: "mx.example".into(),
        max_message_size: 10_240_000,
        max_recipients: 1000,
        personality,
        ..Profile::default()
    }
}

/// Who speaks in every session.
pub fn client() -> Client {
    Client {
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        connected_at: Timestamp::from_seconds(1_700_000_000, 0),
        nonce: 1,
    }
}

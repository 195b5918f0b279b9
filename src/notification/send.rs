//! How notices are sent: through the relay host, as spam is, and by the same rules of patience but
//! shorter ones.

use std::time::Duration;

use super::{Mail, SendMail};
use crate::config;
use crate::relay::delivery::{self, Delivery, Outcome, Timeouts};

/// A notice is small, and a service that stops waits for it.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    reply: Duration::from_secs(10),
    mail: Duration::from_secs(15),
    end: Duration::from_secs(15),
};

/// Sends through this relay host, over a connection for each notice.
pub fn through(relay: &config::Relay) -> SendMail {
    let (host, port, hostname) = (relay.host.clone(), relay.port, relay.hostname.clone());
    Box::new(move |mail: &Mail| {
        let mut delivery = Delivery::with_timeouts(&host, port, &hostname, TIMEOUTS);
        let outcome = delivery.deliver(&delivery::Mail {
            from: &mail.sender,
            to: std::slice::from_ref(&mail.recipient),
            message: mail.message.as_bytes(),
        });
        delivery.hang_up();
        match outcome {
            Outcome::Accepted(_) => Ok(()),
            Outcome::Refused { code, text } => Err(format!("{code} {text}")),
            Outcome::Unreached(text) | Outcome::Unknown(text) => Err(text),
        }
    })
}

//! `[notification]`, typed: who is mailed when something needs a person.

use super::values::Values;

/// The addresses that the first SHIVA's file shipped with: its authors' own.
const SHIPPED_RECIPIENTS: &[&str] = &["sumit.iips@gmail.com", "rahulbinjve@gmail.com"];

/// Who is mailed, and by what name.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Whether anybody is mailed: it is switched on, and there is a recipient.
    pub enabled: bool,
    /// The sender's address; empty when not set.
    pub sender: String,
    /// The operator's address; empty when not set.
    pub recipient: String,
}

impl Notification {
    pub(super) fn read(values: &Values, warnings: &mut Vec<String>) -> Notification {
        let wanted = values.bool("notification", "enabled");
        let mut address = |name: &'static str| {
            let address = values.text("notification", name);
            if address.is_empty() || is_address(address) {
                return address.to_owned();
            }
            warnings.push(format!(
                "[notification] {name} {address:?} is not one plain address (name@domain): it \
                 counts as not set"
            ));
            String::new()
        };
        let (sender, mut recipient) = (address("sender"), address("recipient"));
        let lower = recipient.to_lowercase();
        if SHIPPED_RECIPIENTS.contains(&lower.as_str()) {
            warnings.push(
                "[notification] recipient is the first SHIVA's author: it counts as not set".into(),
            );
            recipient.clear();
        }
        if wanted && recipient.is_empty() {
            warnings
                .push("[notification] enabled : True without a recipient: nobody is mailed".into());
        }
        Notification {
            enabled: wanted && !recipient.is_empty(),
            sender,
            recipient,
        }
    }
}

/// One address without a display name, fit for a header and a command. Without a domain it is a
/// user of the mail server's machine.
fn is_address(text: &str) -> bool {
    let (local, domain) = text.rsplit_once('@').unwrap_or((text, "localhost"));
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"(),:;<>@[\\]".contains(&byte);
    [local, domain]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(is_plain))
}

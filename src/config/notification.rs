//! `[notification]`, typed: who is mailed when something needs a person.

use super::values::Values;
use super::{analyzer_name, system_hostname};

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
    /// The machine, by its own name.
    pub host: String,
    /// The analyzer, by its name in the list of windows.
    pub analyzer: String,
}

impl Notification {
    pub(super) fn read(values: &Values, warnings: &mut Vec<String>) -> Notification {
        let wanted = values.bool("notification", "enabled");
        let mut checked = |name: &'static str, address: fn(&str) -> Option<String>| {
            let text = values.text("notification", name);
            if text.is_empty() {
                return String::new();
            }
            address(text).unwrap_or_else(|| {
                warnings.push(format!(
                    "[notification] {name} {text:?} is not one plain address (name@domain): it \
                     counts as not set"
                ));
                String::new()
            })
        };
        let sender = checked("sender", |text| plain(text.to_owned()));
        let mut recipient = checked("recipient", |text| match text.contains('@') {
            true => plain(text.to_owned()),
            // A user of the mail server's machine.
            false => plain(format!("{text}@localhost")),
        });
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
            host: system_hostname(),
            analyzer: analyzer_name(values),
        }
    }
}

/// One address without a display name, fit for a header and a command.
fn plain(address: String) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"(),:;<>@[\\]".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_plain);
    let (local, domain) = address.split_once('@')?;
    (is_part(local) && is_part(domain)).then_some(address)
}

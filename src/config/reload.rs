//! What a service finds when it is asked to look at its configuration again.

use std::collections::BTreeSet;

use super::Config;
use super::keys::KEYS;
use crate::escape;

/// A key: its section and its name.
pub type Name = (&'static str, &'static str);

impl Config {
    /// Reads the files again and says in the log what a restart of the service would meet; what
    /// is in effect stays.
    pub fn check_again(&self) {
        if let Some(config) = self.read_again() {
            let restart = self.changed(&config);
            say_checked(&BTreeSet::new(), &restart, config != *self);
        }
    }

    /// Reads the files again. What the operator should know goes into the log, and so does what is
    /// wrong with them: then the old configuration stays.
    pub fn read_again(&self) -> Option<Config> {
        match Config::load(Some(&self.file)) {
            Ok(config) => {
                config.log_warnings();
                Some(config)
            }
            Err(error) => {
                say_wrong(&error.to_string());
                None
            }
        }
    }

    /// Takes over the values of these keys, for the next comparison.
    pub fn take(&mut self, other: &Config, names: &BTreeSet<Name>) {
        for name in names {
            self.values.take(&other.values, *name);
        }
        if self.changed(other).is_empty() {
            *self = other.clone();
        }
    }

    /// The keys whose values differ.
    pub fn changed(&self, other: &Config) -> BTreeSet<Name> {
        let names = KEYS.iter().map(|key| (key.section, key.name));
        let value = |config: &Config, (section, name): Name| {
            let text = config.values.text(section, name);
            text.to_owned()
        };
        names
            .filter(|name| value(self, *name) != value(other, *name))
            .collect()
    }
}

/// Says that the configuration was read again and is right: which keys are in effect from now on, and
/// which will be after a restart.
pub fn say_checked(reloaded: &BTreeSet<Name>, restart: &BTreeSet<Name>, changed: bool) {
    let (changed, action) = match (changed, restart.is_empty()) {
        (false, _) => ("no", "none"),
        (true, true) => ("yes", "none"),
        (true, false) => ("yes", "\"restart to use the rest\""),
    };
    log::info!(
        "event=config.checked changed={changed} reloaded={} restart={} action={action}",
        listed(reloaded),
        listed(restart)
    );
}

/// Says that the configuration that was read again is wrong.
pub fn say_wrong(reason: &str) {
    let reason = escape::value(reason);
    log::error!("event=config.wrong reason={reason} action=\"the old one stays\"");
}

fn listed(names: &BTreeSet<Name>) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let names = names
        .iter()
        .map(|(section, name)| format!("{section}.{name}"));
    names.collect::<Vec<_>>().join(",")
}

//! `shiva-dbcreate`: makes both stores.

use crate::analyzer::stores;
use crate::config::Config;
use crate::exit::Failure;

/// Makes what is missing and says what it did. Run twice, it changes nothing.
pub fn run(config: &Config) -> Result<(), Failure> {
    let stores = stores(config);
    let parts = stores.create()?;
    // What was there must be of this version, too.
    stores.windows()?;
    stores.main()?;
    let mut text = String::new();
    for part in parts {
        let what = if part.now {
            "made"
        } else {
            "there already, unchanged"
        };
        text.push_str(&format!("{}: {what}\n", part.what));
    }
    super::print(text.as_bytes())
}

//! `shiva-dbcreate`: makes both stores, and upgrades old ones.

use crate::analyzer::stores;
use crate::config::Config;
use crate::exit::Failure;

/// Makes what is missing, upgrades what is old, and says what it did. Run twice, it changes
/// nothing. With `dry_run` it prints the SQL that it would execute, and changes nothing at all.
pub fn run(config: &Config, dry_run: bool) -> Result<(), Failure> {
    let stores = stores(config);
    let mut text = String::new();
    if dry_run {
        for statement in stores.plan()? {
            let end = if statement.starts_with("--") && !statement.contains('\n') {
                ""
            } else {
                ";"
            };
            text.push_str(&format!("{statement}{end}\n"));
        }
        return super::print(text.as_bytes());
    }
    for part in stores.create()? {
        text.push_str(&format!("{}: {}\n", part.what, part.done));
    }
    super::print(text.as_bytes())?;
    // What was there must be of this version, too.
    stores.windows()?;
    stores.main()?;
    Ok(())
}

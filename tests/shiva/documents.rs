//! The code, the shipped configuration and the man pages say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use shiva::config::Config;
use shiva::config::keys::{KEYS, Key};

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn page(name: &str) -> String {
    fs::read_to_string(root("man").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The default that the shipped file has: embedded databases, where an old file means MySQL.
fn shipped_default(key: &Key) -> &'static str {
    match (key.section, key.name) {
        ("database", "engine") => "sqlite",
        _ => key.default,
    }
}

#[test]
fn the_shipped_file_names_every_key_with_its_default() {
    let text = fs::read_to_string(root("etc/shiva.conf")).unwrap();
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        for key in KEYS.iter().filter(|key| key.section == section) {
            let expected = format!("{} : {}", key.name, shipped_default(key));
            if line.trim_end() == expected.trim_end() {
                assert!(
                    found.insert((key.section, key.name)),
                    "{line} stands there twice"
                );
            }
        }
    }
    let missing: Vec<_> = KEYS
        .iter()
        .map(|key| (key.section, key.name))
        .filter(|key| !found.contains(key))
        .collect();
    assert!(missing.is_empty(), "not in etc/shiva.conf: {missing:?}");
}

#[test]
fn the_shipped_file_is_right_and_relays_nothing() {
    let config = Config::load(Some(&root("etc/shiva.conf"))).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert_eq!(config.receiver.listenhost, "localhost");
}

#[test]
fn the_man_page_names_every_key_with_its_default() {
    let text = page("shiva.conf.5");
    for key in KEYS {
        let items = text.split("\n.It Ic ").skip(1);
        let default = if key.default.is_empty() {
            "none"
        } else {
            key.default
        };
        let right = items
            .filter(|item| item.split_whitespace().next() == Some(key.name))
            .any(|item| {
                item.lines()
                    .any(|line| line == format!("Default: {default}"))
            });
        assert!(
            right,
            "shiva.conf(5) lacks [{}] {} with Default: {default}",
            key.section, key.name
        );
    }
}

#[test]
fn the_man_pages_name_every_option_and_command() {
    for command in shiva::cli::commands() {
        let name = command.get_name().to_owned();
        let section = if name == "shiva" { 1 } else { 8 };
        let text = page(&format!("{name}.{section}"));
        let options = |command: &clap::Command| -> Vec<String> {
            let longs = command.get_arguments().filter_map(clap::Arg::get_long);
            longs.map(ToOwned::to_owned).collect()
        };
        let mut wanted = options(&command);
        for sub in command.get_subcommands() {
            assert!(
                text.contains(&format!("Cm {}", sub.get_name())),
                "{name}: {}",
                sub.get_name()
            );
            wanted.extend(options(sub));
        }
        wanted.extend(["help".to_owned(), "version".to_owned()]);
        for option in wanted {
            assert!(
                text.contains(&format!("Fl -{option}")),
                "{name}({section}) lacks --{option}"
            );
        }
    }
}

#[test]
fn the_man_pages_name_every_event_that_is_logged() {
    let pages = ["shiva-receiver.8", "shiva-analyzer.8"].map(page).concat();
    let mut events = BTreeSet::new();
    for file in crate::rig::files_under(&root("src")) {
        let text = fs::read_to_string(file).unwrap();
        for event in text.split("event=").skip(1) {
            let end = event.find(|c: char| !(c.is_ascii_lowercase() || matches!(c, '.' | '_')));
            events.extend(event.get(..end.unwrap_or(0)).map(ToOwned::to_owned));
        }
    }
    assert!(events.len() > 10, "{events:?}");
    for event in events
        .iter()
        .filter(|event| event.contains('.') && !event.ends_with('.'))
    {
        assert!(
            pages.contains(event.as_str()),
            "no man page explains event={event}"
        );
    }
}

//! The code, the shipped configuration and the man pages say the same.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use shiva::config::Config;
use shiva::config::keys::{KEYS, Key};

use crate::completions::lines;

/// A file of the project.
pub fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn page(name: &str) -> String {
    fs::read_to_string(root("man").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The default that the shipped file has: embedded databases, where an old file means MySQL, and
/// the session log and the certificate where the package has them.
fn shipped_default(key: &Key) -> &'static str {
    match (key.section, key.name) {
        ("database", "engine") => "sqlite",
        ("receiver", "tlscert") => "/etc/shiva/receiver.crt",
        ("receiver", "tlskey") => "/etc/shiva/receiver.key",
        ("receiver", "sessionlog") => "/var/log/shiva/sessions.json",
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
    assert_eq!(config.receiver.listenhost, ["localhost"]);
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

/// The keys that the first SHIVA had, by section.
const FIRST_SHIVAS: &[(&str, &str)] = &[
    ("global", "queuepath"),
    (
        "receiver",
        "listenhost listenport sensorname authenabled smtpuser smtppasswd",
    ),
    (
        "analyzer",
        "relay globalcounter individualcounter relayhost relayport undeliverable_path \
         schedulertime rawspampath attachpath inlinepath",
    ),
    ("database", "localdb host user password"),
    (
        "hpfeeds",
        "enabled host port ident secret hpfeedspam hpfeedattach",
    ),
    ("notification", "enabled sender recipient"),
];

#[test]
fn the_man_page_says_which_keys_are_new() {
    let text = page("shiva.conf.5");
    let (_, history) = text.split_once(".Sh HISTORY").unwrap();
    let mut said = BTreeSet::new();
    for item in history.split("\n.It \\&[").skip(1) {
        let (section, names) = item.split_once("]\n").unwrap();
        for line in names.lines().filter_map(|line| line.strip_prefix(".Ic ")) {
            let names = line.split_whitespace().filter(|word| *word != ",");
            said.extend(names.map(|name| (section, name)));
        }
    }
    let old = |key: &(&str, &str)| {
        let mut sections = FIRST_SHIVAS.iter();
        sections.any(|(section, names)| *section == key.0 && names.split(' ').any(|n| n == key.1))
    };
    let keys: BTreeSet<_> = KEYS.iter().map(|key| (key.section, key.name)).collect();
    assert_eq!(said, keys.iter().copied().filter(|key| !old(key)).collect());
    let olds = FIRST_SHIVAS.iter().flat_map(|(section, names)| {
        let names = names.split(' ');
        names.map(move |name| (*section, name))
    });
    for key in olds {
        assert!(keys.contains(&key), "{key:?} is no key any more");
    }
}

/// The display of a man page that follows the line that begins so.
fn example(text: &str, begins: &str) -> String {
    let lines = text.lines().skip_while(|line| !line.starts_with(begins));
    let lines = lines.skip_while(|line| !line.starts_with(".Bd")).skip(1);
    let lines = lines.take_while(|line| *line != ".Ed");
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_example_of_all_data_below_one_directory_leaves_nothing_elsewhere() {
    let text = example(&page("shiva.conf.5"), "All data below one directory");
    let config = Config::from_text(Path::new("example.conf"), &text).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let config = format!("{config:?}");
    assert!(config.contains("/srv/spam/queue"), "{config}");
    let elsewhere: Vec<_> = config
        .split('"')
        .filter(|value| value.starts_with("/var/lib/shiva"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn the_man_pages_name_every_option_and_command() {
    for line in lines() {
        let section = if line.program == "shiva" { 1 } else { 8 };
        let text = page(&format!("{}.{section}", line.program));
        for command in &line.commands {
            assert!(text.contains(&format!("Cm {command}")), "{line:?}");
        }
        for option in &line.options {
            let option = option.trim_start_matches('-');
            assert!(
                text.contains(&format!("Fl -{option}")),
                "{}({section}) lacks --{option}",
                line.program
            );
        }
    }
}

#[test]
fn the_man_page_names_every_key_of_an_envelope() {
    let at = shiva::timestamp::Timestamp::from_seconds(0, 0);
    let envelope = shiva::envelope::Envelope {
        session: String::new(),
        received_at: at,
        sensor: String::new(),
        src_ip: Ipv4Addr::LOCALHOST.into(),
        src_port: 0,
        dst_ip: Ipv4Addr::LOCALHOST.into(),
        dst_port: 0,
        helo: String::new(),
        mail_from: String::new(),
        rcpt_to: Vec::new(),
        user: None,
        tls: None,
        imported: true,
    };
    let written = serde_json::to_value(&envelope).unwrap();
    let text = page("shiva-queue.5");
    for key in written.as_object().unwrap().keys() {
        assert!(text.contains(&format!("\n.It Cm {key}\n")), "{key}");
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

#[test]
fn every_page_is_there_and_refers_to_the_others() {
    let names = fs::read_dir(root("man")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<_> = names
        .map(|name| {
            let (title, section) = name.rsplit_once('.').unwrap();
            (title.to_owned(), section.to_owned())
        })
        .collect();
    for program in shiva::cli::commands() {
        let name = program.get_name().to_owned();
        let section = if name == "shiva" { "1" } else { "8" };
        assert!(
            pages.contains(&(name.clone(), section.to_owned())),
            "{name}"
        );
    }
    let readme = fs::read_to_string(root("README.md")).unwrap();
    for (title, section) in &pages {
        let text = page(&format!("{title}.{section}"));
        let referred: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(".Xr shiva"))
            .map(|line| {
                let mut words = line.split(' ');
                let title = format!("shiva{}", words.next().unwrap());
                (title, words.next().unwrap_or_default().to_owned())
            })
            .collect();
        let strange: Vec<_> = referred.difference(&pages).collect();
        assert!(strange.is_empty(), "{title}({section}): {strange:?}");
        let overview = ("shiva".to_owned(), "7".to_owned());
        if (title, section) == (&overview.0, &overview.1) {
            let mut others = pages.clone();
            others.remove(&overview);
            assert_eq!(referred, others, "shiva(7)");
        } else {
            assert!(
                referred.contains(&overview),
                "{title}({section}) lacks shiva(7)"
            );
        }
        assert!(
            readme.contains(&format!("man/{title}.{section}")),
            "README.md lacks {title}({section})"
        );
    }
}

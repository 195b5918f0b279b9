//! The completions of bash and zsh offer what the command lines take.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::documents::root;

/// Where a word may be typed: after a program, or after one of its commands.
#[derive(Debug)]
pub struct Line {
    pub program: String,
    pub command: Option<String>,
    /// Its long options, with their dashes.
    pub options: BTreeSet<String>,
    /// The commands that may follow, or the words that an operand may be.
    pub commands: BTreeSet<String>,
}

/// Every program, and every command of one.
pub fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for mut program in shiva::cli::commands() {
        // Adds what clap adds: help, version, and global options to the commands.
        program.build();
        lines.push(line(&program, &program));
        lines.extend(program.get_subcommands().map(|sub| line(&program, sub)));
    }
    lines
}

fn line(program: &clap::Command, command: &clap::Command) -> Line {
    let name = program.get_name();
    let options = command.get_arguments().filter_map(clap::Arg::get_long);
    let commands = command.get_subcommands().map(clap::Command::get_name);
    let words = command.get_positionals().flat_map(|operand| {
        let words = operand.get_possible_values();
        words.into_iter().map(|word| word.get_name().to_owned())
    });
    let own = command.get_name();
    let help = own == "help";
    Line {
        program: name.to_owned(),
        command: (own != name).then(|| own.to_owned()),
        // `help` takes a command and no options worth offering.
        options: options
            .filter(|_| !help)
            .map(|option| format!("--{option}"))
            .collect(),
        commands: commands
            .filter(|command| !(help && *command == "help"))
            .map(ToOwned::to_owned)
            .chain(words)
            .collect(),
    }
}

/// What bash offers for the last word of a command line; `FILES` stands for names of files.
/// The two functions that the completion has from the package bash-completion are played.
fn offered_by_bash(words: &[&str]) -> BTreeSet<String> {
    let script = r#"
        _init_completion() {
            words=("${COMP_WORDS[@]}") cword=$COMP_CWORD split=false
            cur=${words[cword]} prev=${words[cword - 1]}
        }
        _filedir() { COMPREPLY+=(FILES); }
        . "$0" || exit
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        complete -p -- "$1" >/dev/null || exit
        _shiva "$1"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let output = Command::new("bash")
        .args(["-euc", script])
        .arg(root("completions/shiva.bash"))
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn bash_offers_every_option_and_command_and_no_other() {
    for line in lines() {
        let mut words = vec![line.program.as_str()];
        words.extend(line.command.as_deref());
        let offered = |last| offered_by_bash(&[&words[..], &[last]].concat());
        assert_eq!(offered("-"), line.options, "after {words:?}");
        let operands = match line.command.as_deref() {
            Some("import" | "parse") => BTreeSet::from(["FILES".to_owned()]),
            _ => line.commands.clone(),
        };
        assert_eq!(offered(""), operands, "after {words:?}");
    }
    for words in [
        &["shiva", "--config", "x", "report", "--config", ""][..],
        &["shiva-receiver", "--config", ""],
    ] {
        assert!(offered_by_bash(words).contains("FILES"), "{words:?}");
    }
    // The file of --config is not the command.
    assert!(offered_by_bash(&["shiva", "--config", "show", "report", "-"]).contains("--json"));
}

/// The part of the zsh completion from a line that begins so to one that ends the part.
fn zsh_part<'a>(text: &'a str, begins: &str, ends: &str) -> &'a str {
    let mut rest = text.lines().scan(0, |at, line| {
        let here = *at;
        *at += line.len() + 1;
        Some((here, line.trim()))
    });
    let (start, _) = rest
        .find(|(_, line)| {
            let labels = line.strip_suffix(')').unwrap_or(line);
            labels.split(" | ").any(|label| label == begins)
        })
        .unwrap_or_else(|| panic!("completions/_shiva has no {begins:?}"));
    let (end, _) = rest.find(|(_, line)| *line == ends).unwrap();
    &text[start..end]
}

/// The long options that a part of the zsh completion names, itself or by its lists.
fn zsh_options(text: &str, part: &str) -> BTreeSet<String> {
    let mut options = BTreeSet::new();
    for word in part.split(|c: char| !(c.is_ascii_lowercase() || matches!(c, '-' | '$'))) {
        match word {
            "$common" => options.extend(zsh_options(text, zsh_part(text, "common=(", ")"))),
            "$top" => options.extend(zsh_options(text, zsh_part(text, "top=(", ")"))),
            word if word.starts_with("--") => options.extend([word.to_owned()]),
            _ => {}
        }
    }
    options
}

#[test]
fn zsh_offers_every_option_and_command_and_no_other() {
    let text = fs::read_to_string(root("completions/_shiva")).unwrap();
    let programs: Vec<_> = lines()
        .iter()
        .filter(|line| line.command.is_none())
        .map(|line| line.program.clone())
        .collect();
    let mut served: Vec<_> = text.lines().next().unwrap().split(' ').collect();
    assert_eq!(served.remove(0), "#compdef");
    served.sort_unstable();
    assert_eq!(served, {
        let mut programs = programs.clone();
        programs.sort_unstable();
        programs
    });
    let mut arms = 0;
    for line in lines() {
        let part = match (line.program.as_str(), line.command.as_deref()) {
            ("shiva", None) => "$top",
            (program, None) => zsh_part(&text, program, ";;"),
            (_, Some(command)) => zsh_part(&text, command, ";;"),
        };
        assert_eq!(zsh_options(&text, part), line.options, "{line:?}");
        if line.program == "shiva" && line.command.is_none() {
            let part = zsh_part(&text, "commands=(", ")");
            let described = part.lines().filter_map(|item| item.trim().split_once(':'));
            let offered: BTreeSet<_> = described
                .map(|(name, _)| name.trim_start_matches('\'').to_owned())
                .collect();
            assert_eq!(offered, line.commands);
        } else {
            arms += 1;
        }
    }
    // Two labels are the states of `_arguments`.
    let labels = text.lines().filter(|line| {
        let line = line.trim();
        line.ends_with(')') && line.trim_end_matches(')').split(" | ").all(is_word)
    });
    let labels: usize = labels.map(|line| line.split(" | ").count()).sum();
    assert_eq!(labels, arms + 2, "completions/_shiva serves what is not");
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

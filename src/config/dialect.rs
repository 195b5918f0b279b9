//! The dialect of Python 2's ConfigParser, which every old `shiva.conf` is written in.
//!
//! Pure: text in, entries with line numbers out. `key : value` or `key = value`, keys without
//! regard to case, sections with it; `#` and `;` comments at line start, `;` also after white
//! space; lines that begin with white space continue the value before; `[DEFAULT]` serves every
//! section; sections of one name merge and later keys win; `%(name)s` is replaced from the
//! section, then from `[DEFAULT]`. A line that is none of these is an error with its number.
//!
//! Why not a crate: what is special here (`;` after white space, line numbers for messages,
//! `%(name)s`) is most of a reader, so this is the whole reader.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// How deep `%(name)s` may lead to another `%(name)s`, as in ConfigParser.
const MAX_INTERPOLATION_DEPTH: usize = 10;

/// How many bytes it may make of a value: names that lead to several names grow without measure.
const MAX_INTERPOLATED: usize = 64 * 1024;

/// One key as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value, comments taken off, not yet interpolated.
    pub value: String,
    /// The file it stands in.
    pub file: PathBuf,
    /// The line its key stands in, from 1.
    pub line: usize,
}

/// All entries of the files read so far: section → key → the last entry of that name.
#[derive(Debug, Default)]
pub struct Document {
    sections: HashMap<String, HashMap<String, Entry>>,
}

/// The section that serves all others.
const DEFAULT: &str = "DEFAULT";

impl Document {
    /// Reads one file's text over what was read before; later keys win.
    pub fn read(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let mut section: Option<String> = None;
        let mut key: Option<String> = None;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            if is_comment(line) {
                continue;
            }
            if line.starts_with(char::is_whitespace)
                && let (Some(section), Some(key)) = (&section, &key)
            {
                self.continue_value(section, key, line.trim());
            } else if let Some(name) = section_header(line) {
                self.sections.entry(name.to_owned()).or_default();
                section = Some(name.to_owned());
                key = None;
            } else if let (Some(section), Some((name, value))) = (&section, option(line)) {
                let entry = Entry {
                    value,
                    file: file.to_owned(),
                    line: number,
                };
                let keys = self.sections.entry(section.clone()).or_default();
                keys.insert(name.clone(), entry);
                key = Some(name);
            } else {
                let what = if section.is_none() {
                    "stands before the first [section]"
                } else {
                    "is neither `key : value`, nor a [section], nor a comment"
                };
                return Err(ConfigError::at(file, number, format!("this line {what}")));
            }
        }
        Ok(())
    }

    fn continue_value(&mut self, section: &str, key: &str, line: &str) {
        let entry = self.sections.get_mut(section).and_then(|s| s.get_mut(key));
        if let Some(entry) = entry {
            entry.value.push('\n');
            entry.value.push_str(line);
        }
    }

    /// The entry of a key, from its section or else from `[DEFAULT]`, interpolated.
    pub fn get(&self, section: &str, key: &str) -> Result<Option<Entry>, ConfigError> {
        let Some(entry) = self.raw(section, key) else {
            return Ok(None);
        };
        let mut entry = entry.clone();
        for _ in 0..MAX_INTERPOLATION_DEPTH {
            if !entry.value.contains("%(") {
                return Ok(Some(entry));
            }
            entry.value = self.interpolate(section, key, &entry)?;
        }
        Err(ConfigError::at(
            &entry.file,
            entry.line,
            format!("[{section}] {key}: %(name)s leads to itself"),
        ))
    }

    fn raw(&self, section: &str, key: &str) -> Option<&Entry> {
        let within = |name| self.sections.get(name).and_then(|keys| keys.get(key));
        within(section).or_else(|| within(DEFAULT))
    }

    fn interpolate(&self, section: &str, key: &str, entry: &Entry) -> Result<String, ConfigError> {
        let wrong = |what: String| {
            let what = format!("[{section}] {key} : {:?}: {what}", entry.value);
            ConfigError::at(&entry.file, entry.line, what)
        };
        let mut out = String::new();
        let mut rest = entry.value.as_str();
        while let Some(start) = rest.find('%') {
            out.push_str(&rest[..start]);
            let tail = &rest[start..];
            if let Some(after) = tail.strip_prefix("%%") {
                out.push('%');
                rest = after;
            } else if let Some((name, after)) =
                tail.strip_prefix("%(").and_then(|t| t.split_once(")s"))
            {
                let value = self.raw(section, &name.to_lowercase()).ok_or_else(|| {
                    let what = format!("%({name})s");
                    wrong(format!("there is no key {name:?} to put for {what:?}"))
                })?;
                out.push_str(&value.value);
                rest = after;
                if out.len() > MAX_INTERPOLATED {
                    let what = format!(
                        "[{section}] {key}: %(name)s makes more than {MAX_INTERPOLATED} bytes of it"
                    );
                    return Err(ConfigError::at(&entry.file, entry.line, what));
                }
            } else {
                return Err(wrong(format!("it must go on with %(name)s at {tail:?}")));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The names of the sections, in no order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        let names = self.sections.keys().map(String::as_str);
        names.filter(|name| *name != DEFAULT)
    }

    /// Every key that stands in a file, with its section, in no order. `[DEFAULT]` is left out:
    /// its keys serve any section.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str, &Entry)> {
        self.sections
            .iter()
            .filter(|(section, _)| *section != DEFAULT)
            .flat_map(|(section, keys)| {
                keys.iter()
                    .map(move |(key, entry)| (section.as_str(), key.as_str(), entry))
            })
    }
}

fn is_comment(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    // `rem` at line start is a comment too, as in Python 2.
    let is_rem = first.eq_ignore_ascii_case("rem") && line.starts_with(['r', 'R']);
    first.is_empty() || line.starts_with(['#', ';']) || is_rem
}

fn section_header(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    (!name.is_empty()).then_some(name)
}

/// Splits `key : value` at the first `:` or `=`, and takes a `;` comment off the value.
fn option(line: &str) -> Option<(String, String)> {
    let at = line.find([':', '='])?;
    let key = line[..at].trim();
    if key.is_empty() {
        return None;
    }
    let mut value = &line[at + 1..];
    let comment = value
        .char_indices()
        .find(|(i, c)| *c == ';' && value[..*i].ends_with(char::is_whitespace));
    if let Some((start, _)) = comment {
        value = &value[..start];
    }
    let value = value.trim();
    let value = if value == "\"\"" { "" } else { value };
    Some((key.to_lowercase(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Document, ConfigError> {
        let mut document = Document::default();
        document.read(Path::new("x.conf"), text)?;
        Ok(document)
    }

    fn value(text: &str, section: &str, key: &str) -> Option<String> {
        let entry = read(text).unwrap().get(section, key).unwrap();
        entry.map(|entry| entry.value)
    }

    #[test]
    fn reads_what_configparser_reads() {
        let text = "\u{feff}# c\n; c\nREM c\n\n[a]\nKey : one ; comment\nurl = http://x/;y\nempty = \"\"\n\
                    list : a,\n  b,\n\tc\n[b]\nk=v\n[a]\nkey = two\npair : a = b\n";
        assert_eq!(value(text, "a", "key").as_deref(), Some("two"));
        assert_eq!(value(text, "a", "url").as_deref(), Some("http://x/;y"));
        assert_eq!(value(text, "a", "empty").as_deref(), Some(""));
        assert_eq!(value(text, "a", "list").as_deref(), Some("a,\nb,\nc"));
        assert_eq!(value(text, "a", "pair").as_deref(), Some("a = b"));
        assert_eq!(value(text, "b", "k").as_deref(), Some("v"));
        assert_eq!(value(text, "A", "key"), None, "sections keep their case");
    }

    #[test]
    fn default_section_and_interpolation() {
        let text = "[DEFAULT]\nroot = /srv\n[a]\nhome = %(root)s/a\nqueue = %(home)s/q\n\
                    rate = 50%\nloop = %(loop)s\nlost = %(nowhere)s\n";
        assert_eq!(value(text, "a", "queue").as_deref(), Some("/srv/a/q"));
        assert_eq!(value(text, "other", "root").as_deref(), Some("/srv"));
        assert_eq!(value(text, "a", "rate").as_deref(), Some("50%"));
        let document = read(text).unwrap();
        assert!(document.get("a", "loop").is_err());
        let error = document.get("a", "lost").unwrap_err().to_string();
        assert!(
            error.contains("x.conf:8") && error.contains("nowhere"),
            "{error}"
        );
    }

    #[test]
    fn names_that_lead_to_many_names_come_to_an_end() {
        let text = format!("[a]\nk = {}\n", "%(k)s ".repeat(60));
        let error = read(&text).unwrap().get("a", "k").unwrap_err().to_string();
        assert!(error.contains("more than 65536 bytes"), "{error}");
    }

    #[test]
    fn a_wrong_line_is_named() {
        let error = read("[a]\nk = v\nnonsense\n").unwrap_err().to_string();
        assert!(error.starts_with("x.conf:3: "), "{error}");
        let error = read("k = v\n").unwrap_err().to_string();
        assert!(error.contains("before the first [section]"), "{error}");
        let document = read("[a]\nk = %(no\n where)s\n").unwrap();
        let error = document.get("a", "k").unwrap_err().to_string();
        assert!(
            error.starts_with("x.conf:2: ") && !error.contains('\n'),
            "{error}"
        );
    }
}

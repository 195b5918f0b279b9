//! The links of a message, and those written out in text.
//!
//! [`Collector`] gathers distinct links in order, what `page` finds in the HTML
//! before what stands in the text. In text, an address begins with a scheme and
//! `://` or with `www.`, and ends before the punctuation that closes a sentence or a
//! bracket (linkify's rules). Bounds: [`MAX_LINKS`], [`MAX_LINK_BYTES`]. Nothing
//! fails; time is linear, for linkify is asked only where its search is: hosts
//! without scheme are found here, in a window of bounded size.

use std::collections::HashSet;

use linkify::{LinkFinder, LinkKind};
use memchr::{memchr_iter, memmem};

use super::url::Base;

/// Most links kept of a message; later ones are dropped.
pub const MAX_LINKS: usize = 10_000;
/// Longest link kept, in bytes; a longer one is cut there, between characters. It
/// can no longer be followed, but host and path tell where it led.
pub const MAX_LINK_BYTES: usize = 8_192;
/// Longest address without a scheme that is looked for in text, in bytes.
const MAX_BARE_BYTES: usize = 1_024;

/// Gathers distinct links in order of first appearance.
#[derive(Debug, Default)]
pub(super) struct Collector {
    links: Vec<String>,
    known: HashSet<String>,
}

impl Collector {
    /// The links found.
    pub fn into_links(self) -> Vec<String> {
        self.links
    }

    pub fn is_full(&self) -> bool {
        self.links.len() >= MAX_LINKS
    }

    pub fn add(&mut self, link: Option<String>) {
        if let Some(link) = link
            && !self.is_full()
            && !self.known.contains(&link)
        {
            self.known.insert(link.clone());
            self.links.push(link);
        }
    }

    /// Adds addresses written out in text: with a scheme, or beginning with `www.`.
    pub fn text(&mut self, text: &str) {
        let base = Base::default();
        let mut bare = bare_hosts(text).peekable();
        let mut done = 0;
        if memmem::find(text.as_bytes(), b"://").is_some() {
            for found in url_finder().links(text) {
                while let Some(start) = bare.next_if(|&start| start < found.start()) {
                    done = self.bare(text, start, done);
                }
                if found.start() >= done {
                    self.add(base.link(unglued(found.as_str())));
                    done = found.end();
                }
                if self.is_full() {
                    return;
                }
            }
        }
        for start in bare {
            done = self.bare(text, start, done);
        }
    }

    /// Adds the address without a scheme that begins at `start`, unless that lies
    /// within one already taken; gives the end of the last one taken.
    fn bare(&mut self, text: &str, start: usize, done: usize) -> usize {
        if start < done || self.is_full() {
            return done;
        }
        let spelled = format!("http://{}", bare_window(text, start));
        match url_finder().links(&spelled).next() {
            Some(found) if found.start() == 0 => {
                self.add(Base::default().link(found.as_str()));
                start + found.end().saturating_sub("http://".len())
            }
            _ => done,
        }
    }
}

/// Cuts off a word that a sender glued to the scheme: `clickhttps://` is no scheme.
fn unglued(found: &str) -> &str {
    let scheme = found.find("://").and_then(|end| found.get(..end));
    ["https", "http"]
        .into_iter()
        .find_map(|web| {
            let start = scheme?.len().checked_sub(web.len())?;
            let tail = scheme?.get(start..)?;
            tail.eq_ignore_ascii_case(web).then(|| found.get(start..))?
        })
        .unwrap_or(found)
}

fn url_finder() -> LinkFinder {
    let mut finder = LinkFinder::new();
    finder.kinds(&[LinkKind::Url]);
    finder
}

/// Where a host that begins with `www.` stands at the start of a word.
fn bare_hosts(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    memchr_iter(b'.', bytes).filter_map(move |dot| {
        let start = dot.checked_sub(3)?;
        let www = bytes.get(start..dot)?.eq_ignore_ascii_case(b"www");
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        let in_word = before.is_some_and(|&byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'@' | b'=')
        });
        let host = bytes.get(dot + 1).is_some_and(u8::is_ascii_alphanumeric);
        (www && !in_word && host).then_some(start)
    })
}

/// What may belong to the address without a scheme at `start`: its host and port,
/// and what follows when that begins as path, query or fragment do.
fn bare_window(text: &str, start: usize) -> &str {
    let end = text.floor_char_boundary(start.saturating_add(MAX_BARE_BYTES));
    let window = text.get(start..end).unwrap_or_default();
    let host = window
        .find(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-'))
        .unwrap_or(window.len());
    let (host, rest) = window.split_at(host);
    let port = rest.strip_prefix(':').map_or(0, |port| {
        1 + port.bytes().take_while(u8::is_ascii_digit).count()
    });
    let site = host.len() + if port > 1 { port } else { 0 };
    let tail = window.get(site..).unwrap_or_default();
    if tail.starts_with(['/', '?', '#']) {
        window
    } else {
        window.get(..site).unwrap_or(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<String> {
        let mut found = Collector::default();
        found.text(text);
        found.into_links()
    }

    #[test]
    fn each_link_once_in_order() {
        assert_eq!(
            text("http://b.test herehttp://a.test HTTP://B.test"),
            ["http://b.test", "http://a.test"]
        );
    }

    #[test]
    fn written_out_in_text() {
        assert_eq!(
            text(
                "(http://h.test/a). <https://h.test/b>, WWW.H.test/c! x@www.h.test ftp://h.test/d"
            ),
            [
                "http://h.test/a",
                "https://h.test/b",
                "http://www.h.test/c",
                "ftp://h.test/d"
            ]
        );
        assert_eq!(
            text("http://h.test/?u=www.i.test www.h.test,www.i.test end. www. www.x"),
            [
                "http://h.test/?u=www.i.test",
                "http://www.h.test",
                "http://www.i.test"
            ]
        );
    }

    #[test]
    fn no_more_than_the_bound() {
        let many: String = (0..2 * MAX_LINKS)
            .map(|n| format!("<a href=http://h/{n}>http://h.test/{n}</a>"))
            .collect();
        assert_eq!(text(&many).len(), MAX_LINKS);
    }
}

//! Addresses as a reader would follow them.
//!
//! [`Base::link`] takes what stands in an attribute or a text and gives the link,
//! or nothing when it leads nowhere on a network. It follows the URL standard
//! (url.spec.whatwg.org) where that decides what host a click ends at: white space
//! trimmed, tabs and line breaks removed, `\` read as `/`, missing or surplus
//! slashes of http and its like made two, scheme and host in lower case (ASCII;
//! an international host stays as written). Path and query stay as the sender
//! wrote them: they tell campaigns apart.

use super::MAX_LINK_BYTES;

/// Schemes that name nothing on a network, even when written with `//`.
const LOCAL_SCHEMES: [&str; 9] = [
    "about",
    "blob",
    "cid",
    "data",
    "file",
    "javascript",
    "mailto",
    "mid",
    "vbscript",
];

/// Longest base address that is honoured, in bytes: every relative link repeats it.
const MAX_BASE_BYTES: usize = 512;

/// The address that relative ones are resolved against, if a message gives one.
#[derive(Debug, Default)]
pub(super) struct Base(Option<Site>);

/// A base address in the pieces that resolving needs.
#[derive(Debug)]
struct Site {
    scheme: String,
    /// Scheme, authority.
    root: String,
    /// Path: empty or beginning with a slash.
    path: String,
}

impl Base {
    /// Takes the value of `<base href>`; the first that can be followed stays.
    pub fn set(&mut self, href: &str) {
        if self.0.is_none() {
            self.0 = Self::default().link(href).as_deref().and_then(Site::new);
        }
    }

    /// The link that `raw` is. One longer than [`MAX_LINK_BYTES`] is cut there.
    pub fn link(&self, raw: &str) -> Option<String> {
        let raw = raw.trim_matches(|c: char| c <= ' ');
        // Nothing beyond the bound can matter, except what is removed before it.
        let raw = prefix(raw, 2 * MAX_LINK_BYTES);
        let cleaned: String;
        let raw = if raw.contains(['\t', '\r', '\n']) {
            cleaned = raw.replace(['\t', '\r', '\n'], "");
            &cleaned
        } else {
            raw
        };
        let mut link = match scheme(raw) {
            Some((scheme, rest)) => absolute(&scheme.to_ascii_lowercase(), rest)?,
            None => self.relative(raw)?,
        };
        link.truncate(prefix(&link, MAX_LINK_BYTES).len());
        Some(link)
    }

    fn relative(&self, raw: &str) -> Option<String> {
        if raw.is_empty() || raw.starts_with('#') {
            return None;
        }
        if raw.starts_with(['/', '\\']) && raw.get(1..)?.starts_with(['/', '\\']) {
            let scheme = self.0.as_ref().map_or("http", |site| &site.scheme);
            return absolute(scheme, raw);
        }
        let Some(site) = &self.0 else {
            // A common slip of senders, and many mail clients follow it.
            let bare_host = raw
                .get(..4)
                .is_some_and(|www| www.eq_ignore_ascii_case("www."));
            return bare_host.then(|| absolute("http", raw)).flatten();
        };
        Some(site.resolve(raw))
    }
}

/// The longest prefix of at most `limit` bytes that ends between characters.
fn prefix(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// Splits `scheme:rest`.
fn scheme(raw: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = raw.split_at_checked(memchr::memchr(b':', raw.as_bytes())?)?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    valid.then(|| (scheme, rest.get(1..).unwrap_or_default()))
}

/// The link of a scheme (lower case) and what followed its colon.
fn absolute(scheme: &str, rest: &str) -> Option<String> {
    let web = matches!(scheme, "http" | "https" | "ftp" | "ws" | "wss");
    let rest = if web {
        rest.trim_start_matches(['/', '\\'])
    } else if LOCAL_SCHEMES.contains(&scheme) {
        return None;
    } else {
        rest.strip_prefix("//")?
    };
    let ends: &[char] = if web {
        &['/', '\\', '?', '#']
    } else {
        &['/', '?', '#']
    };
    let (authority, tail) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    let (user, host) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    if host.is_empty() || host.starts_with(':') || host.contains(|c: char| c <= ' ') {
        return None;
    }
    let mut link = String::with_capacity(scheme.len() + 3 + rest.len());
    link.push_str(scheme);
    link.push_str("://");
    link.push_str(user);
    link.push_str(&host.to_ascii_lowercase());
    let (path, query) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    if web && path.contains('\\') {
        link.push_str(&path.replace('\\', "/"));
    } else {
        link.push_str(path);
    }
    link.push_str(query);
    Some(link)
}

impl Site {
    fn new(base: &str) -> Option<Self> {
        if base.len() > MAX_BASE_BYTES {
            return None;
        }
        let (scheme, rest) = base.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let path = rest.get(authority.len()..)?.split(['?', '#']).next()?;
        Some(Self {
            scheme: scheme.to_owned(),
            root: format!("{scheme}://{authority}"),
            path: path.to_owned(),
        })
    }

    /// Resolves a relative reference (RFC 3986 section 5.2).
    fn resolve(&self, raw: &str) -> String {
        let (path, query) = raw.split_at(raw.find(['?', '#']).unwrap_or(raw.len()));
        let mut link = self.root.clone();
        if path.is_empty() {
            link.push_str(&self.path);
        } else {
            let path = path.replace('\\', "/");
            let relative = path.strip_prefix('/');
            if relative.is_none() {
                let directory = self.path.rsplit_once('/');
                link.push_str(directory.map_or("", |(directory, _)| directory));
            }
            self.append(&mut link, relative.unwrap_or(&path));
        }
        link.push_str(query);
        link
    }

    /// Appends path segments, each behind a slash; `.` and `..` are followed.
    fn append(&self, link: &mut String, path: &str) {
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment == ".." {
                let parent = link.rfind('/').unwrap_or(0).max(self.root.len());
                link.truncate(parent);
            }
            if !matches!(segment, "." | "..") {
                link.push('/');
                link.push_str(segment);
            } else if segments.peek().is_none() {
                link.push('/');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(raw: &str) -> Option<String> {
        Base::default().link(raw)
    }

    fn is(raw: &str, expected: &str) {
        assert_eq!(link(raw).as_deref(), Some(expected), "{raw:?}");
    }

    #[test]
    fn as_a_browser_reads_them() {
        is(" HTTP://Example.COM/Path?Q \n", "http://example.com/Path?Q");
        is("ht\ntps://exa\tmple.com/a\r\nb", "https://example.com/ab");
        is("//Example.com/x", "http://example.com/x");
        is("\\\\example.com\\x", "http://example.com/x");
        is("http:\\\\example.com\\a?b\\c", "http://example.com/a?b\\c");
        is("http:example.com", "http://example.com");
        is("https:////example.com", "https://example.com");
        is(
            "http://User@EXAMPLE.com:8080",
            "http://User@example.com:8080",
        );
        is("www.Example.com/x", "http://www.example.com/x");
        is("ftp://h/f", "ftp://h/f");
        is("tg://resolve?domain=x", "tg://resolve?domain=x");
    }

    #[test]
    fn what_leads_nowhere() {
        for raw in [
            "",
            "#top",
            "/x",
            "x.html",
            "javascript:alert(1)",
            "javascript://x/%0aalert(1)",
            "data:text/html,x",
            "cid:1@x",
            "mailto:a@x.test",
            "tel:+1",
            "file:///etc/passwd",
            "http://",
            "http:///",
            "http://:80/",
            "http://a b/",
            "about:blank",
            ":",
            "://x",
        ] {
            assert_eq!(link(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn relative_to_a_base() {
        let mut base = Base::default();
        base.set("cid:no");
        base.set("https://H.test/a/b.html?q#f");
        base.set("https://other.test/");
        for (raw, expected) in [
            ("c.html", "https://h.test/a/c.html"),
            ("../c?x", "https://h.test/c?x"),
            ("../../../c/./d/..", "https://h.test/c/"),
            ("/c", "https://h.test/c"),
            ("?x", "https://h.test/a/b.html?x"),
            ("//i.test/c", "https://i.test/c"),
            ("http://i.test", "http://i.test"),
        ] {
            assert_eq!(base.link(raw).as_deref(), Some(expected), "{raw:?}");
        }
        assert_eq!(base.link("#f"), None);
    }

    #[test]
    fn a_long_link_is_cut_between_characters() {
        let long = format!("http://h/{}", "\u{e9}".repeat(MAX_LINK_BYTES));
        let cut = link(&long).unwrap_or_default();
        assert!(long.starts_with(&cut));
        assert!((MAX_LINK_BYTES - 1..=MAX_LINK_BYTES).contains(&cut.len()));
    }
}

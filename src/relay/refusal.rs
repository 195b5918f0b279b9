//! What is never relayed, whatever the policy.
//!
//! A relayed mail is a stranger's, and the mail server behind us takes our word for it. So an
//! address is handed on only if there is no second way to read it ([`is_plain`]) and if it is none
//! of the operator's own ([`Deny`]), and a message only without anything that could be run
//! ([`is_executable`]). In doubt the answer is no: what is not relayed costs a spammer's trust,
//! and what should not have been costs a stranger.
//!
//! Decisions without I/O. Nothing here fails, and time grows linearly with the input.

mod executable;
mod zip;

use std::collections::HashSet;

pub use executable::{holds_uuencoded, is_executable, is_name_refused};

/// Longest address (RFC 5321 section 4.5.3.1.3, without its brackets).
pub const ADDRESS_MAX: usize = 254;

/// Longest local part (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_MAX: usize = 64;

/// Longest label of a domain (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// Beside letters and digits, what may stand in a local part. Left out of what RFC 5321 allows is
/// what mail servers were once led astray by: `% ! / | * ? ^ # ~` and all that quotes or expands.
const LOCAL_MARKS: &[u8] = b"._+-=&'";

/// Last labels that stand for the inside of somebody's network: mail to them would be ours.
const INSIDE: &[&str] = &[
    "corp",
    "home",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "localhost",
];

/// Whether a recipient is plainly `local@domain`, for any mail server: ASCII, a domain of two
/// labels or more, none of the forms that mean another way (routes, `%` and `!`, pipes, files,
/// quotes, address literals).
pub fn is_plain(address: &str) -> bool {
    let Some((local, domain)) = address.split_once('@') else {
        return false;
    };
    address.len() <= ADDRESS_MAX && is_plain_local(local) && is_plain_domain(domain)
}

/// The same for a sender, who may be nobody.
pub fn is_plain_sender(address: &str) -> bool {
    address.is_empty() || is_plain(address)
}

fn is_plain_local(local: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || LOCAL_MARKS.contains(&byte);
    local.len() <= LOCAL_MAX
        && local.bytes().all(allowed)
        && !local.starts_with('-')
        && local.split('.').all(|atom| !atom.is_empty())
}

fn is_plain_domain(domain: &str) -> bool {
    let Some((_, last)) = domain.rsplit_once('.') else {
        return false; // a name of this machine's network
    };
    // An address without its brackets has digits there.
    let is_name = last.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_name
        && domain.split('.').all(is_plain_label)
        && !INSIDE
            .iter()
            .any(|inside| last.eq_ignore_ascii_case(inside))
}

fn is_plain_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_MAX).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Domains that nothing is relayed to or from, each with all below it.
#[derive(Clone, Debug, Default)]
pub struct Deny {
    domains: HashSet<String>,
}

impl Deny {
    /// Takes domains as operators write them: in any case, with `@`, `.` or `*.` before them or a
    /// dot behind. An item that holds none is passed over.
    pub fn new<S: AsRef<str>>(domains: impl IntoIterator<Item = S>) -> Deny {
        let domains = domains.into_iter().filter_map(|item| {
            let item = item.as_ref().trim();
            let name = item.strip_prefix('@').unwrap_or(item);
            let name = name.strip_prefix('*').unwrap_or(name);
            let name = folded(name.strip_prefix('.').unwrap_or(name));
            (!name.is_empty()).then_some(name)
        });
        Deny {
            domains: domains.collect(),
        }
    }

    /// Whether an address belongs to one of the domains. One without a domain does: it is the
    /// mail server's own. The empty sender does not.
    pub fn denies(&self, address: &str) -> bool {
        let Some((_, domain)) = address.rsplit_once('@') else {
            return !address.is_empty();
        };
        let domain = folded(domain);
        let mut rest = domain.as_str();
        loop {
            if self.domains.contains(rest) {
                return true;
            }
            match rest.split_once('.') {
                Some((_, above)) => rest = above,
                None => return false,
            }
        }
    }
}

fn folded(domain: &str) -> String {
    domain.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_pass() {
        let [local, label] = ["l", "d"].map(|letter| letter.repeat(60));
        let longest = format!("four{local}@{label}.{label}.{}.example", "d".repeat(59));
        assert_eq!(longest.len(), ADDRESS_MAX);
        for address in [
            "a@b.example",
            "First.Last+tag@Sub.Example.ORG",
            "o'brien_1@xn--bcher-kva.example",
            "a=b&c-d@3com.example",
            "1@2.example",
            &longest,
        ] {
            assert!(is_plain(address), "{address}");
            assert!(is_plain_sender(address), "{address}");
        }
        assert!(is_plain_sender(""));
    }

    #[test]
    fn nothing_else_does() {
        let long_local = format!("{}@b.example", "l".repeat(65));
        let long_label = format!("a@{}.example", "d".repeat(64));
        let long = format!("a@{}.example", ["d".repeat(60).as_str(); 5].join("."));
        for address in [
            "postmaster",
            "@b.example",
            "a@",
            "a@b",
            "a@localhost",
            "a@mail.localdomain",
            "a@printer.LOCAL",
            "a@b.example.",
            "a@.b.example",
            "a@b..example",
            "a@-b.example",
            "a@b-.example",
            "a@b_c.example",
            "a@192.0.2.1",
            "a@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            "a@b.example@c.example",
            "@x.example:a@b.example",
            "@x.example,@y.example:a@b.example",
            "a%c.example@b.example",
            "c.example!a@b.example",
            "|/bin/sh@b.example",
            "/etc/passwd@b.example",
            "a/../b@b.example",
            "-oQ@b.example",
            ":include:@b.example",
            "${run{id}}@b.example",
            "`id`@b.example",
            "\"a b\"@b.example",
            "\"a\"@b.example",
            "a\\b@b.example",
            "<a@b.example>",
            "a@b.example>",
            "a b@b.example",
            "a@b.example c@d.example",
            "a,c@b.example",
            "a;c@b.example",
            "a(c)@b.example",
            "a@b.example\r\nRCPT TO:<c@d.example>",
            "a\0@b.example",
            "a\u{fffd}@b.example",
            "jos\u{e9}@b.example",
            "a@b\u{fc}cher.example",
            ".a@b.example",
            "a.@b.example",
            "a..c@b.example",
            &long_local,
            &long_label,
            &long,
        ] {
            assert!(!is_plain(address), "{address}");
            assert!(!is_plain_sender(address), "{address}");
        }
        assert!(!is_plain(""));
    }

    #[test]
    fn own_domains_are_denied_with_all_below_them() {
        for item in [
            "example.net",
            "@example.net",
            ".example.net",
            "*.example.net",
            "@.Example.NET.",
            " EXAMPLE.net ",
        ] {
            let deny = Deny::new([item, "other.example"]);
            for address in [
                "a@example.net",
                "a@EXAMPLE.NET",
                "a@example.net.",
                "a@mail.example.net",
                "a@a.b.c.example.net",
                "a@x@example.net",
                "a@other.example",
                "postmaster",
            ] {
                assert!(deny.denies(address), "{item}: {address}");
            }
            for address in [
                "a@example.com",
                "a@notexample.net",
                "a@example.net.example.com",
                "a@net",
                "example.net@example.com",
                "",
            ] {
                assert!(!deny.denies(address), "{item}: {address}");
            }
        }
        assert!(!Deny::new(["", "@", "*.", "."]).denies("a@example.net"));
        assert!(!Deny::default().denies("a@example.net"));
    }
}

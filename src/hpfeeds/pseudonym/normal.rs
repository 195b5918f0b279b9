//! The normal form of an address: the same for the same mailbox.
//!
//! Lower case (ASCII), also before the `@`: by RFC 5321 the case of a local part may matter, but
//! to no mailbox provider it does, and spammers change it. Without white space, angle brackets,
//! quotes of the local part and the dot that may end a domain. Tags (`name+tag`) stay, and an
//! international domain stays in the form it was given in.

/// The normal form.
pub(super) fn form(address: &str) -> String {
    let address = address.trim();
    let inner = address.strip_prefix('<').and_then(|a| a.strip_suffix('>'));
    let address = inner.unwrap_or(address).trim();
    let Some((local, domain)) = address.rsplit_once('@') else {
        return unquoted(address);
    };
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    format!("{}@{}", unquoted(local), domain.to_ascii_lowercase())
}

fn unquoted(local: &str) -> String {
    let inner = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let Some(inner) = inner else {
        return local.to_ascii_lowercase();
    };
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            character => out.push(character),
        }
    }
    out.to_ascii_lowercase()
}

/// Local part and domain of an address in normal form; none without an `@`.
pub(super) fn parts(normal: &str) -> Option<(&str, &str)> {
    normal.rsplit_once('@')
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn one_form_for_one_mailbox() {
        for address in [
            "john.smith@example.org",
            "John.Smith@EXAMPLE.ORG",
            " <john.smith@example.org.> ",
            "\"John.Smith\"@example.org",
            "\"john\\.smith\"@example.org",
        ] {
            assert_eq!(form(address), "john.smith@example.org", "{address}");
        }
        assert_eq!(form("\"a b\\\"@c\"@d"), "a b\"@c@d");
        assert_eq!(form("Postmaster"), "postmaster");
        assert_eq!(form("\u{c9}a+B@x"), "\u{c9}a+b@x");
        for odd in ["", "@", "\"", "\"@", "<", "<>", "\"\\"] {
            form(odd);
        }
    }
}

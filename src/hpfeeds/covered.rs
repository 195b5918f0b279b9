//! A record as it is published: with pseudonyms in the place of its recipients.

use super::pseudonym::{Cover, Pseudonyms};
use crate::parsed::ParsedSpam;

/// Replaces the recipients in all of a record's texts.
pub fn covered(pseudonyms: &Pseudonyms, cover: &Cover, spam: &ParsedSpam) -> ParsedSpam {
    let text = |text: &String| cover.text(text).into_owned();
    let mut covered = spam.clone();
    // In no order that tells of the addresses, and each mailbox once.
    covered.to = pseudonyms.list(&spam.to);
    for field in [
        &mut covered.subject,
        &mut covered.from,
        &mut covered.text,
        &mut covered.html,
    ] {
        *field = text(field);
    }
    covered.headers = cover.headers(&spam.headers).into_owned();
    covered.users = spam.users.iter().map(text).collect();
    covered.links = spam.links.iter().map(text).collect();
    for part in &mut covered.attachments {
        part.name = text(&part.name);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hpfeeds::pseudonym::Key;

    #[test]
    fn no_text_of_a_record_names_its_recipient() {
        let pseudonyms = Pseudonyms::new(&Key::new([7; 32]));
        let address = "trap.box@example.org".to_owned();
        let mut spam = ParsedSpam {
            id: "ab".into(),
            to: vec![address.clone()],
            ..ParsedSpam::default()
        };
        spam.subject = format!("for {address}");
        spam.from = format!("{address} <a@example.net>");
        spam.headers = format!("Delivered-To: {address}\n");
        spam.text = format!("Dear {address}");
        spam.html = format!("<p>{address}</p>");
        spam.users = vec![address.clone()];
        spam.links = vec!["http://example.net/?u=trap.box%40example.org".into()];
        let name = format!("{address}.pdf");
        spam.attachments = vec![crate::parsed::ParsedAttachment {
            name,
            ..Default::default()
        }];
        let covered = covered(&pseudonyms, &pseudonyms.cover(&spam.to), &spam);
        let json = serde_json::to_string(&covered).unwrap();
        assert!(!json.contains("trap.box"), "{json}");
        assert_eq!(
            json.matches(&pseudonyms.address(&address)).count(),
            8,
            "{json}"
        );
        assert_eq!(covered.id, "ab");
        assert_eq!(covered.to, [pseudonyms.address(&address)]);
    }
}

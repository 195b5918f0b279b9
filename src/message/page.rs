//! The links of an HTML document: what it leads to, what it loads, and addresses
//! spelled out in its text.
//!
//! [`collect`] tokenises the document once, by the rules of the HTML standard, so
//! comments, quoting and character references are read as a browser reads them;
//! what stands in script and style is passed over. Links that only a script would
//! make, that stand in CSS or in a conditional comment, are not found. Inside noscript,
//! iframe and noembed, where the tokeniser sees raw text, addresses are found as in
//! text. `<base href>` counts for what follows it. Nothing fails; time is linear.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Emitter, ForwardingEmitter, Span, Tokenizer};

use super::links::Collector;
use super::url::Base;

/// Adds the links of an HTML document to `links`, in document order.
pub(super) fn collect(html: &str, links: &mut Collector) {
    if html.is_empty() {
        return;
    }
    let mut page = Page {
        links,
        base: Base::default(),
        tag: Tag::None,
        hidden: false,
        attribute: Attribute::Other,
        refresh: Refresh::default(),
    };
    let callback = |event: CallbackEvent<'_>, _: Span<()>| page.event(&event);
    let mut emitter = CallbackEmitter::new(callback);
    emitter.naively_switch_states(true);
    // The one item the iterator can give is the word that the bound is reached.
    _ = Tokenizer::new_with_emitter(html, Lenient(emitter)).next();
}

/// Emits what it is, and does not ask which of its characters the standard calls an error: that
/// costs as much as all the rest.
struct Lenient<E>(E);

impl<E: Emitter> ForwardingEmitter for Lenient<E> {
    type Token = E::Token;

    fn inner(&mut self) -> &mut impl Emitter<Token = E::Token> {
        &mut self.0
    }

    fn should_emit_errors(&mut self) -> bool {
        false
    }
}

/// The tags that are not like all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// Outside of start tags.
    None,
    Base,
    Meta,
    Object,
    Other,
}

/// The attributes that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    Link,
    BaseHref,
    SourceSet,
    HttpEquiv,
    Content,
    Other,
}

impl Attribute {
    fn of(tag: Tag, name: &[u8]) -> Self {
        match (tag, name) {
            (Tag::Base, b"href") => Self::BaseHref,
            (Tag::Meta, b"http-equiv") => Self::HttpEquiv,
            (Tag::Meta, b"content") => Self::Content,
            (Tag::Object, b"data") => Self::Link,
            (
                _,
                b"href" | b"src" | b"action" | b"formaction" | b"background" | b"poster"
                | b"xlink:href" | b"lowsrc" | b"dynsrc",
            ) => Self::Link,
            (_, b"srcset" | b"imagesrcset") => Self::SourceSet,
            _ => Self::Other,
        }
    }
}

/// The two halves of `<meta http-equiv=refresh content="0; url=...">`.
#[derive(Debug, Default)]
struct Refresh {
    is_refresh: bool,
    content: String,
}

/// A walk through the tokens of one document.
struct Page<'a> {
    links: &'a mut Collector,
    base: Base,
    tag: Tag,
    /// Within script or style: what stands there is not shown.
    hidden: bool,
    attribute: Attribute,
    refresh: Refresh,
}

impl Page<'_> {
    /// Takes one event of the tokeniser; `Some` ends the walk.
    fn event(&mut self, event: &CallbackEvent<'_>) -> Option<()> {
        match event {
            CallbackEvent::OpenStartTag { name } => {
                self.tag = match *name {
                    b"base" => Tag::Base,
                    b"meta" => Tag::Meta,
                    b"object" => Tag::Object,
                    _ => Tag::Other,
                };
                self.hidden = matches!(*name, b"script" | b"style");
            }
            CallbackEvent::AttributeName { name } => {
                self.attribute = Attribute::of(self.tag, name);
            }
            CallbackEvent::AttributeValue { value } => self.value(value),
            CallbackEvent::CloseStartTag { .. } => self.close_start_tag(),
            CallbackEvent::EndTag { .. } => self.hidden = false,
            CallbackEvent::String { value } if !self.hidden => {
                if let Ok(text) = str::from_utf8(value) {
                    self.links.text(text);
                }
            }
            _ => {}
        }
        self.links.is_full().then_some(())
    }

    fn value(&mut self, value: &[u8]) {
        // Attributes of end tags are no attributes.
        if self.tag == Tag::None || self.attribute == Attribute::Other {
            return;
        }
        let Ok(value) = str::from_utf8(value) else {
            return;
        };
        match self.attribute {
            Attribute::Link => self.links.add(self.base.link(value)),
            Attribute::BaseHref => self.base.set(value),
            Attribute::SourceSet => {
                for candidate in value.split(',') {
                    let address = candidate.split_ascii_whitespace().next();
                    self.links
                        .add(address.and_then(|address| self.base.link(address)));
                }
            }
            Attribute::HttpEquiv => {
                self.refresh.is_refresh = value.trim().eq_ignore_ascii_case("refresh");
            }
            Attribute::Content => value.clone_into(&mut self.refresh.content),
            Attribute::Other => {}
        }
        self.attribute = Attribute::Other;
    }

    fn close_start_tag(&mut self) {
        if self.tag == Tag::Meta {
            let refresh = std::mem::take(&mut self.refresh);
            if refresh.is_refresh {
                let address = refresh_address(&refresh.content);
                self.links
                    .add(address.and_then(|address| self.base.link(address)));
            }
        }
        self.tag = Tag::None;
    }
}

/// The address in `5; url='...'`.
fn refresh_address(content: &str) -> Option<&str> {
    let rest = content.trim_start_matches(|c: char| {
        c.is_ascii_digit() || c.is_ascii_whitespace() || matches!(c, '.' | ';' | ',')
    });
    let (word, rest) = rest.split_at_checked(3)?;
    if !word.eq_ignore_ascii_case("url") {
        return None;
    }
    let address = rest.trim_ascii_start().strip_prefix('=')?.trim_ascii();
    match address.chars().next()? {
        quote @ ('"' | '\'') => address.get(1..)?.split(quote).next(),
        _ => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::links::MAX_LINKS;

    fn html(page: &str) -> Vec<String> {
        let mut found = Collector::default();
        collect(page, &mut found);
        found.into_links()
    }

    #[test]
    fn attributes_that_link_or_load() {
        let found = html(concat!(
            "<body background=http://h/1><a HREF='http://h/2?a=1&amp;b=2'>x</a>",
            "<img src=\"http://h/3\" srcset=\"http://h/4 1x, //h/5 2x\">",
            "<form action=http://h/6><button formaction=http://h/7></form>",
            "<meta content=\"0;URL='http://h/8'\" http-equiv=Refresh>",
            "<meta name=x content='0;url=http://h/no'>",
            "<object data=http://h/9><a title=http://h/no href=mailto:a@h.test>",
        ));
        let numbers = ["1", "2?a=1&b=2", "3", "4", "5", "6", "7", "8", "9"];
        let expected: Vec<_> = numbers.iter().map(|n| format!("http://h/{n}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn text_of_a_page_but_not_its_scripts_and_comments() {
        let found = html(concat!(
            "<title>http://h.test/1</title><p>see http://h.test/2?a&amp;b.</p>",
            "<script>var u='http://h.test/no'</script><style>x{background:url(http://h.test/no)}",
            "</style><!-- http://h.test/no <a href=http://h.test/no> -->",
            "<textarea><a href=x>http://h.test/3</textarea>www.h.test",
        ));
        assert_eq!(
            found,
            [
                "http://h.test/1",
                "http://h.test/2?a&b",
                "http://h.test/3",
                "http://www.h.test"
            ]
        );
    }

    #[test]
    fn base_href_counts_for_what_follows() {
        let found = html("<a href=a><base href=http://h/d/><a href=b><a href=../c>");
        assert_eq!(found, ["http://h/d/b", "http://h/c"]);
    }

    #[test]
    fn attributes_of_end_tags_are_ignored() {
        assert!(
            html("<p></a href=http://h/no></p src='http://h/no'><script></script src=http://h/no>")
                .is_empty()
        );
    }

    #[test]
    fn no_more_than_the_bound() {
        let many: String = (0..2 * MAX_LINKS)
            .map(|n| format!("<a href=http://h/{n}>http://h.test/{n}</a>"))
            .collect();
        assert_eq!(html(&many).len(), MAX_LINKS);
    }
}

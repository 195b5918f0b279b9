//! A leaf of the MIME tree: what it is, and what is kept of it.
//!
//! [`PartHeader`] is what a part's header block says about it; [`Leaves`] takes the
//! leaves one by one and keeps the first non-empty HTML and text bodies and all
//! attachments. A leaf that is neither is not even decoded. Nothing here fails.

use std::borrow::Cow;
use std::ops::Range;

use md5::{Digest, Md5};
use sha2::Sha256;

use super::block::Block;
use super::header::Parameters;
use super::parts::Sink;
use super::transfer::{self, Encoding};

/// One attachment, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The file name the sender gave, decoded: Content-Disposition `filename`, else
    /// Content-Type `name`, else empty. It is data: never make a path from it.
    pub name: String,
    /// `type/subtype`, lower case.
    pub media_type: String,
    /// Dispositioned inline, or not dispositioned attachment and with a Content-ID.
    pub inline: bool,
    /// MD5 of `content`.
    pub md5: [u8; 16],
    /// SHA-256 of `content`.
    pub sha256: [u8; 32],
    /// The bytes without their transfer encoding; no charset or line end is touched.
    pub content: Vec<u8>,
}

/// What a part's header block says.
#[derive(Debug)]
pub(super) struct PartHeader {
    kind: String,
    subtype: String,
    charset: Option<String>,
    boundary: Option<String>,
    disposition: Disposition,
    /// `filename` of Content-Disposition.
    file_name: Option<String>,
    /// `name` of Content-Type.
    name: Option<String>,
    has_content_id: bool,
    pub encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Attachment,
    Inline,
    Other,
}

impl PartHeader {
    /// Reads the MIME fields of a header block; of several with one name the first
    /// counts. `in_digest`: the part is a child of a multipart/digest.
    pub fn read(raw: &[u8], block: &Block, in_digest: bool) -> Self {
        let (kind, subtype) = if in_digest {
            ("message", "rfc822")
        } else {
            ("text", "plain")
        };
        let mut header = Self {
            kind: kind.to_owned(),
            subtype: subtype.to_owned(),
            charset: None,
            boundary: None,
            disposition: Disposition::Other,
            file_name: None,
            name: None,
            has_content_id: false,
            encoding: Encoding::Identity,
        };
        let (mut content_type, mut disposition, mut encoding) = (None, None, None);
        for (name, value) in block.fields(raw) {
            let Some(b"content-") = name.get(..8).map(<[u8]>::to_ascii_lowercase).as_deref() else {
                continue;
            };
            match name.to_ascii_lowercase().as_slice() {
                b"content-type" => _ = content_type.get_or_insert(value),
                b"content-disposition" => _ = disposition.get_or_insert(value),
                b"content-transfer-encoding" => _ = encoding.get_or_insert(value),
                b"content-id" => header.has_content_id = true,
                _ => {}
            }
        }
        if let Some(value) = content_type {
            header.content_type(value);
        }
        if let Some(value) = disposition {
            header.content_disposition(value);
        }
        if let Some(value) = encoding {
            header.encoding = Encoding::from_value(value);
        }
        header
    }

    fn content_type(&mut self, value: &[u8]) {
        let mut buffer = Vec::new();
        let parsed = Parameters::read(value, &mut buffer);
        let (kind, subtype) = parsed.media_type().unwrap_or(("text", "plain"));
        self.kind = kind.to_owned();
        self.subtype = subtype.to_owned();
        self.charset = parsed.parameter("charset").map(str::to_owned);
        self.name = parsed.parameter("name").map(str::to_owned);
        self.boundary = parsed.parameter("boundary").map(str::to_owned);
    }

    fn content_disposition(&mut self, value: &[u8]) {
        let mut buffer = Vec::new();
        let parsed = Parameters::read(value, &mut buffer);
        self.disposition = match parsed.disposition() {
            "attachment" => Disposition::Attachment,
            "inline" => Disposition::Inline,
            _ => Disposition::Other,
        };
        self.file_name = parsed.parameter("filename").map(str::to_owned);
    }

    /// The boundary parameter, if there is one with something in it.
    pub fn boundary(&self) -> Option<Vec<u8>> {
        let boundary = self.boundary.as_deref()?.trim_ascii_end();
        (!boundary.is_empty()).then(|| boundary.as_bytes().to_vec())
    }

    pub fn is_multipart(&self) -> bool {
        self.kind == "multipart"
    }

    pub fn is_digest(&self) -> bool {
        self.kind == "multipart" && self.subtype == "digest"
    }

    /// A message that is to be opened (RFC 2046 section 5.2.1, RFC 6532).
    pub fn is_message(&self) -> bool {
        self.kind == "message" && matches!(self.subtype.as_str(), "rfc822" | "global")
    }

    pub fn is_attachment(&self) -> bool {
        self.disposition == Disposition::Attachment
    }

    /// `type/subtype`, lower case.
    pub fn media_type(&self) -> String {
        format!("{}/{}", self.kind, self.subtype)
    }

    /// The charset, as it is named.
    pub fn charset(&self) -> Option<&str> {
        self.charset.as_deref()
    }

    /// Turns a multipart that could not be split into plain text.
    pub fn make_plain_text(&mut self) {
        "text".clone_into(&mut self.kind);
        "plain".clone_into(&mut self.subtype);
    }

    fn is_text(&self, subtype: &str) -> bool {
        self.kind == "text" && self.subtype == subtype
    }

    /// Whether the leaf is listed among the attachments.
    fn is_listed(&self) -> bool {
        self.is_attachment()
            || self.file_name.is_some()
            || !(self.is_text("plain") || self.is_text("html"))
    }
}

/// A leaf: its header and its body as it stands in the message.
pub(super) struct Leaf<'a> {
    pub header: &'a PartHeader,
    pub content: &'a [u8],
}

impl Leaf<'_> {
    fn decoded(&self) -> Cow<'_, [u8]> {
        self.header.encoding.decode(self.content)
    }

    fn text(&self, decoded: &[u8]) -> String {
        let charset = self.header.charset.as_deref().map(str::as_bytes);
        transfer::lf(transfer::charset(decoded, charset))
    }

    fn attachment(&self, content: Vec<u8>) -> Attachment {
        let header = self.header;
        let name = header.file_name.as_ref().or(header.name.as_ref());
        Attachment {
            name: name.cloned().unwrap_or_default(),
            media_type: header.media_type(),
            inline: header.disposition == Disposition::Inline
                || (!header.is_attachment() && header.has_content_id),
            md5: Md5::digest(&content).into(),
            sha256: Sha256::digest(&content).into(),
            content,
        }
    }
}

/// What is kept of the leaves seen so far.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub html: String,
    pub text: String,
    pub attachments: Vec<Attachment>,
    pub text_names: Vec<String>,
}

impl Sink for Leaves {
    fn block(&mut self, _block: &[u8], _at: Range<usize>) {}

    fn decoded_begins(&mut self) {}

    fn decoded_ends(&mut self, _decoded: &[u8], _leaf: &Leaf<'_>, _at: Range<usize>) {}

    fn leaf(&mut self, leaf: &Leaf<'_>, _at: Range<usize>) {
        let header = leaf.header;
        let body = match () {
            () if header.is_attachment() => None,
            () if header.is_text("html") => Some(&mut self.html),
            () if header.is_text("plain") => Some(&mut self.text),
            () => None,
        };
        let body = body.filter(|body| body.is_empty());
        let listed = header.is_listed();
        if !listed && let Some(name) = &header.name {
            self.text_names.push(name.clone());
        }
        if body.is_none() && !listed {
            return;
        }
        let decoded = leaf.decoded();
        if let Some(body) = body {
            *body = leaf.text(&decoded);
        }
        if listed {
            self.attachments.push(leaf.attachment(decoded.into_owned()));
        }
    }
}

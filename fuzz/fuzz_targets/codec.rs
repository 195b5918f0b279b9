//! A stream of hpfeeds: the same frames wherever it is cut, and each frame is what it is written
//! as.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shiva::hpfeeds::codec::{Decoder, Frame, Malformed};
use shiva_fuzz::input::Choices;

fuzz_target!(|data: &[u8]| {
    let (choices, stream) = Choices::split(data);
    let mut written = Written {
        stream,
        faithful: true,
    };
    let whole = decode(std::iter::once(stream), |frame| written.check(frame));
    assert_eq!(decode(choices.pieces(stream), |_| {}), whole);
    assert_eq!(decode(stream.chunks(1), |_| {}), whole);
});

/// The frames in words, and how the stream ended: whether nothing was left, or what was wrong.
type Decoded = (Vec<String>, Result<bool, Malformed>);

fn decode<'p>(pieces: impl Iterator<Item = &'p [u8]>, mut take: impl FnMut(&Frame<'_>)) -> Decoded {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    take(&frame);
                    frames.push(format!("{frame:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next().as_ref(), Err(&error), "it comes again");
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, Ok(decoder.is_empty()))
}

/// The part of the stream that was not yet decoded.
struct Written<'s> {
    stream: &'s [u8],
    /// No byte was replaced so far, so that frames are written as they stood there.
    faithful: bool,
}

impl Written<'_> {
    fn check(&mut self, frame: &Frame<'_>) {
        let mut bytes = b"before".to_vec();
        if frame.encode(&mut bytes).is_err() {
            // Three bytes stand for each that was no UTF-8: it has become too long.
            assert!(has_replaced(frame));
            assert_eq!(bytes, b"before");
            self.faithful = false;
            return;
        }
        let bytes = &bytes[b"before".len()..];
        let mut decoder = Decoder::default();
        decoder.push(bytes);
        assert_eq!(decoder.next(), Ok(Some(frame.clone())));
        assert!(decoder.is_empty());
        self.faithful &= !has_replaced(frame);
        if self.faithful {
            self.stream = self.stream.strip_prefix(bytes).expect("other bytes");
        }
    }
}

/// Whether U+FFFD stands in a frame, perhaps for bytes that were no UTF-8.
fn has_replaced(frame: &Frame<'_>) -> bool {
    let texts = match frame {
        Frame::Error(text) => [text, text],
        Frame::Info { broker, .. } => [broker, broker],
        Frame::Auth { ident, .. } => [ident, ident],
        Frame::Publish { ident, channel, .. }
        | Frame::Subscribe { ident, channel }
        | Frame::Unsubscribe { ident, channel } => [ident, channel],
    };
    texts.iter().any(|text| text.contains('\u{fffd}'))
}

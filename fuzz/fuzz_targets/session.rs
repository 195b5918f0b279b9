//! The SMTP session over any bytes.
//!
//! Wherever they are cut, the client hears the same and the same messages come of it. What else
//! must hold at each step is in [`shiva_fuzz::dialogue`].
#![no_main]

use std::iter;

use libfuzzer_sys::fuzz_target;
use shiva_fuzz::dialogue::hold;
use shiva_fuzz::input::Choices;
use shiva_fuzz::settings::Settings;

fuzz_target!(|data: &[u8]| {
    let (choices, stream) = Choices::split(data);
    let settings = Settings::chosen(choices);
    let whole = hold(&settings, stream, iter::once);
    assert_eq!(hold(&settings, stream, |part| choices.pieces(part)), whole);
    assert_eq!(hold(&settings, stream, |part| part.chunks(1)), whole);
});

//! A fuzz input: a line of choices, then the bytes that are fed to what is tested.
//!
//! The choices say what a stranger's bytes do not: where reads cut them, which limits there are,
//! what becomes of a message. In a seed they are one word of text, as `cpb`.

/// The first line of a fuzz input. As many choices as are asked for: they come round.
#[derive(Clone, Copy, Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Takes the choices off a fuzz input. One without a line end is all stream.
    pub fn split(data: &'a [u8]) -> (Choices<'a>, &'a [u8]) {
        match data.iter().position(|&byte| byte == b'\n') {
            Some(end) => (Choices(&data[..end]), &data[end + 1..]),
            None => (Choices(&[]), data),
        }
    }

    /// The choice of this number; zero where none was made at all.
    pub fn at(&self, number: usize) -> u8 {
        match self.0.len() {
            0 => 0,
            length => self.0[number % length],
        }
    }

    /// The stream in pieces, as reads of a socket may cut it: each choice is the size of one.
    pub fn pieces(self, stream: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = stream;
        (0..).map_while(move |number| {
            if rest.is_empty() {
                return None;
            }
            let size = usize::from(self.at(number)).clamp(1, rest.len());
            let (piece, after) = rest.split_at(size);
            rest = after;
            Some(piece)
        })
    }
}

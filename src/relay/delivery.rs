//! stub
/// x
pub struct Mail<'m> {
    /// x
    pub from: &'m str,
    /// x
    pub to: &'m [String],
    /// x
    pub message: &'m [u8],
}
/// x
pub enum Outcome {
    /// x
    Accepted(String),
    /// x
    Refused {
        /// x
        code: u16,
        /// x
        text: String,
    },
    /// x
    Unreached(String),
    /// x
    Unknown(String),
}
/// x
pub struct Delivery;
impl Delivery {
    /// x
    pub fn new(_h: &str, _p: u16, _n: &str) -> Delivery {
        Delivery
    }
    /// x
    pub fn deliver(&mut self, _m: &Mail<'_>) -> Outcome {
        Outcome::Unreached("stub".into())
    }
    /// x
    pub fn hang_up(&mut self) {}
}

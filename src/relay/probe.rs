//! stub
use crate::message::Message;
use std::net::IpAddr;
/// x
pub struct Tokens;
impl Tokens {
    /// x
    pub fn new(_c: &[String], _h: &str) -> Tokens {
        Tokens
    }
    /// x
    pub fn found(&self, _m: &Message, _d: Option<IpAddr>) -> Option<String> {
        None
    }
}

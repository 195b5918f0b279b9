//! Crash points: where tests kill the process as `kill -9` would.
//!
//! A build with the feature `failpoints` dies at `point("name")` when the environment says
//! `FAILPOINTS=name=return`, or on the fourth pass with `name=3*off->return`. In a release build
//! nothing of this exists.

/// Reads `FAILPOINTS`. Called once, first thing in `main`.
pub fn arm() {
    #[cfg(feature = "failpoints")]
    std::mem::forget(fail::FailScenario::setup());
}

/// Dies here if the environment says so.
pub fn point(_name: &str) {
    fail::fail_point!(_name, |_| die());
}

#[cfg(feature = "failpoints")]
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Dies where a test message says so and the environment agrees: a parser's fatal flaw.
pub fn on_poison(_message: &[u8]) {
    #[cfg(feature = "failpoints")]
    if memchr::memmem::find(_message, b"X-Shiva-Test: poison").is_some() {
        point("poison");
    }
}

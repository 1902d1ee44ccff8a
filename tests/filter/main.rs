//! The filter's modules as they ship, in the simulated hosts of `tests/guest`: what they count, what they cost, and
//! that nothing a host may do makes them trap, stall or lose a count.
//!
//! Time is simulated and randomness seeded: a failure repeats.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails that way, and says what it measured"
)]

mod cost;
mod counts;
mod faults;
mod hostile;
mod kong;
mod life;
mod limits;
mod scene;

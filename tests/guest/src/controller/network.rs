//! What the network and the controller's front do to a call.

use gaugeway_wire::units::Nanos;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives and is answered.
    Deliver,
    /// It never arrives.
    LoseRequest,
    /// It arrives and is applied; its answer is lost.
    LoseAnswer,
    /// It arrives twice.
    Duplicate,
    /// The connection breaks.
    Reset,
    /// Its answer comes this much later.
    Delay(Nanos),
    /// Its answer's bytes are damaged, by seed.
    Garble(u64),
    /// Something else answers it.
    Answer {
        /// HTTP status.
        status: u16,
        /// Body.
        body: Vec<u8>,
    },
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// An answer.
    Answer {
        /// HTTP status.
        status: u16,
        /// Body.
        body: Vec<u8>,
    },
    /// Nothing, in time.
    TimedOut,
    /// The connection broke.
    Reset,
}

impl Delivery {
    /// Damages the body: flips, cuts, repeats.
    pub(crate) fn garble(&mut self, seed: u64) {
        let Self::Answer { body, .. } = self else {
            return;
        };
        let mut rng = SmallRng::seed_from_u64(seed);
        for _ in 0..rng.random_range(1..8) {
            match rng.random_range(0..4) {
                0 => body.truncate(rng.random_range(0..=body.len())),
                1 => body.extend_from_within(rng.random_range(0..=body.len())..),
                2 => body.push(rng.random_range(0..=255)),
                _ if body.is_empty() => {}
                _ => {
                    let at = rng.random_range(0..body.len());
                    body[at] = rng.random_range(0..=255);
                }
            }
        }
    }
}

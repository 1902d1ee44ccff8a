//! Envoy's response flags, and the outcome that each stands for.

use gaugeway_wire::Outcome;

/// A set of response flags, as `response.flags` tells them. Source: Envoy's `CoreResponseFlag`, whose numbers are the
/// bits' positions; the two-letter names are those of its access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u64);

const fn bits(positions: &[u32]) -> Flags {
    let mut bits = 0;
    let mut i = 0;
    while i < positions.len() {
        bits |= 1 << positions[i];
        i += 1;
    }
    Flags(bits)
}

const UH: u32 = 1;
const UT: u32 = 2;
const LR: u32 = 3;
const UR: u32 = 4;
const UF: u32 = 5;
const UC: u32 = 6;
const UO: u32 = 7;
const DC: u32 = 14;
const SI: u32 = 16;
const DPE: u32 = 18;
const UMSDR: u32 = 19;
const DT: u32 = 22;
const UPE: u32 = 23;
const NC: u32 = 24;
const OM: u32 = 25;
const DF: u32 = 26;
const DO: u32 = 27;
const DR: u32 = 28;

/// Nothing came in time: the route's or a try's time-out, idle, longest duration.
const TIMEOUT: Flags = bits(&[UT, SI, UMSDR, DT]);
/// No connection.
const CONNECT_FAILURE: Flags = bits(&[UF]);
/// The gateway's limits.
const OVERFLOW: Flags = bits(&[UO, OM, DO]);
/// No host, no cluster, no name.
const NO_ENDPOINT: Flags = bits(&[UH, NC, DF]);
/// The upstream's side ended, or spoke nonsense.
const RESET: Flags = bits(&[UC, UR, LR, UPE]);
/// The client's side ended.
const CLIENT_LEFT: Flags = bits(&[DC, DR, DPE]);

impl Flags {
    /// None set.
    pub const NONE: Self = Self(0);

    const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    /// The failure before the response headers that they tell of, most telling first. Flags that only say how a
    /// response came to be (retries used up, injected delays and faults, rate limits, authorisation) tell of none.
    #[must_use]
    pub const fn failure(self) -> Option<Outcome> {
        if self.any(TIMEOUT) {
            Some(Outcome::Timeout)
        } else if self.any(CONNECT_FAILURE) {
            Some(Outcome::ConnectFailure)
        } else if self.any(OVERFLOW) {
            Some(Outcome::Overflow)
        } else if self.any(NO_ENDPOINT) {
            Some(Outcome::NoEndpoint)
        } else if self.any(RESET) {
            Some(Outcome::Reset)
        } else {
            None
        }
    }

    /// Whether the client ended the request.
    #[must_use]
    pub const fn client_left(self) -> bool {
        self.any(CLIENT_LEFT)
    }

    /// Whether they tell that a request, whose flags at its response headers were `at_headers`, did not end well.
    #[must_use]
    pub const fn aborted_after(self, at_headers: Self) -> bool {
        let new = Self(self.0 & !at_headers.0);
        new.any(TIMEOUT) || new.any(RESET) || new.any(CLIENT_LEFT) || new.any(bits(&[OM]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_outcome() {
        let failures = [
            ("UH", 1, Some(Outcome::NoEndpoint)),
            ("UT", 2, Some(Outcome::Timeout)),
            ("LR", 3, Some(Outcome::Reset)),
            ("UR", 4, Some(Outcome::Reset)),
            ("UF", 5, Some(Outcome::ConnectFailure)),
            ("UC", 6, Some(Outcome::Reset)),
            ("UO", 7, Some(Outcome::Overflow)),
            ("NR", 8, None),
            ("DI", 9, None),
            ("FI", 10, None),
            ("RL", 11, None),
            ("UAEX", 12, None),
            ("RLSE", 13, None),
            ("DC", 14, None),
            ("URX", 15, None),
            ("SI", 16, Some(Outcome::Timeout)),
            ("IH", 17, None),
            ("DPE", 18, None),
            ("UMSDR", 19, Some(Outcome::Timeout)),
            ("RFCF", 20, None),
            ("NFCF", 21, None),
            ("DT", 22, Some(Outcome::Timeout)),
            ("UPE", 23, Some(Outcome::Reset)),
            ("NC", 24, Some(Outcome::NoEndpoint)),
            ("OM", 25, Some(Outcome::Overflow)),
            ("DF", 26, Some(Outcome::NoEndpoint)),
            ("DO", 27, Some(Outcome::Overflow)),
            ("DR", 28, None),
            ("UDO", 29, None),
        ];
        for (name, bit, outcome) in failures {
            assert_eq!(Flags(1 << bit).failure(), outcome, "{name}");
        }
        let retried_in_vain = Flags(1 << 5 | 1 << 15);
        assert_eq!(retried_in_vain.failure(), Some(Outcome::ConnectFailure));
    }

    #[test]
    fn only_what_came_after_the_headers_aborts() {
        let timeout = Flags(1 << 2);
        assert!(timeout.aborted_after(Flags::NONE));
        assert!(!timeout.aborted_after(timeout));
        assert!(Flags(1 << 2 | 1 << 14).aborted_after(timeout));
        assert!(!Flags(1 << 9 | 1 << 15).aborted_after(Flags::NONE));
    }
}

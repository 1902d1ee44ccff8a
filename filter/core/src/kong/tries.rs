//! nginx's lists of what happened at each upstream that a request was tried at.
//!
//! All of them have one place per try, in the same order: `a, b` for one after the other, `a : b` across an internal
//! redirect, `-` for what there was not. Nothing here can fail: what is not understood is absent.

use gaugeway_wire::Nanos;

/// Tries of one request that are told apart, the last ones; more are counted as unrecorded.
pub(super) const TRIES: usize = 16;

/// The places of a list.
#[derive(Clone, Debug)]
pub(super) struct Places<'a>(Option<&'a [u8]>);

impl<'a> Places<'a> {
    pub(super) const fn of(list: &'a [u8]) -> Self {
        Self(Some(list))
    }
}

impl<'a> Iterator for Places<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let at = (0..rest.len()).find_map(|at| {
            let tail = rest.get(at..)?;
            let long = match tail {
                [b',', ..] => 1,
                [b' ', b':', b' ', ..] | [b' ', b':'] => 2,
                _ => return None,
            };
            Some((at, long))
        });
        let Some((at, long)) = at else {
            self.0 = None;
            return Some(rest.trim_ascii());
        };
        let tail = rest.get(at + long..).unwrap_or_default();
        // A redirect that led nowhere ends the list.
        self.0 = Some(tail).filter(|tail| !tail.trim_ascii().is_empty());
        rest.get(..at).map(<[u8]>::trim_ascii)
    }
}

/// What one list says of each of the last [`TRIES`] tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column<T>([Option<T>; TRIES]);

impl<T: Copy> Column<T> {
    /// `first` is the number of the first try that is told apart.
    pub(super) fn read(
        list: Option<&[u8]>,
        first: usize,
        mut parse: impl FnMut(&[u8]) -> Option<T>,
    ) -> Self {
        let mut column = Self([None; TRIES]);
        let places = Places::of(list.unwrap_or_default()).skip(first);
        for (place, text) in column.0.iter_mut().zip(places) {
            *place = parse(text);
        }
        column
    }

    pub(super) fn get(&self, at: usize) -> Option<T> {
        self.0.get(at).copied().flatten()
    }

    /// Whether one of the first `count` is absent.
    pub(super) fn lacks_any(&self, count: usize) -> bool {
        self.0.iter().take(count).any(Option::is_none)
    }
}

/// Seconds with decimals, `0.044`; nginx writes three.
pub(super) fn time(text: &[u8]) -> Option<Nanos> {
    let (seconds, decimals) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (text.get(..point)?, text.get(point + 1..)?),
        None => (text, [].as_slice()),
    };
    if decimals.len() > 9 {
        return None;
    }
    let scale = 10u64.pow(9 - u32::try_from(decimals.len()).ok()?);
    let fraction = match decimals {
        [] => 0,
        _ => number(decimals)?,
    };
    let nanos = number(seconds)?.checked_mul(1_000_000_000)?;
    nanos.checked_add(fraction.checked_mul(scale)?).map(Nanos)
}

/// An HTTP status, three digits.
pub(super) fn status(text: &[u8]) -> Option<u64> {
    (text.len() == 3).then(|| number(text))?
}

/// Whether an address is one: nginx names its upstream block where no peer was alive.
pub(super) fn is_address(text: &[u8]) -> bool {
    let port = text.iter().rposition(|&byte| byte == b':');
    let port = port.and_then(|colon| number(text.get(colon + 1..)?));
    text.starts_with(b"unix:/") || port.is_some()
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    core::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places(list: &str) -> Vec<&str> {
        let places = Places::of(list.as_bytes());
        places
            .map(|place| core::str::from_utf8(place).unwrap())
            .collect()
    }

    #[test]
    fn one_place_per_try() {
        assert_eq!(places("10.0.0.1:80"), ["10.0.0.1:80"]);
        assert_eq!(places("-, 0.003"), ["-", "0.003"]);
        assert_eq!(
            places("[::1]:80, unix:/run/a.sock : 10.0.0.2:80, 10.0.0.3:80"),
            ["[::1]:80", "unix:/run/a.sock", "10.0.0.2:80", "10.0.0.3:80"]
        );
        assert_eq!(places("0.001 : "), ["0.001"]);
        assert_eq!(places("0.001 :"), ["0.001"]);
        assert_eq!(places(", 10.0.0.2:80"), ["", "10.0.0.2:80"]);
        assert_eq!(places(""), [""]);
    }

    #[test]
    fn times_are_seconds_with_decimals() {
        for (text, nanos) in [
            ("0.000", Some(0)),
            ("0.044", Some(44_000_000)),
            ("60.001", Some(60_001_000_000)),
            ("7", Some(7_000_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("-", None),
            ("", None),
            (".5", None),
            ("1,5", None),
            ("-1.000", None),
            ("+1.000", None),
            ("1.0000000001", None),
            ("99999999999999999999.000", None),
        ] {
            assert_eq!(time(text.as_bytes()), nanos.map(Nanos), "{text}");
        }
    }

    #[test]
    fn statuses_and_addresses() {
        let statuses = ["200", "-", "", "20", "2000", "2x0"].map(|text| status(text.as_bytes()));
        assert_eq!(statuses, [Some(200), None, None, None, None, None]);
        for (text, so) in [
            ("10.0.0.1:80", true),
            ("[2001:db8::1]:8080", true),
            ("unix:/run/a.sock", true),
            ("kong_upstream", false),
            ("httproute.demo.web.0", false),
            ("", false),
            ("a:", false),
        ] {
            assert_eq!(is_address(text.as_bytes()), so, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_list_is_too_odd(list in proptest::collection::vec(any::<u8>(), 0..200)) {
            for place in Places::of(&list) {
                let _ = (time(place), status(place), is_address(place));
            }
        }

        /// What nginx writes is what is read.
        #[test]
        fn lists_are_read_as_they_were_written(
            tries in proptest::collection::vec((proptest::option::of(0u64..100_000_000), any::<bool>()), 1..TRIES)
        ) {
            let mut list = String::new();
            for (at, &(ms, redirected)) in tries.iter().enumerate() {
                if at > 0 {
                    list.push_str(if redirected { " : " } else { ", " });
                }
                match ms {
                    Some(ms) => list.push_str(&format!("{}.{:03}", ms / 1_000, ms % 1_000)),
                    None => list.push('-'),
                }
            }
            let column = Column::read(Some(list.as_bytes()), 0, time);
            for (at, &(ms, _)) in tries.iter().enumerate() {
                prop_assert_eq!(column.get(at), ms.map(Nanos::from_millis));
            }
            prop_assert_eq!(column.get(tries.len()), None);
        }
    }
}

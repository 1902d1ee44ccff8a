//! Any bytes at all: decoders answer, they do not panic, and what they accept prost reads the same way.

use gaugeway_wire::Policy;
use proptest::{collection, prelude::*};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{agreement, golden};

/// Reads `bytes` as every message.
fn read_as_everything(bytes: &[u8]) {
    for (_, check) in agreement::CHECKS {
        check(bytes);
    }
}

fn samples() -> Vec<Vec<u8>> {
    let mut request = Vec::new();
    golden::mapping_request().encode(&mut request);
    let answer = golden::answer().encode();
    let mut report_answer = Vec::new();
    golden::report_answer(&answer).encode(&mut report_answer);
    let mut policy = Vec::new();
    Policy::default().encode(&mut policy);
    vec![
        golden::report().encode(),
        answer,
        request,
        golden::report_call(),
        report_answer,
        policy,
        golden::target().encode(),
    ]
}

/// A small generator (SplitMix64), so that a failure's seed names its bytes for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        let edges = [0, 1, 2, 7, 8, 0x7f, 0x80, 0xfe, 0xff];
        let any = self.next().to_le_bytes()[0];
        let edge = edges[self.below(edges.len())];
        if self.below(2) == 0 { any } else { edge }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len());
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, self.byte()),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => {
                let from = self.below(other.len());
                let length = self.below(other.len() - from).min(64);
                bytes.splice(at..at, other[from..from + length].iter().copied());
            }
            4 => {
                let end = (at + self.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            _ if !bytes.is_empty() => {
                let byte = self.byte();
                bytes[at] = if self.below(2) == 0 {
                    byte
                } else {
                    bytes[at] ^ 1 << (byte & 7)
                };
            }
            _ => {}
        }
    }
}

/// Each seed is one mutated message.
fn mutated(seed: u64, samples: &[Vec<u8>]) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes = samples[random.below(samples.len())].clone();
    for _ in 0..=random.below(4) {
        let other = random.below(samples.len());
        random.mutate(&mut bytes, &samples[other]);
    }
    bytes
}

#[test]
fn mutated_messages_never_panic() {
    let samples = samples();
    for seed in 0..20_000 {
        let bytes = mutated(seed, &samples);
        if std::panic::catch_unwind(|| read_as_everything(&bytes)).is_err() {
            panic!("seed {seed}: {bytes:02x?}");
        }
    }
}

#[test]
fn every_truncation_is_an_answer() {
    for sample in samples() {
        for end in 0..=sample.len() {
            read_as_everything(&sample[..end]);
        }
    }
}

#[test]
fn every_flipped_bit_is_an_answer() {
    for sample in samples() {
        for at in 0..sample.len() {
            for bit in 0..8 {
                let mut bytes = sample.clone();
                bytes[at] ^= 1 << bit;
                read_as_everything(&bytes);
            }
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in collection::vec(any::<u8>(), 0..400)) {
        read_as_everything(&bytes);
    }

    /// Fields with plausible tags and lengths get further in than plain noise.
    #[test]
    fn random_fields_never_panic(fields in collection::vec((1_u8..10, 0_u8..6, any::<Vec<u8>>()), 0..40)) {
        let mut bytes = Vec::new();
        for (field, wire, content) in fields {
            bytes.push(field << 3 | wire);
            if wire == 2 {
                gaugeway_wire::codec::put_varint(&mut bytes, content.len() as u64);
            }
            bytes.extend(content);
        }
        read_as_everything(&bytes);
    }
}

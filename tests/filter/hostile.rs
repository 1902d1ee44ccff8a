//! Answers that no controller gives: valid ones with damage, and bytes made by hand to hurt a decoder, its tables or its
//! clock.

use gaugeway_guest::controller::Fate;
use gaugeway_wire_oracle::{
    Candidate, MappingAnswer, MappingEntry, Message, Policy, ReportAnswer, TargetDefinition,
};
use rand::{Rng as _, RngExt as _, rngs::SmallRng};

use crate::scene::address;

/// An answer of status 200 with this body.
fn answer(body: Vec<u8>) -> Fate {
    Fate::Answer { status: 200, body }
}

/// Whatever a network, a proxy or an enemy may answer.
pub(crate) fn any_fate(rng: &mut SmallRng) -> Fate {
    match rng.random_range(0..10) {
        0..=2 => Fate::Garble(rng.next_u64()),
        3 => answer(any_mapping(rng)),
        4 => answer(any_report_answer(rng)),
        5 => answer(by_hand(rng)),
        6 => Fate::Answer {
            status: rng.random_range(0..1_000),
            body: by_hand(rng),
        },
        7 => Fate::LoseAnswer,
        8 => Fate::Duplicate,
        _ => Fate::Reset,
    }
}

/// Bytes around which decoders go wrong.
fn by_hand(rng: &mut SmallRng) -> Vec<u8> {
    let huge = [0xff; 9];
    let length = |tag: u8, bytes: &[u8]| [&[tag], bytes].concat();
    let made: [Vec<u8>; 16] = [
        Vec::new(),
        vec![0],
        vec![0xff; 10],
        vec![0x80; 100],
        // Lengths beyond the end, at the edge of 32 and of 64 bits.
        length(0x3a, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        length(0x32, &[&huge[..], &[1]].concat()),
        length(0x2a, &[0xff, 0xff, 0xff, 0xff, 0x07]),
        // Empty submessages: an amplification for a decoder that allocates for each.
        [0x3a, 0].repeat(30_000),
        [0x32, 0].repeat(30_000),
        [0x1a, 8, 1, 2, 3, 4, 5, 6, 7, 8].repeat(6_000),
        // Groups, and a field number 0.
        vec![0x0b, 0x0c],
        vec![0x03, 0x01],
        // A fixed64 cut short.
        vec![0x09, 1, 2, 3],
        b"<html><body>503 Service Unavailable</body></html>".to_vec(),
        vec![0x08; 70_000],
        (0..65_536_u32).flat_map(u32::to_le_bytes).collect(),
    ];
    made[rng.random_range(0..made.len())].clone()
}

fn any_number(rng: &mut SmallRng) -> u64 {
    match rng.random_range(0..6) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => i64::MAX.cast_unsigned(),
        _ => rng.next_u64() >> rng.random_range(0..64_u32),
    }
}

fn any_mapping(rng: &mut SmallRng) -> Vec<u8> {
    let entries = rng.random_range(0..40);
    let message = MappingAnswer {
        mapping_epoch: if rng.random_bool(0.7) {
            1
        } else {
            any_number(rng)
        },
        generation: any_number(rng),
        answer: any_number(rng),
        more: rng.random_bool(0.5),
        policy: rng.random_bool(0.3).then(|| any_policy(rng)),
        targets: (0..rng.random_range(0..20))
            .map(|_| any_definition(rng))
            .collect(),
        entries: (0..entries).map(|_| any_entry(rng)).collect(),
    };
    message.encode_to_vec()
}

fn any_policy(rng: &mut SmallRng) -> Policy {
    let bounds = rng.random_range(0..70);
    let mut bounds: Vec<u64> = (0..bounds)
        .map(|_| any_number(rng) % 100_000_000_000_000)
        .collect();
    if rng.random_bool(0.7) {
        bounds.sort_unstable();
        bounds.dedup();
    }
    Policy {
        schema: rng.random_range(0..8),
        classic_bounds_ns: bounds,
        report_interval_ms: [0, 50, 1_000, 5_000, 3_600_001, u32::MAX][rng.random_range(0..6)],
        route: rng.random_bool(0.5),
        unknown_grace_ms: [0, 1, 10_000, u32::MAX][rng.random_range(0..4)],
    }
}

fn any_definition(rng: &mut SmallRng) -> TargetDefinition {
    let mut target = vec![0; rng.random_range(0..2_100)];
    rng.fill_bytes(&mut target);
    TargetDefinition {
        fingerprint: any_fingerprint(rng),
        target,
    }
}

/// Few of them, so that they meet again.
fn any_fingerprint(rng: &mut SmallRng) -> u64 {
    match rng.random_range(0..4) {
        0 => any_number(rng),
        _ => rng.random_range(0..64),
    }
}

fn any_entry(rng: &mut SmallRng) -> MappingEntry {
    let key = match rng.random_range(0..6) {
        0 => String::new(),
        1 => "cluster:".to_owned(),
        2 => "cluster:demo/app/80".to_owned(),
        3 => "\u{10ffff}".repeat(rng.random_range(0..200)),
        _ => address(rng.random_range(0..50)),
    };
    let candidates = [0, 1, 1, 2, 3, 16, 17][rng.random_range(0..7)];
    MappingEntry {
        key,
        candidates: (0..candidates).map(|_| any_candidate(rng)).collect(),
        age_ms: any_number(rng),
        previous: rng.random_bool(0.4).then(|| any_fingerprint(rng)),
    }
}

fn any_candidate(rng: &mut SmallRng) -> Candidate {
    let hints = [0, 0, 1, 2, 64, 65][rng.random_range(0..6)];
    let hint = |rng: &mut SmallRng| match rng.random_range(0..3) {
        0 => "demo/app/80".to_owned(),
        1 => String::new(),
        _ => "h".repeat(rng.random_range(0..300)),
    };
    Candidate {
        target: any_fingerprint(rng),
        hints: (0..hints).map(|_| hint(rng)).collect(),
    }
}

fn any_report_answer(rng: &mut SmallRng) -> Vec<u8> {
    let undefined = [0, 1, 100, 1_024, 1_025, 9_000][rng.random_range(0..6)];
    let mapping = rng.random_bool(0.3).then(|| any_mapping(rng));
    let message = ReportAnswer {
        ledger_epoch: any_number(rng),
        seq: any_number(rng),
        undefined: (0..undefined).map(|_| any_fingerprint(rng)).collect(),
        mapping: mapping.and_then(|bytes| MappingAnswer::decode(&*bytes).ok()),
        rejected_series: any_number(rng),
    };
    message.encode_to_vec()
}

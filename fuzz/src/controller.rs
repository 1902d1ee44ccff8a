//! What the controller reads of Kubernetes objects.

use std::collections::BTreeSet;

use gaugeway_controller::source::manifests;
use gaugeway_index::{Index, Moment, Object, RecordingPolicy};
use gaugeway_operator::{Policy, crd::LatencyPolicy};

/// A policy that is accepted keeps the bounds of its definition, and means the same after being written and read again;
/// one that is not says why.
pub(crate) fn latency_policy(bytes: &[u8]) -> bool {
    let Ok(object) = serde_json::from_slice::<LatencyPolicy>(bytes) else {
        return false;
    };
    let checked = Policy::check(&object);
    let written = serde_json::to_vec(&object).unwrap();
    let again: LatencyPolicy = serde_json::from_slice(&written).unwrap();
    assert_eq!(Policy::check(&again), checked);
    match checked {
        Ok(policy) => {
            assert!((1..=16).contains(&policy.targets.len()));
            assert!(policy.labels.len() <= 16 && policy.object_labels.len() <= 16);
            let interval = policy.settings.report_interval;
            assert!(interval.is_none_or(|time| (1_000..=3_600_000).contains(&time.as_millis())));
        }
        Err(invalid) => {
            assert!(!invalid.problems.is_empty());
            assert!(invalid.problems.iter().all(|problem| !problem.is_empty()));
        }
    }
    true
}

/// A file is good as a whole or bad with its reasons. What a good one names comes into the index and goes again, and
/// nothing of it stays.
pub(crate) fn manifests(bytes: &[u8]) -> bool {
    let Some((format, text)) = bytes.split_first() else {
        return false;
    };
    let Ok(text) = str::from_utf8(text) else {
        return false;
    };
    match manifests::read(text, format % 2 == 1) {
        Ok(objects) => {
            come_and_go(&objects);
            !objects.is_empty()
        }
        Err(problems) => {
            assert!((1..=10).contains(&problems.len()));
            assert!(problems.iter().all(|problem| !problem.is_empty()));
            false
        }
    }
}

fn come_and_go(objects: &[Object]) {
    const DAY: u64 = 86_400_000_000_000;
    let mut index = Index::new(RecordingPolicy::default());
    for object in objects {
        let _ = index.apply(object, Moment(DAY));
    }
    let there = index.counts();
    let last: BTreeSet<_> = objects.iter().map(Object::id).collect();
    for id in &last {
        let _ = index.delete(id, Moment(2 * DAY));
    }
    let _ = index.advance(Moment(9 * DAY));
    let gone = index.counts();
    assert_eq!(
        gone,
        gaugeway_index::Counts {
            forgotten: gone.forgotten,
            ..gaugeway_index::Counts::default()
        },
        "of {there:?}"
    );
}

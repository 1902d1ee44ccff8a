//! What must hold of any bytes at all: decoders answer, they do not panic, and what they accept prost reads the same way.

use gaugeway_wire::{
    FilterCounter, MappingAnswer, MappingRequest, Policy, Report, ReportAnswer, ReportCall,
    RequestClass, Target,
};
use gaugeway_wire_oracle::{self as pb, Message};

use crate::models;

/// Each returns whether the bytes were accepted.
pub(crate) type Check = fn(&[u8]) -> bool;

/// One for every message.
pub(crate) const CHECKS: [(&str, Check); 7] = [
    ("report", report),
    ("mapping_answer", mapping_answer),
    ("mapping_request", mapping_request),
    ("report_call", report_call),
    ("report_answer", report_answer),
    ("policy", policy),
    ("target", target),
];

pub(crate) fn report(bytes: &[u8]) -> bool {
    let Ok(report) = Report::decode(bytes) else {
        return false;
    };
    let theirs = without_later(pb::Report::decode(bytes).unwrap());
    assert_eq!(models::read_report(&report), theirs);
    true
}

pub(crate) fn mapping_answer(bytes: &[u8]) -> bool {
    let Ok(answer) = MappingAnswer::decode(bytes) else {
        return false;
    };
    let mut theirs = pb::MappingAnswer::decode(bytes).unwrap();
    for entry in &mut theirs.entries {
        // Ages are kept in nanoseconds: the longest is 584 years.
        entry.age_ms = entry.age_ms.min(u64::MAX / 1_000_000);
    }
    assert_eq!(models::read_answer(&answer), theirs);
    answer.targets().for_each(|target| drop(target.resolve()));
    true
}

pub(crate) fn mapping_request(bytes: &[u8]) -> bool {
    let Ok(request) = MappingRequest::decode(bytes) else {
        return false;
    };
    let theirs = pb::MappingRequest::decode(bytes).unwrap();
    assert_eq!(models::pb_request(&request), theirs);
    true
}

pub(crate) fn report_call(bytes: &[u8]) -> bool {
    let Ok(call) = ReportCall::decode(bytes) else {
        return false;
    };
    let theirs = pb::ReportCall::decode(bytes).unwrap();
    assert_eq!(models::read_call(&call), theirs);
    report(call.report);
    call.definitions().for_each(|target| drop(target.resolve()));
    true
}

pub(crate) fn report_answer(bytes: &[u8]) -> bool {
    let Ok(answer) = ReportAnswer::decode(bytes) else {
        return false;
    };
    if !answer.mapping.is_none_or(mapping_answer) {
        // Only its own decoder looks into the mapping's part.
        return false;
    }
    let theirs = pb::ReportAnswer {
        mapping: None,
        ..pb::ReportAnswer::decode(bytes).unwrap()
    };
    assert_eq!(models::read_report_answer(&answer), theirs);
    true
}

pub(crate) fn policy(bytes: &[u8]) -> bool {
    let Ok(policy) = Policy::decode(bytes) else {
        return false;
    };
    let theirs = pb::Policy::decode(bytes).unwrap();
    assert_eq!(models::pb_policy(&policy), theirs);
    true
}

pub(crate) fn target(bytes: &[u8]) -> bool {
    let Ok(target) = Target::decode(bytes) else {
        return false;
    };
    let mut theirs = pb::Target::decode(bytes).unwrap();
    theirs.labels.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(models::pb_target(&target), theirs);
    true
}

/// Without what this version passes over, and with an empty histogram as none.
fn without_later(mut report: pb::Report) -> pb::Report {
    report.counters = pairs(&report.counters, |n| {
        FilterCounter::from_number(n).is_some()
    });
    for series in &mut report.series {
        series.requests = pairs(&series.requests, |n| RequestClass::from_index(n).is_some());
        series.latency = series
            .latency
            .take()
            .filter(|latency| *latency != pb::Histogram::default());
    }
    report
}

fn pairs(numbers: &[u64], keep: impl Fn(u64) -> bool) -> Vec<u64> {
    let kept = numbers.chunks(2).filter(|pair| keep(pair[0]));
    kept.flatten().copied().collect()
}

//! Each bound of `limits`: at it accepted, one over it refused, and the writers never pass it.

use gaugeway_wire::{
    Answer, DecodeError, Fingerprint, Generation, Histogram, Label, Layout, MappingAnswer,
    MappingEpoch, MappingRequest, Nanos, Policy, Report, ReportAnswer, ReportCall, Schema, Seq,
    Target, TargetDefinition, TargetKind, UnixNanos,
    histogram::bucket_range,
    limits::{
        CANDIDATES, CLASSIC_BOUNDS, DEFINITIONS, HINTS, KEY_BYTES, KEYS_PER_REQUEST,
        LABEL_NAME_BYTES, LABEL_VALUE_BYTES, LABELS, MESSAGE_BYTES, REPORT_ANSWER_BYTES,
        REQUEST_BYTES, ROUTE_BYTES, SPAN_NS, TARGET_BYTES, UNDEFINED,
    },
    mapping::{MappingAnswerWriter, OwnedCandidate},
    report::{FilterCounter, ReportWriter},
    target::TargetError,
};
use gaugeway_wire_oracle::{self as pb, Message};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{golden, models::SeriesModel};

fn report(change: impl FnOnce(&mut pb::Report)) -> Result<(), DecodeError> {
    let mut message = golden::report().pb();
    change(&mut message);
    Report::decode(&message.encode_to_vec()).map(drop)
}

fn series(change: impl FnOnce(&mut pb::Series)) -> Result<(), DecodeError> {
    report(|report| change(&mut report.series[0]))
}

fn latency(change: impl FnOnce(&mut pb::Histogram)) -> Result<(), DecodeError> {
    series(|series| change(series.latency.as_mut().unwrap()))
}

fn answer(change: impl FnOnce(&mut pb::MappingAnswer)) -> Result<(), DecodeError> {
    let mut message = golden::answer().pb();
    change(&mut message);
    MappingAnswer::decode(&message.encode_to_vec()).map(drop)
}

fn request(change: impl FnOnce(&mut MappingRequest)) -> Result<(), DecodeError> {
    let mut message = golden::mapping_request();
    change(&mut message);
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    MappingRequest::decode(&bytes).map(drop)
}

fn policy(change: impl FnOnce(&mut pb::Policy)) -> Result<(), DecodeError> {
    let mut message = crate::models::pb_policy(&Policy::default());
    change(&mut message);
    Policy::decode(&message.encode_to_vec()).map(drop)
}

/// An unknown field of so many bytes in all (more than 5).
fn padding(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    gaugeway_wire::codec::put_bytes(&mut out, 100, &vec![0; length]);
    out.truncate(0);
    let mut content = length - 3;
    loop {
        out.clear();
        gaugeway_wire::codec::put_bytes(&mut out, 100, &vec![0; content]);
        if out.len() <= length {
            break;
        }
        content -= 1;
    }
    assert_eq!(out.len(), length);
    out
}

fn padded(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    let missing = length - bytes.len();
    bytes.extend(padding(missing));
    bytes
}

#[test]
fn message_bytes() {
    let full = padded(golden::report().encode(), MESSAGE_BYTES);
    assert!(Report::decode(&full).is_ok());
    let over = padded(golden::report().encode(), MESSAGE_BYTES + 1);
    assert_eq!(
        Report::decode(&over).unwrap_err(),
        DecodeError::Bound("Report")
    );

    let full = padded(golden::answer().encode(), MESSAGE_BYTES);
    assert!(MappingAnswer::decode(&full).is_ok());
    let over = padded(golden::answer().encode(), MESSAGE_BYTES + 1);
    assert_eq!(
        MappingAnswer::decode(&over).unwrap_err(),
        DecodeError::Bound("MappingAnswer")
    );

    let call = |length| pb::ReportCall {
        report: vec![0; length],
        ..pb::ReportCall::default()
    };
    assert!(ReportCall::decode(&call(MESSAGE_BYTES).encode_to_vec()).is_ok());
    let over = ReportCall::decode(&call(MESSAGE_BYTES + 1).encode_to_vec()).map(drop);
    assert_eq!(over, Err(DecodeError::Bound("ReportCall.report")));
}

#[test]
fn request_and_answer_bytes() {
    let full = padded(golden::report_call(), REQUEST_BYTES);
    assert!(ReportCall::decode(&full).is_ok());
    let over = padded(golden::report_call(), REQUEST_BYTES + 1);
    assert_eq!(
        ReportCall::decode(&over).unwrap_err(),
        DecodeError::Bound("ReportCall")
    );

    let mut bytes = Vec::new();
    golden::mapping_request().encode(&mut bytes);
    assert!(MappingRequest::decode(&padded(bytes.clone(), REQUEST_BYTES)).is_ok());
    let over = MappingRequest::decode(&padded(bytes, REQUEST_BYTES + 1));
    assert_eq!(over, Err(DecodeError::Bound("MappingRequest")));

    let mut bytes = Vec::new();
    golden::report_answer(&[]).encode(&mut bytes);
    assert!(ReportAnswer::decode(&padded(bytes.clone(), REPORT_ANSWER_BYTES)).is_ok());
    let over = padded(bytes, REPORT_ANSWER_BYTES + 1);
    assert_eq!(
        ReportAnswer::decode(&over),
        Err(DecodeError::Bound("ReportAnswer"))
    );
}

#[test]
fn keys_per_request_and_key_bytes() {
    let keys = |count| vec!["k".to_owned(); count];
    assert_eq!(request(|r| r.subscribe = keys(KEYS_PER_REQUEST)), Ok(()));
    assert_eq!(request(|r| r.release = keys(KEYS_PER_REQUEST)), Ok(()));
    assert_eq!(
        request(|r| r.subscribe = keys(KEYS_PER_REQUEST + 1)),
        Err(DecodeError::Bound("MappingRequest.subscribe"))
    );
    assert_eq!(
        request(|r| r.release = keys(KEYS_PER_REQUEST + 1)),
        Err(DecodeError::Bound("MappingRequest.release"))
    );
    let key = |length| vec!["k".repeat(length)];
    assert_eq!(request(|r| r.subscribe = key(KEY_BYTES)), Ok(()));
    let (over, empty) = (key(KEY_BYTES + 1), key(0));
    assert_eq!(
        request(|r| r.subscribe = over),
        Err(DecodeError::Bound("MappingRequest.subscribe"))
    );
    assert_eq!(
        request(|r| r.subscribe = empty),
        Err(DecodeError::Value("MappingRequest.subscribe"))
    );
    assert_eq!(answer(|a| a.entries[0].key = "k".repeat(KEY_BYTES)), Ok(()));
    assert_eq!(
        answer(|a| a.entries[0].key = "k".repeat(KEY_BYTES + 1)),
        Err(DecodeError::Bound("MappingEntry.key"))
    );
}

#[test]
fn candidates_and_hints() {
    let candidate = |hints| pb::Candidate { target: 1, hints };
    let candidates = |count| vec![candidate(vec![]); count];
    assert_eq!(
        answer(|a| a.entries[0].candidates = candidates(CANDIDATES)),
        Ok(())
    );
    assert_eq!(
        answer(|a| a.entries[0].candidates = candidates(CANDIDATES + 1)),
        Err(DecodeError::Bound("MappingEntry.candidates"))
    );
    let hinted = |count, length| vec![candidate(vec!["h".repeat(length); count])];
    assert_eq!(
        answer(|a| a.entries[0].candidates = hinted(HINTS, 1)),
        Ok(())
    );
    assert_eq!(
        answer(|a| a.entries[0].candidates = hinted(HINTS + 1, 1)),
        Err(DecodeError::Bound("Candidate.hints"))
    );
    assert_eq!(
        answer(|a| a.entries[0].candidates = hinted(1, KEY_BYTES)),
        Ok(())
    );
    assert_eq!(
        answer(|a| a.entries[0].candidates = hinted(1, KEY_BYTES + 1)),
        Err(DecodeError::Bound("Candidate.hints"))
    );
}

#[test]
fn definitions_and_target_bytes() {
    let define = |length| pb::TargetDefinition {
        fingerprint: 1,
        target: vec![0; length],
    };
    let mut bytes = Vec::new();
    let mut call = |definitions| {
        let message = pb::ReportCall {
            definitions,
            ..pb::ReportCall::default()
        };
        bytes = message.encode_to_vec();
        ReportCall::decode(&bytes).map(|call| call.definitions().count())
    };
    assert_eq!(call(vec![define(0); DEFINITIONS]), Ok(DEFINITIONS));
    let over = Err(DecodeError::Bound("ReportCall.definitions"));
    assert_eq!(call(vec![define(0); DEFINITIONS + 1]), over);
    assert_eq!(call(vec![define(TARGET_BYTES)]), Ok(1));
    let over = Err(DecodeError::Bound("TargetDefinition.target"));
    assert_eq!(call(vec![define(TARGET_BYTES + 1)]), over);
    assert_eq!(answer(|a| a.targets = vec![define(0); DEFINITIONS]), Ok(()));
    assert_eq!(
        answer(|a| a.targets = vec![define(0); DEFINITIONS + 1]),
        Err(DecodeError::Bound("MappingAnswer.targets"))
    );
}

#[test]
fn undefined() {
    let answer = |count| {
        let message = pb::ReportAnswer {
            undefined: vec![1; count],
            ..pb::ReportAnswer::default()
        };
        ReportAnswer::decode(&message.encode_to_vec()).map(|answer| answer.undefined.len())
    };
    assert_eq!(answer(UNDEFINED), Ok(UNDEFINED));
    assert_eq!(
        answer(UNDEFINED + 1),
        Err(DecodeError::Bound("ReportAnswer.undefined"))
    );
}

#[test]
fn labels() {
    let labels = |count: usize, name: usize, value: usize| {
        let labels = (0..count).map(|number| pb::Label {
            name: format!("label_{number:0>0$}", name - "label_".len()),
            value: "v".repeat(value),
        });
        let message = pb::Target {
            kind: 0,
            labels: labels.collect(),
        };
        Target::decode(&message.encode_to_vec()).map(|target| target.labels().len())
    };
    assert_eq!(labels(LABELS, 8, 1), Ok(LABELS));
    assert_eq!(
        labels(LABELS + 1, 8, 1),
        Err(DecodeError::Bound("Target.labels"))
    );
    assert_eq!(labels(1, LABEL_NAME_BYTES, 1), Ok(1));
    assert_eq!(
        labels(1, LABEL_NAME_BYTES + 1, 1),
        Err(DecodeError::Bound("Label.name"))
    );
    assert_eq!(labels(1, 8, LABEL_VALUE_BYTES), Ok(1));
    assert_eq!(
        labels(1, 8, LABEL_VALUE_BYTES + 1),
        Err(DecodeError::Bound("Label.value"))
    );
    assert_eq!(
        labels(4, 8, LABEL_VALUE_BYTES),
        Err(DecodeError::Bound("Target"))
    );
}

#[test]
fn made_targets_keep_the_bounds_too() {
    let target = |count: usize, name: usize, value: usize| {
        let labels = (0..count).map(|number| Label {
            name: format!("label_{number:0>0$}", name - "label_".len()).into(),
            value: "v".repeat(value),
        });
        Target::try_new(TargetKind::Kubernetes, labels.collect())
            .map(|target| target.encode().len())
    };
    assert!(target(LABELS, 8, 40).is_ok_and(|length| length <= TARGET_BYTES));
    assert_eq!(
        target(LABELS + 1, 8, 1),
        Err(TargetError::Bound("the number of labels"))
    );
    assert_eq!(
        target(1, LABEL_NAME_BYTES + 1, 1),
        Err(TargetError::Bound("a label's name"))
    );
    assert_eq!(
        target(1, 8, LABEL_VALUE_BYTES + 1),
        Err(TargetError::Bound("a label's value"))
    );
    assert_eq!(
        target(4, 8, LABEL_VALUE_BYTES),
        Err(TargetError::Bound("the target"))
    );
}

#[test]
fn route_bytes() {
    assert_eq!(series(|s| s.route = "r".repeat(ROUTE_BYTES)), Ok(()));
    let over = Err(DecodeError::Bound("Series.route"));
    assert_eq!(series(|s| s.route = "r".repeat(ROUTE_BYTES + 1)), over);
}

#[test]
fn classic_bounds() {
    let bounds = |count: u64| (1..=count).collect::<Vec<_>>();
    let at = CLASSIC_BOUNDS as u64;
    let empty = |r: &mut pb::Report, bounds| {
        r.series.clear();
        r.classic_bounds_ns = bounds;
    };
    assert_eq!(report(|r| empty(r, bounds(at))), Ok(()));
    let over = Err(DecodeError::Bound("Report.classic_bounds_ns"));
    assert_eq!(report(|r| empty(r, bounds(at + 1))), over);
    let illegal = Err(DecodeError::Value("Report.classic_bounds_ns"));
    for bounds in [vec![0], vec![2, 1], vec![1, 1], vec![Nanos::DAY.0 + 1]] {
        assert_eq!(report(|r| empty(r, bounds)), illegal);
    }
    assert_eq!(policy(|p| p.classic_bounds_ns = bounds(at)), Ok(()));
    let over = Err(DecodeError::Bound("Policy.classic_bounds_ns"));
    assert_eq!(policy(|p| p.classic_bounds_ns = bounds(at + 1)), over);
}

#[test]
fn policy_values() {
    assert_eq!(policy(|p| p.schema = 5), Ok(()));
    assert_eq!(
        policy(|p| p.schema = 6),
        Err(DecodeError::Value("Policy.schema"))
    );
    for (interval, legal) in [
        (0, false),
        (49, false),
        (50, true),
        (3_600_000, true),
        (3_600_001, false),
    ] {
        assert_eq!(
            policy(|p| p.report_interval_ms = interval).is_ok(),
            legal,
            "{interval} ms"
        );
    }
}

#[test]
fn span() {
    assert_eq!(report(|r| r.to_ns = r.from_ns), Ok(()));
    assert_eq!(report(|r| r.to_ns = r.from_ns + SPAN_NS), Ok(()));
    let over = Err(DecodeError::Bound("Report.to_ns"));
    assert_eq!(report(|r| r.to_ns = r.from_ns + SPAN_NS + 1), over);
    let back = Err(DecodeError::Value("Report.to_ns"));
    assert_eq!(report(|r| r.to_ns = r.from_ns - 1), back);
}

#[test]
fn identity() {
    assert_eq!(
        report(|r| r.seq = 0),
        Err(DecodeError::Missing("Report.seq"))
    );
    assert_eq!(
        report(|r| r.vm.clear()),
        Err(DecodeError::Missing("Report.vm"))
    );
    assert_eq!(
        report(|r| r.vm.push(0)),
        Err(DecodeError::Value("Report.vm"))
    );
    assert_eq!(
        report(|r| r.schema = 6),
        Err(DecodeError::Value("Report.schema"))
    );
    assert_eq!(
        series(|s| s.target = 0),
        Err(DecodeError::Missing("Series.target"))
    );
}

#[test]
fn native_index_range() {
    for schema in (0..=5).filter_map(Schema::try_new) {
        let range = bucket_range(schema);
        let at = |index: i32| {
            report(|r| {
                r.schema = schema.get().into();
                let latency = r.series[0].latency.as_mut().unwrap();
                let zigzag = if index < 0 {
                    -i64::from(index) * 2 - 1
                } else {
                    i64::from(index) * 2
                };
                latency.native = vec![u64::try_from(zigzag).unwrap(), 1];
                latency.classic = vec![0, 1];
                latency.zero_count = 0;
            })
        };
        assert_eq!(at(*range.start()), Ok(()));
        assert_eq!(at(*range.end()), Ok(()));
        let outside = Err(DecodeError::Value("Histogram.native"));
        assert_eq!(at(*range.start() - 1), outside);
        assert_eq!(at(*range.end() + 1), outside);
    }
}

#[test]
fn classic_position_range() {
    let infinite = golden::report().layout.bounds.len() as u64;
    let at = |position| {
        latency(|l| {
            l.zero_count = 0;
            l.native = vec![0, 1];
            l.classic = vec![position, 1];
        })
    };
    assert_eq!(at(infinite), Ok(()));
    assert_eq!(
        at(infinite + 1),
        Err(DecodeError::Value("Histogram.classic"))
    );
    assert_eq!(at(u64::MAX), Err(DecodeError::Value("Histogram.classic")));
}

#[test]
fn counts_that_do_not_add_up() {
    let native = Err(DecodeError::Value("Histogram.native"));
    let classic = Err(DecodeError::Value("Histogram.classic"));
    assert_eq!(latency(|l| l.zero_count += 1), classic);
    assert_eq!(latency(|l| l.native[1] += 1), classic);
    assert_eq!(latency(|l| l.classic[1] += 1), classic);
    assert_eq!(latency(|l| l.native[1] = 0), native);
    assert_eq!(latency(|l| l.native[2] = 0), native);
    assert_eq!(latency(|l| l.native[1] = u64::MAX), native);
    assert_eq!(latency(|l| l.classic[1] = u64::MAX), classic);
    assert_eq!(latency(|l| l.native[2] = u64::MAX), native);
    let none = pb::Histogram {
        sum_ns: 1,
        ..pb::Histogram::default()
    };
    assert_eq!(
        latency(|l| *l = none),
        Err(DecodeError::Value("Histogram.sum_ns"))
    );
}

#[test]
fn request_counts() {
    let refused = Err(DecodeError::Value("Series.requests"));
    assert_eq!(series(|s| s.requests = vec![2, 1, 3, 1]), Ok(()));
    assert_eq!(series(|s| s.requests = vec![3, 1, 2, 1]), refused);
    assert_eq!(series(|s| s.requests = vec![2, 1, 2, 1]), refused);
    assert_eq!(series(|s| s.requests = vec![2, 0]), refused);
    assert_eq!(series(|s| s.requests = vec![2, u64::MAX, 3, 1]), refused);
    assert_eq!(
        series(|s| s.requests = vec![2, 1, 3]),
        Err(DecodeError::Truncated("Series.requests"))
    );
}

#[test]
fn a_class_of_a_later_version_is_passed_over() {
    let mut message = golden::report().pb();
    message.series[0].requests.extend([1000, 5]);
    message.counters.extend([1000, 5]);
    let bytes = message.encode_to_vec();
    let report = Report::decode(&bytes).unwrap();
    assert_eq!(crate::models::read_report(&report), golden::report().pb());
}

#[test]
fn singular_submessages_and_pairs_come_once() {
    let twice = |field: u32, content: &[u8]| {
        let mut out = Vec::new();
        gaugeway_wire::codec::put_bytes(&mut out, field, content);
        gaugeway_wire::codec::put_bytes(&mut out, field, content);
        out
    };
    let mut answer = golden::answer().encode();
    let mut policy = Vec::new();
    Policy::default().encode(&mut policy);
    answer.extend(twice(5, &policy));
    let refused = MappingAnswer::decode(&answer).map(drop);
    assert_eq!(refused, Err(DecodeError::Value("MappingAnswer.policy")));

    let mut report = golden::report().encode();
    report.extend(twice(8, &[1, 1]));
    let refused = Report::decode(&report).map(drop);
    assert_eq!(refused, Err(DecodeError::Value("Report.counters")));
}

#[test]
fn a_full_report_is_full_and_legal() {
    let mut model = golden::report();
    let series = model.series.remove(0);
    let mut writer = ReportWriter::new(
        Vec::new(),
        model.vm,
        Seq(u64::MAX),
        UnixNanos(0),
        &model.layout,
    );
    let mut count = 0;
    while series.write(&mut writer) {
        count += 1;
    }
    writer.counters(
        FilterCounter::ALL
            .into_iter()
            .map(|counter| (counter, u64::MAX)),
    );
    let bytes = writer.finish(UnixNanos(SPAN_NS));
    assert!(
        (MESSAGE_BYTES - 200..=MESSAGE_BYTES).contains(&bytes.len()),
        "{}",
        bytes.len()
    );
    let report = Report::decode(&bytes).unwrap();
    assert_eq!(report.series().count(), count);
    assert_eq!(report.counters().count(), FilterCounter::ALL.len());
}

#[test]
fn the_largest_series_fits_an_empty_report() {
    let bounds = (1..=64).map(|n| Nanos(n * 1_000_000_000));
    let layout = Layout {
        schema: Schema::MAX,
        bounds: gaugeway_wire::policy::ClassicBounds::try_new(bounds.collect()).unwrap(),
    };
    let range = bucket_range(Schema::MAX);
    let share = u64::MAX / (range.clone().count() as u64 + 1);
    let native: Vec<_> = range.map(|index| (index, share)).collect();
    let total: u64 = native.iter().map(|&(_, count)| count).sum();
    let mut classic = vec![total / 65; 65];
    classic[64] += total % 65;
    let histogram = Histogram::try_from_parts(layout.clone(), u64::MAX.into(), 0, native, classic);
    let series = SeriesModel {
        target: u64::MAX,
        route: "ü".repeat(ROUTE_BYTES),
        requests: (0..56)
            .filter(|n| n % 8 < 6)
            .map(|n| (n, u64::MAX / 56))
            .collect(),
        histogram: histogram.unwrap(),
        rest: [u64::MAX; 4],
    };
    let vm = golden::vm();
    let mut writer = ReportWriter::new(Vec::new(), vm, Seq(u64::MAX), UnixNanos(0), &layout);
    assert!(series.write(&mut writer));
    let bytes = writer.finish(UnixNanos(1));
    let report = Report::decode(&bytes).unwrap();
    let read = report.series().next().unwrap();
    assert_eq!(read.route, "ü".repeat(ROUTE_BYTES / 2));
    let mut back = Histogram::new(layout.clone());
    let _ = back.add_series(&layout, &read);
    assert_eq!(back, series.histogram);
}

#[test]
fn a_full_mapping_answer_goes_on_in_the_next() {
    let mut model = golden::answer();
    let entry = model.entries.remove(0);
    let mut writer = MappingAnswerWriter::new();
    writer.policy(&Policy::default());
    let mut count = 0;
    while entry.write(&mut writer) {
        count += 1;
    }
    let bytes = finish(writer);
    assert!(bytes.len() <= MESSAGE_BYTES);
    assert!(bytes.len() + 400 > MESSAGE_BYTES);
    let answer = MappingAnswer::decode(&bytes).unwrap();
    assert_eq!(answer.entries().count(), count);
    assert_eq!(answer.targets().count(), count);
}

#[test]
fn the_largest_entry_fits_an_empty_answer() {
    let candidate = OwnedCandidate {
        target: Fingerprint(u64::MAX),
        hints: vec!["h".repeat(KEY_BYTES); HINTS + 1],
    };
    let target = vec![0; TARGET_BYTES];
    let define = TargetDefinition {
        fingerprint: Fingerprint(1),
        target: &target,
    };
    let bounds = (0..64).map(|n| Nanos(Nanos::DAY.0 - 64 + n));
    let policy = Policy {
        classic_bounds: gaugeway_wire::policy::ClassicBounds::try_new(bounds.collect()).unwrap(),
        ..Policy::default()
    };
    let mut writer = MappingAnswerWriter::new();
    writer.policy(&policy);
    assert!(writer.entry(
        &"k".repeat(KEY_BYTES),
        &vec![candidate; CANDIDATES + 1],
        Nanos(u64::MAX),
        Some(Fingerprint(1)),
        &vec![define; CANDIDATES + 1],
    ));
    let bytes = finish(writer);
    let answer = MappingAnswer::decode(&bytes).unwrap();
    assert_eq!(
        answer.entries().next().unwrap().candidates().count(),
        CANDIDATES
    );
}

fn finish(writer: MappingAnswerWriter) -> Vec<u8> {
    let (epoch, generation) = (MappingEpoch(u64::MAX), Generation(u64::MAX));
    writer.finish(epoch, generation, Answer(u64::MAX), true)
}

#[test]
fn a_call_takes_as_many_definitions_as_fit() {
    let target = vec![0; TARGET_BYTES];
    let over = vec![0; TARGET_BYTES + 1];
    let define = |target| TargetDefinition {
        fingerprint: Fingerprint(1),
        target,
    };
    let report = vec![0; MESSAGE_BYTES];
    let mut bytes = Vec::new();
    let given = std::iter::once(define(&over)).chain(std::iter::repeat(define(&target)));
    let taken = ReportCall::encode(&report, given, None, &mut bytes);
    assert!(bytes.len() <= REQUEST_BYTES && bytes.len() + TARGET_BYTES + 20 > REQUEST_BYTES);
    assert_eq!(
        ReportCall::decode(&bytes).unwrap().definitions().count(),
        taken - 1
    );
    let given = std::iter::repeat(define(&[]));
    bytes.clear();
    assert_eq!(
        ReportCall::encode(&[], given, None, &mut bytes),
        DEFINITIONS
    );
    assert!(ReportCall::decode(&bytes).is_ok());
}

//! Frozen bytes of version 1. A golden file is never changed: a new version gets files of its own beside it, and
//! these stay readable. A test that fails here means that filters in the field are no longer understood.

use std::collections::BTreeMap;
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use gaugeway_wire::{
    Answer, FilterCounter, Fingerprint, Generation, Histogram, Label, LedgerEpoch, MappingAnswer,
    MappingEpoch, MappingRequest, Nanos, Policy, Report, ReportAnswer, ReportCall, Seq, Target,
    TargetKind, VmId, mapping::OwnedCandidate,
};

use crate::models::{self, AnswerModel, EntryModel, ReportModel, SeriesModel, definition};

/// Bytes written as hexadecimal digits; white space and what follows `#` is passed over.
fn unhex(text: &str) -> Vec<u8> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap());
    let digits: Vec<u8> = lines
        .flat_map(str::bytes)
        .filter(u8::is_ascii_hexdigit)
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn assert_frozen(bytes: &[u8], golden: &str) {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(bytes, unhex(golden), "now {hex}");
}

pub(crate) fn vm() -> VmId {
    VmId(*b"0123456789abcdef")
}

pub(crate) fn target() -> Target {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned().into(),
        value: value.into(),
    };
    let labels = vec![
        label("kubernetes_service", "checkout"),
        label("kubernetes_namespace", "shop"),
        label("kubernetes_service_port", "http"),
        label("kubernetes_pod", "checkout-7d9c-x2x"),
        label("label_team", "zürich"),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

pub(crate) fn report() -> ReportModel {
    let layout = Policy::default().layout();
    let mut histogram = Histogram::new(layout.clone());
    for millis in [0, 1, 12, 12, 13, 250, 251, 61_000] {
        histogram.record(Nanos::from_millis(millis));
    }
    let first = SeriesModel {
        target: target().fingerprint().0,
        route: "shop/checkout".into(),
        requests: BTreeMap::from([(0o02, 6), (0o05, 1), (0o15, 1), (0o30, 300)]),
        histogram,
        rest: [3, 2, 1, 5_000_000],
    };
    let second = SeriesModel {
        target: 1,
        route: String::new(),
        requests: BTreeMap::from([(0o55, 1)]),
        histogram: Histogram::new(layout.clone()),
        rest: [0; 4],
    };
    ReportModel {
        vm: vm(),
        seq: 42,
        from: 1_790_000_000_000_000_000,
        span: 5_000_000_000,
        layout,
        series: vec![first, second],
        counters: BTreeMap::from([
            (FilterCounter::ClockSteps, 1),
            (FilterCounter::Unrecorded, 200),
        ]),
    }
}

pub(crate) fn answer() -> AnswerModel {
    let target = target();
    let fingerprint = target.fingerprint();
    let entry = EntryModel {
        key: "10.1.2.3:8080".into(),
        candidates: vec![
            OwnedCandidate {
                target: fingerprint,
                hints: vec!["shop/checkout".into(), "shop/checkout/80".into()],
            },
            OwnedCandidate {
                target: Fingerprint(1),
                hints: vec![],
            },
        ],
        age_ms: 1500,
        previous: Some(7),
        definitions: vec![(fingerprint.0, target.encode())],
    };
    let nobodys = EntryModel {
        key: "[2001:db8::1]:443".into(),
        candidates: vec![],
        age_ms: 0,
        previous: None,
        definitions: vec![],
    };
    AnswerModel {
        head: [0xfeed_beef_0102_0304, 300, 2],
        more: true,
        policy: Some(Policy::default()),
        entries: vec![entry, nobodys],
    }
}

pub(crate) fn mapping_request() -> MappingRequest {
    MappingRequest {
        vm: vm(),
        mapping_epoch: MappingEpoch(0xfeed_beef_0102_0304),
        generation: Generation(300),
        received: Answer(2),
        subscribe: vec!["10.1.2.3:8080".into(), "cluster:shop/checkout".into()],
        release: vec!["10.1.2.4:8080".into()],
        no_wait: true,
    }
}

pub(crate) fn report_call() -> Vec<u8> {
    let target = target();
    let definitions = [(target.fingerprint().0, target.encode())];
    let mut bytes = Vec::new();
    let request = mapping_request();
    let given = definitions.iter().map(definition);
    let taken = ReportCall::encode(&report().encode(), given, Some(&request), &mut bytes);
    assert_eq!(taken, 1);
    bytes
}

pub(crate) fn report_answer(mapping: &[u8]) -> ReportAnswer<'_> {
    ReportAnswer {
        ledger_epoch: LedgerEpoch(0x0102_0304_0506_0708),
        seq: Seq(42),
        undefined: vec![Fingerprint(1), target().fingerprint()],
        mapping: Some(mapping),
        rejected_series: 1,
    }
}

#[test]
fn target_v1() {
    let golden = include_str!("../golden/target.hex");
    assert_frozen(&target().encode(), golden);
    assert_eq!(Target::decode(&unhex(golden)).unwrap(), target());
    assert_eq!(target().fingerprint(), Fingerprint(FINGERPRINT));
}

/// Filters and controllers of all versions must agree on it.
const FINGERPRINT: u64 = 0x8a36_3c17_bc2b_7dea;

#[test]
fn report_v1() {
    let golden = include_str!("../golden/report.hex");
    assert_frozen(&report().encode(), golden);
    let bytes = unhex(golden);
    let report_read = models::read_report(&Report::decode(&bytes).unwrap());
    assert_eq!(report_read, report().pb());
}

#[test]
fn mapping_answer_v1() {
    let golden = include_str!("../golden/mapping_answer.hex");
    assert_frozen(&answer().encode(), golden);
    let bytes = unhex(golden);
    let answer_read = models::read_answer(&MappingAnswer::decode(&bytes).unwrap());
    assert_eq!(answer_read, answer().pb());
}

#[test]
fn mapping_request_v1() {
    let golden = include_str!("../golden/mapping_request.hex");
    let mut bytes = Vec::new();
    mapping_request().encode(&mut bytes);
    assert_frozen(&bytes, golden);
    assert_eq!(
        MappingRequest::decode(&unhex(golden)).unwrap(),
        mapping_request()
    );
}

#[test]
fn report_call_v1() {
    let golden = include_str!("../golden/report_call.hex");
    assert_frozen(&report_call(), golden);
    let bytes = unhex(golden);
    let call = ReportCall::decode(&bytes).unwrap();
    assert_eq!(call.report, report().encode());
    assert_eq!(call.mapping, Some(mapping_request()));
    let targets: Vec<Target> = call
        .definitions()
        .map(|one| one.resolve().unwrap())
        .collect();
    assert_eq!(targets, [target()]);
}

#[test]
fn report_answer_v1() {
    let golden = include_str!("../golden/report_answer.hex");
    let mapping = answer().encode();
    let mut bytes = Vec::new();
    report_answer(&mapping).encode(&mut bytes);
    assert_frozen(&bytes, golden);
    assert_eq!(
        ReportAnswer::decode(&unhex(golden)).unwrap(),
        report_answer(&mapping)
    );
}

//! What the targets begin with: one small good input of each kind, made here and kept nowhere.

use gaugeway_wire::{LedgerEpoch, MappingRequest, Policy, ReportAnswer, Seq, VmId};

use crate::input::Output;

/// One of the wire's frozen messages.
fn golden(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap());
    let digits: Vec<u8> = lines
        .flat_map(str::bytes)
        .filter(u8::is_ascii_hexdigit)
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    vec![digits.chunks(2).map(byte).collect()]
}

pub(crate) fn report() -> Vec<Vec<u8>> {
    golden(include_str!("../../wire/tests/golden/report.hex"))
}

pub(crate) fn report_call() -> Vec<Vec<u8>> {
    golden(include_str!("../../wire/tests/golden/report_call.hex"))
}

pub(crate) fn report_answer() -> Vec<Vec<u8>> {
    golden(include_str!("../../wire/tests/golden/report_answer.hex"))
}

pub(crate) fn mapping_request() -> Vec<Vec<u8>> {
    let mut least = Vec::new();
    MappingRequest::new(VmId([1; 16])).encode(&mut least);
    let full = golden(include_str!("../../wire/tests/golden/mapping_request.hex"));
    [full, vec![least]].concat()
}

pub(crate) fn mapping_answer() -> Vec<Vec<u8>> {
    golden(include_str!("../../wire/tests/golden/mapping_answer.hex"))
}

pub(crate) fn policy() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    Policy::default().encode(&mut bytes);
    vec![bytes]
}

pub(crate) fn target() -> Vec<Vec<u8>> {
    golden(include_str!("../../wire/tests/golden/target.hex"))
}

pub(crate) fn configuration() -> Vec<Vec<u8>> {
    vec![
        br#"{"gateway":"demo/edge","cluster":"c","authority":"a","token":"00ff","extra":[1,{"a":null}],
            "policy":{"schema":5,"classic_bounds_ns":[1,2e3],"report_interval_ms":1000,"route":true,
                      "unknown_grace_ms":0}}"#
            .to_vec(),
        br#"{"gateway":"g","controller":"10.0.0.9:7080","identity":{"namespace":"n","service":"s","route":"r"},
            "timeout_ms":60000,"token":"\u0061"}"#
            .to_vec(),
    ]
}

/// The ABI's form of pairs.
fn pairs(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
    let mut bytes = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

pub(crate) fn metadata() -> Vec<Vec<u8>> {
    let resource = pairs(&[
        (b"kind", b"Service"),
        (b"name", b"cart"),
        (b"namespace", b"shop"),
    ]);
    vec![
        pairs(&[(&resource, b"")]),
        resource,
        b"details-v1;book;details;v1;Kubernetes".to_vec(),
    ]
}

pub(crate) fn attributes() -> Vec<Vec<u8>> {
    let facts = |out: Output, address: Option<&[u8]>, code: u64, flags: u64| {
        out.option(address)
            .option(Some(b"shop/cart"))
            .option(Some(b"route"))
            .option(None)
            .byte(1)
            .number(code)
            .number(flags)
            .byte(1)
            .byte(1)
    };
    let ordinary = Output::default().byte(1).byte(7);
    let ordinary = facts(ordinary, Some(b"10.0.0.1:80"), 200, 0);
    let timeout = facts(ordinary.byte(5).byte(90), Some(b"[::1]:80"), 504, 4);
    let timeout = facts(timeout, Some(b"[::1]:80"), 504, 4 | 1 << 14);
    vec![facts(timeout.byte(1).byte(0), None, 503, 2).0]
}

pub(crate) fn kong_attributes() -> Vec<Vec<u8>> {
    let told: [&[u8]; 9] = [
        b"10.0.0.1:80, 10.0.0.2:80 : unix:/run/a.sock",
        b"502, - : 200",
        b"-, 0.003 : 0.044",
        b"0.000, 0.001 : 0.000",
        b"0.001, 0.003 : -",
        b"OK",
        b"200",
        b"shop.cart.80",
        b"route",
    ];
    let request = |out: Output, choice| {
        let out = out.byte(choice);
        let out = told.iter().fold(out, |out, text| out.option(Some(text)));
        out.byte(44)
    };
    vec![request(request(Output::default(), 7), 1).0]
}

pub(crate) fn filter_answers() -> Vec<Vec<u8>> {
    let mut acknowledgement = Vec::new();
    let answer = ReportAnswer {
        ledger_epoch: LedgerEpoch(1),
        seq: Seq(1),
        undefined: Vec::new(),
        mapping: None,
        rejected_series: 0,
    };
    answer.encode(&mut acknowledgement);
    let mapping = &mapping_answer()[0];
    let requests = Output::default()
        .byte(0)
        .byte(1)
        .byte(0)
        .byte(2)
        .byte(2)
        .byte(63);
    let told = requests.byte(3).text(mapping).byte(2).byte(63);
    let reported = told.byte(3).text(&acknowledgement).byte(7).byte(5).byte(1);
    // Refused for good, then torn.
    let refused = reported
        .byte(0)
        .byte(3)
        .byte(2)
        .byte(63)
        .byte(204)
        .text(b"");
    vec![refused.byte(3).text(&mapping[..mapping.len() / 2]).0]
}

pub(crate) fn latency_policy() -> Vec<Vec<u8>> {
    vec![
        br#"{"apiVersion":"gaugeway.dev/v1alpha1","kind":"LatencyPolicy",
            "metadata":{"name":"p","namespace":"shop"},"spec":{
            "targetRefs":[{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"edge"}],
            "serviceSelector":{"matchNames":[{"name":"cart"}],"matchLabels":{"a":"b"}},
            "dimensions":["pod","node"],"labels":["team"],"histogram":{"schema":3},"reportInterval":"5s"}}"#
            .to_vec(),
    ]
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let yaml = [
        include_str!("../../examples/demo/checkout.yaml"),
        include_str!("../../examples/demo/gateway.yaml"),
    ];
    let json = r#"{"apiVersion":"v1","kind":"ServiceList","items":[{"metadata":{"name":"a"},
        "spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}]}"#;
    let seed = |format: u8, text: &str| [&[format], text.as_bytes()].concat();
    vec![seed(0, yaml[0]), seed(0, yaml[1]), seed(1, json)]
}

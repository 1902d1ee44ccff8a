//! The simulated controller keeps the contract.

use gaugeway_guest::{
    Controller,
    controller::{CallId, Delivery, Fate, HOLD, service},
    host::HttpCall,
    sim::START,
};
use gaugeway_wire::{
    MappingAnswer, MappingRequest,
    report::{ReportAnswer, ReportCall, ReportWriter},
    units::{Nanos, Seq, UnixNanos, VmId},
};

const VM: VmId = VmId([7; 16]);
const MS: fn(u64) -> Nanos = Nanos::from_millis;

fn call(controller: &Controller, path: &str, body: Vec<u8>) -> HttpCall {
    let headers = [
        (":method", "POST"),
        (":path", path),
        (":authority", "gaugeway"),
        ("authorization", &format!("Bearer {}", controller.token)),
        ("x-gaugeway-gateway", &controller.gateway),
        ("content-type", "application/x-protobuf"),
    ];
    HttpCall {
        token: 1,
        context: 1,
        upstream: "gaugeway-controller".to_owned(),
        headers: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        body,
        timeout_ms: 30_000,
    }
}

fn ask(controller: &mut Controller, now: UnixNanos, token: u32, request: &MappingRequest) {
    let mut body = Vec::new();
    request.encode(&mut body);
    let call = call(controller, "/v1/mapping", body);
    controller.receive(now, CallId { worker: 0, token }, &call);
}

fn answered(controller: &mut Controller) -> Vec<(UnixNanos, u32, Vec<u8>)> {
    let answers = controller.take_outgoing().into_iter();
    answers
        .filter_map(|(at, id, delivery)| match delivery {
            Delivery::Answer { body, .. } => Some((at, id.token, body)),
            Delivery::TimedOut | Delivery::Reset => None,
        })
        .collect()
}

#[test]
fn a_request_is_held_until_there_is_something_to_say() {
    let mut controller = Controller::new(START);
    let mut request = MappingRequest::new(VM);
    request.subscribe.push("10.0.0.1:80".to_owned());
    ask(&mut controller, START, 1, &request);
    let got = answered(&mut controller);
    let [(_, 1, body)] = &got[..] else { panic!() };
    let answer = MappingAnswer::decode(body).unwrap();
    assert!(answer.policy.is_some());
    assert_eq!(
        answer.entries().next().unwrap().candidates().count(),
        0,
        "nobody owns it"
    );

    let mut next = MappingRequest::new(VM);
    next.mapping_epoch = answer.mapping_epoch;
    next.generation = answer.generation;
    next.received = answer.answer;
    ask(&mut controller, START.plus(MS(10)), 2, &next);
    assert!(answered(&mut controller).is_empty(), "held");
    assert_eq!(
        controller.wake_at(START),
        Some(START.plus(MS(10)).plus(HOLD))
    );

    controller.index.set(
        START.plus(MS(20)),
        "10.0.0.1:80",
        &service("demo", "app", None),
    );
    let at = controller.wake_at(START.plus(MS(20))).unwrap();
    assert_eq!(at, START.plus(MS(200)), "spaced from the answer before");
    controller.wake(at);
    let got = answered(&mut controller);
    let [(_, 2, body)] = &got[..] else { panic!() };
    let answer = MappingAnswer::decode(body).unwrap();
    let entry = answer.entries().next().unwrap();
    assert_eq!(entry.age, MS(180));
    assert_eq!(
        entry.candidates().next().unwrap().target,
        service("demo", "app", None).fingerprint()
    );

    // Not confirmed: sent again.
    ask(&mut controller, at.plus(MS(1)), 3, &next);
    assert_eq!(answered(&mut controller).len(), 1);
    // A newer request ends a held one.
    next.received = gaugeway_wire::units::Answer(3);
    ask(&mut controller, at.plus(MS(2)), 4, &next);
    ask(&mut controller, at.plus(MS(3)), 5, &next);
    let ended = answered(&mut controller);
    assert_eq!(
        ended.iter().map(|(_, token, _)| *token).collect::<Vec<_>>(),
        [4]
    );
    assert!(
        controller.violations.is_empty(),
        "{:?}",
        controller.violations
    );
}

fn report(seq: u64, to: UnixNanos) -> Vec<u8> {
    let layout = gaugeway_wire::policy::Policy::default().layout();
    let bytes = ReportWriter::new(Vec::new(), VM, Seq(seq), START, &layout).finish(to);
    let mut body = Vec::new();
    ReportCall::encode(&bytes, std::iter::empty(), None, &mut body);
    body
}

#[test]
fn reports_are_applied_once_and_rules_are_watched() {
    let mut controller = Controller::new(START);
    let id = CallId {
        worker: 0,
        token: 1,
    };
    let send = |controller: &mut Controller, body: Vec<u8>, fate| {
        controller.fates.push_back(fate);
        let call = call(controller, "/v1/report", body);
        controller.receive(START, id, &call);
        answered(controller)
            .last()
            .and_then(|(_, _, body)| Some(ReportAnswer::decode(body).ok()?.seq))
    };
    let later = |ms| START.plus(MS(ms));
    assert_eq!(
        send(&mut controller, report(1, later(1)), Fate::Deliver),
        Some(Seq(1))
    );
    assert_eq!(
        send(&mut controller, report(2, later(2)), Fate::LoseAnswer),
        None
    );
    assert_eq!(
        send(&mut controller, report(2, later(2)), Fate::Duplicate),
        Some(Seq(2))
    );
    assert_eq!(
        (controller.ledger.duplicates, controller.violations.len()),
        (2, 0)
    );
    send(&mut controller, report(2, later(3)), Fate::Deliver);
    send(&mut controller, report(4, later(4)), Fate::Deliver);
    send(&mut controller, vec![0xff; 9], Fate::Deliver);
    assert_eq!(
        controller.violations.len(),
        3,
        "{:?}",
        controller.violations
    );
}

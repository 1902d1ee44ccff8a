//! What the filter reads: its configuration, the host's attributes, the controller's answers.
//!
//! The law of them all: each request is in exactly one report, or a counter says that it is not.

use gaugeway_filter_core::{
    ContextId, Instance, Limits,
    config::{Config, Gateway},
    host::Reply,
    identity::Metadata,
    kong,
};
use gaugeway_wire::{
    Answer, FilterCounter, Generation, LedgerEpoch, MappingEpoch, Nanos, ReportAnswer, Seq,
    TargetKind,
    limits::{CLASSIC_BOUNDS, LABEL_VALUE_BYTES},
    mapping::MappingAnswerWriter,
};

use crate::{
    host::{Facts, Host, Outgoing},
    input::Input,
};

const ROOT: ContextId = ContextId(1);
const MS: u64 = 1_000_000;
const TICK: u64 = 100 * MS;
const KONG_TICK: u64 = 500 * MS;
/// Ticks, far apart, in which a good controller gets all that there is.
const SETTLING: usize = 150;
const STEP: u64 = 2_000 * MS;
/// So few that inputs reach them.
const LIMITS: Limits = Limits {
    keys: 6,
    series: 8,
    targets: 8,
    routes: 3,
    clusters: 3,
    ..Limits::DEFAULT
};

/// What is accepted is JSON to another reader, too, and keeps its bounds.
pub(crate) fn configuration(bytes: &[u8]) -> bool {
    let read = [Gateway::Envoy, Gateway::Kong].map(|host| Config::parse(bytes, host));
    for config in read.iter().flatten() {
        let json: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        assert_eq!(json["gateway"], config.gateway.as_str());
        let texts = [&config.cluster, &config.authority, &config.token];
        for text in texts {
            assert!(text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic()));
        }
        assert!(!config.cluster.is_empty());
        let policy = &config.policy;
        assert!((50..=3_600_000).contains(&policy.report_interval.as_millis()));
        assert!(policy.classic_bounds.len() <= CLASSIC_BOUNDS);
        assert!(policy.classic_bounds.as_slice().is_sorted_by(|a, b| a < b));
    }
    read.iter().any(Result::is_ok)
}

/// What is understood names a Service in the input's own words.
pub(crate) fn metadata(bytes: &[u8]) -> bool {
    let mut understood = false;
    for target in Metadata::ALL.iter().filter_map(|of| of.read(bytes)) {
        understood = true;
        assert_eq!(target.kind(), TargetKind::Kubernetes);
        assert_eq!(target.labels().len(), 2);
        for label in target.labels() {
            let value = label.value.as_bytes();
            assert!((1..=LABEL_VALUE_BYTES).contains(&value.len()));
            assert!(bytes.windows(value.len()).any(|window| window == value));
        }
    }
    understood
}

pub(crate) fn envoy_attributes(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let mut world = World::new();
    let (mut made, mut addressed) = (0, 0);
    while let Some(choice) = input.next() {
        let context = world.start();
        world.host.now = world.host.now.saturating_add(u64::from(input.byte()) * MS);
        world.host.facts = envoy_facts(&mut input);
        if choice & 1 > 0 {
            addressed += u64::from(world.host.facts.address.is_some());
            let end = choice & 2 > 0;
            world
                .instance
                .on_response_headers(context, end, &mut world.host);
        }
        if choice & 4 > 0 {
            world.host.facts = envoy_facts(&mut input);
        }
        world.instance.on_done(context, &mut world.host);
        made += 1;
    }
    world.settle();
    let counted = world.host.requests() + world.host.counter(FilterCounter::Unrecorded);
    assert!(counted >= addressed, "{counted} of {addressed}");
    assert!(counted <= made, "{counted} of {made}");
    counted > 0
}

fn envoy_facts(input: &mut Input<'_>) -> Facts {
    let owned = |text: Option<&[u8]>| text.map(<[u8]>::to_vec);
    Facts {
        address: owned(input.option()),
        cluster: owned(input.option()),
        route: owned(input.option()),
        metadata: owned(input.option()),
        code: (input.byte() % 2 == 1).then(|| input.number()),
        flags: input.number(),
        attempts: input.byte().into(),
        via_upstream: input.byte() % 2 == 1,
        ..Facts::default()
    }
}

pub(crate) fn kong_attributes(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let mut host = Host::new();
    let mut instance = kong::Instance::new(LIMITS, Nanos(KONG_TICK));
    let json = br#"{"gateway":"g","controller":"10.0.0.9:7080"}"#;
    assert!(instance.on_configure(ROOT, json, &mut host));
    let (mut most, mut least, mut at) = (0, 0, 1);
    while let Some(choice) = input.next() {
        at += 1;
        let context = ContextId(at);
        instance.on_context_create(context, Some(ROOT));
        host.facts.kong =
            [(); kong::Attribute::ALL.len()].map(|()| input.option().map(<[u8]>::to_vec));
        let list = host.facts.kong[0].as_deref().unwrap_or_default();
        let separators = list.iter().filter(|&&byte| byte == b',' || byte == b':');
        // An orphan is counted once; every try of a request once.
        most += 1 + separators.count() as u64;
        if choice & 1 > 0 {
            instance.on_request_headers(context, &mut host);
        }
        host.now = host.now.saturating_add(u64::from(input.byte()) * MS);
        if choice & 2 > 0 {
            instance.on_response_headers(context, &mut host);
        }
        if choice & 4 > 0 {
            instance.on_log(context, &mut host);
        }
        instance.on_delete(context, &mut host);
        least += u64::from(choice & 7 == 1);
    }
    for _ in 0..SETTLING {
        host.now = host.now.saturating_add(STEP);
        let _ = instance.on_tick(ROOT, &mut host);
        while let Some(call) = host.calls.pop() {
            instance.on_reply(call.token, good(&call), &mut host);
        }
    }
    let counted = host.requests() + host.counter(FilterCounter::Unrecorded);
    assert!(
        (least..=most).contains(&counted),
        "{least} {counted} {most}"
    );
    counted > 0
}

/// Whatever the controller answers, counts are neither lost nor doubled.
pub(crate) fn answers(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let mut world = World::new();
    let (mut made, mut answered) = (0, false);
    while let Some(choice) = input.next() {
        match choice % 8 {
            0 | 1 => {
                world.request(input.byte() % 8);
                made += 1;
            }
            2 => world.ticks(1 + u32::from(input.byte() % 64)),
            3 | 4 => answered |= world.answer(choice, &mut input),
            5 => world.host.refuse_calls = input.byte() % 2 == 1,
            6 => world.host.now = input.number(),
            _ => world.lose(),
        }
    }
    world.host.refuse_calls = false;
    world.settle();
    let told = world.host.requests() + world.host.counter(FilterCounter::DroppedRequests);
    assert_eq!(told, made);
    answered
}

/// One worker VM of Envoy.
struct World {
    instance: Instance,
    host: Host,
    contexts: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            instance: Instance::new(LIMITS),
            host: Host::new(),
            contexts: ROOT.0,
        };
        let json = br#"{"gateway":"g","cluster":"c","policy":{"route":true}}"#;
        world
            .instance
            .on_context_create(ROOT, None, &mut world.host);
        world.instance.on_configure(ROOT, json, &mut world.host);
        world
    }

    fn start(&mut self) -> ContextId {
        self.contexts += 1;
        let context = ContextId(self.contexts);
        self.instance
            .on_context_create(context, Some(ROOT), &mut self.host);
        context
    }

    fn request(&mut self, address: u8) {
        let context = self.start();
        self.host.facts = Facts {
            address: Some(format!("10.0.0.{address}:80").into_bytes()),
            code: Some(200),
            attempts: 1,
            via_upstream: true,
            ..Facts::default()
        };
        self.instance
            .on_response_headers(context, false, &mut self.host);
        self.instance.on_done(context, &mut self.host);
    }

    fn ticks(&mut self, count: u32) {
        for _ in 0..count {
            self.host.now = self.host.now.saturating_add(TICK);
            self.instance.on_tick(ROOT, &mut self.host);
        }
    }

    /// The input's answer to the oldest call. Whether it was one that says yes.
    fn answer(&mut self, choice: u8, input: &mut Input<'_>) -> bool {
        if self.host.calls.is_empty() {
            return false;
        }
        let call = self.host.calls.remove(0);
        let status = match choice {
            0..192 => 200,
            _ => [400, 401, 413, 422, 429, 503][usize::from(choice) % 6],
        };
        if let (400 | 413 | 422, Some(seq)) = (status, call.seq) {
            self.host.refused.push(seq);
        }
        let reply = Reply {
            status: Some(status),
            retry_after: (choice & 16 > 0).then(|| Nanos(input.number())),
            body: input.text().to_vec(),
        };
        self.instance.on_reply(call.token, reply, &mut self.host);
        status == 200
    }

    /// No answer to the oldest call.
    fn lose(&mut self) {
        if !self.host.calls.is_empty() {
            let call = self.host.calls.remove(0);
            self.instance
                .on_reply(call.token, Reply::default(), &mut self.host);
        }
    }

    /// A good controller takes all that is left.
    fn settle(&mut self) {
        // From where no tick can pass the end of time.
        self.host.now = self.host.now.min(u64::MAX / 2);
        for _ in 0..SETTLING {
            self.host.now += STEP - TICK;
            self.ticks(1);
            while let Some(call) = self.host.calls.pop() {
                self.instance
                    .on_reply(call.token, good(&call), &mut self.host);
            }
        }
    }
}

/// What a good controller answers: it knows nobody, and takes every report.
fn good(call: &Outgoing) -> Reply {
    let mapping = call.asked.as_ref().map(|asked| {
        let mut writer = MappingAnswerWriter::new();
        for key in &asked.subscribe {
            assert!(writer.entry(key, &[], Nanos(0), None, &[]));
        }
        let next = Answer(asked.received.0.saturating_add(1));
        let number = if asked.subscribe.is_empty() {
            Answer(0)
        } else {
            next
        };
        writer.finish(MappingEpoch(7), Generation(1), number, false)
    });
    let body = match mapping {
        Some(answer) if call.is_mapping => answer,
        mapping => {
            let answer = ReportAnswer {
                ledger_epoch: LedgerEpoch(1),
                seq: Seq(call.seq.unwrap_or(0)),
                undefined: Vec::new(),
                mapping: mapping.as_deref(),
                rejected_series: 0,
            };
            let mut body = Vec::new();
            answer.encode(&mut body);
            body
        }
    };
    Reply {
        status: Some(200),
        retry_after: None,
        body,
    }
}

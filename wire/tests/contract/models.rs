//! Legal messages as plain data, with both encodings: ours and prost's.

use std::collections::BTreeMap;

use gaugeway_wire::{
    Answer, CodeClass, Fingerprint, Generation, Histogram, Label, Layout, LedgerEpoch,
    MappingAnswer, MappingEpoch, MappingRequest, Nanos, Outcome, Policy, Report, ReportAnswer,
    ReportCall, RequestClass, Schema, Seq, Target, TargetDefinition, TargetKind, UnixNanos, VmId,
    mapping::{MappingAnswerWriter, OwnedCandidate},
    policy::ClassicBounds,
    report::{FilterCounter, ReportWriter, SeriesCounts},
    target::names,
};
use gaugeway_wire_oracle as pb;
use proptest::{collection, prelude::*};

#[derive(Clone, Debug)]
pub(crate) struct ReportModel {
    pub(crate) vm: VmId,
    pub(crate) seq: u64,
    pub(crate) from: u64,
    pub(crate) span: u64,
    pub(crate) layout: Layout,
    pub(crate) series: Vec<SeriesModel>,
    pub(crate) counters: BTreeMap<FilterCounter, u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct SeriesModel {
    pub(crate) target: u64,
    pub(crate) route: String,
    pub(crate) requests: BTreeMap<usize, u64>,
    pub(crate) histogram: Histogram,
    /// Retries, aborted, latency unknown, cancelled wait.
    pub(crate) rest: [u64; 4],
}

#[derive(Clone, Debug)]
pub(crate) struct AnswerModel {
    pub(crate) head: [u64; 3],
    pub(crate) more: bool,
    pub(crate) policy: Option<Policy>,
    pub(crate) entries: Vec<EntryModel>,
}

#[derive(Clone, Debug)]
pub(crate) struct EntryModel {
    pub(crate) key: String,
    pub(crate) candidates: Vec<OwnedCandidate>,
    pub(crate) age_ms: u64,
    pub(crate) previous: Option<u64>,
    pub(crate) definitions: Vec<(u64, Vec<u8>)>,
}

impl ReportModel {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let from = UnixNanos(self.from);
        let mut writer = ReportWriter::new(Vec::new(), self.vm, Seq(self.seq), from, &self.layout);
        for series in &self.series {
            assert!(series.write(&mut writer));
        }
        writer.counters(
            self.counters
                .iter()
                .map(|(&counter, &count)| (counter, count)),
        );
        writer.finish(UnixNanos(self.from + self.span))
    }

    pub(crate) fn pb(&self) -> pb::Report {
        let counters = self.counters.iter().filter(|&(_, &count)| count > 0);
        pb::Report {
            vm: self.vm.0.to_vec(),
            seq: self.seq,
            from_ns: self.from,
            to_ns: self.from + self.span,
            schema: self.layout.schema.get().into(),
            classic_bounds_ns: self.layout.bounds.as_slice().iter().map(|n| n.0).collect(),
            series: self.series.iter().map(SeriesModel::pb).collect(),
            counters: counters.flat_map(|(c, n)| [*c as u64, *n]).collect(),
        }
    }
}

impl SeriesModel {
    pub(crate) fn write(&self, writer: &mut ReportWriter) -> bool {
        let class = |(&index, &count)| (RequestClass::from_index(index as u64).unwrap(), count);
        writer.series(SeriesCounts {
            target: Fingerprint(self.target),
            route: &self.route,
            requests: self.requests.iter().map(class),
            native: self.histogram.native(),
            classic: self.histogram.classic().enumerate(),
            zero_count: self.histogram.zero_count(),
            sum: Nanos(u64::try_from(self.histogram.sum_ns()).unwrap()),
            retries: self.rest[0],
            aborted: self.rest[1],
            latency_unknown: self.rest[2],
            cancelled_wait: Nanos(self.rest[3]),
        })
    }

    fn pb(&self) -> pb::Series {
        let requests = self.requests.iter().filter(|&(_, &count)| count > 0);
        let latency = (self.histogram.count() > 0).then(|| pb_histogram(&self.histogram));
        pb::Series {
            target: self.target,
            route: self.route.clone(),
            requests: requests.flat_map(|(i, n)| [*i as u64, *n]).collect(),
            latency,
            retries: self.rest[0],
            aborted: self.rest[1],
            latency_unknown: self.rest[2],
            cancelled_wait_ns: self.rest[3],
        }
    }
}

fn pb_histogram(histogram: &Histogram) -> pb::Histogram {
    let mut native = Vec::new();
    let mut last = None;
    for (index, count) in histogram.native() {
        let index = i64::from(index);
        let gap = match last {
            None if index < 0 => (-index as u64) * 2 - 1,
            None => index as u64 * 2,
            Some(last) => (index - last) as u64,
        };
        native.extend([gap, count]);
        last = Some(index);
    }
    let mut classic = Vec::new();
    let mut last = 0;
    for (position, count) in histogram.classic().enumerate() {
        if count > 0 {
            classic.extend([(position - last) as u64, count]);
            last = position;
        }
    }
    pb::Histogram {
        sum_ns: u64::try_from(histogram.sum_ns()).unwrap(),
        zero_count: histogram.zero_count(),
        native,
        classic,
    }
}

impl AnswerModel {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = MappingAnswerWriter::new();
        if let Some(policy) = &self.policy {
            writer.policy(policy);
        }
        for entry in &self.entries {
            assert!(entry.write(&mut writer));
        }
        let [epoch, generation, answer] = self.head;
        let (epoch, generation) = (MappingEpoch(epoch), Generation(generation));
        writer.finish(epoch, generation, Answer(answer), self.more)
    }

    pub(crate) fn pb(&self) -> pb::MappingAnswer {
        let definitions = self.entries.iter().flat_map(|entry| &entry.definitions);
        pb::MappingAnswer {
            mapping_epoch: self.head[0],
            generation: self.head[1],
            answer: self.head[2],
            more: self.more,
            policy: self.policy.as_ref().map(pb_policy),
            targets: definitions.map(pb_definition).collect(),
            entries: self.entries.iter().map(EntryModel::pb).collect(),
        }
    }
}

impl EntryModel {
    pub(crate) fn write(&self, writer: &mut MappingAnswerWriter) -> bool {
        let definitions = self.definitions.iter().map(definition).collect::<Vec<_>>();
        writer.entry(
            &self.key,
            &self.candidates,
            Nanos::from_millis(self.age_ms),
            self.previous.map(Fingerprint),
            &definitions,
        )
    }

    fn pb(&self) -> pb::MappingEntry {
        let candidates = self.candidates.iter().map(|candidate| pb::Candidate {
            target: candidate.target.0,
            hints: candidate.hints.clone(),
        });
        pb::MappingEntry {
            key: self.key.clone(),
            candidates: candidates.collect(),
            age_ms: self.age_ms,
            previous: self.previous,
        }
    }
}

pub(crate) fn definition((fingerprint, target): &(u64, Vec<u8>)) -> TargetDefinition<'_> {
    TargetDefinition {
        fingerprint: Fingerprint(*fingerprint),
        target,
    }
}

pub(crate) fn pb_definition((fingerprint, target): &(u64, Vec<u8>)) -> pb::TargetDefinition {
    pb::TargetDefinition {
        fingerprint: *fingerprint,
        target: target.clone(),
    }
}

pub(crate) fn pb_policy(policy: &Policy) -> pb::Policy {
    pb::Policy {
        schema: policy.schema.get().into(),
        classic_bounds_ns: policy
            .classic_bounds
            .as_slice()
            .iter()
            .map(|n| n.0)
            .collect(),
        report_interval_ms: u32::try_from(policy.report_interval.as_millis()).unwrap(),
        route: policy.route,
        unknown_grace_ms: u32::try_from(policy.unknown_grace.as_millis()).unwrap(),
    }
}

pub(crate) fn pb_request(request: &MappingRequest) -> pb::MappingRequest {
    pb::MappingRequest {
        vm: request.vm.0.to_vec(),
        mapping_epoch: request.mapping_epoch.0,
        generation: request.generation.0,
        received: request.received.0,
        subscribe: request.subscribe.clone(),
        release: request.release.clone(),
        no_wait: request.no_wait,
    }
}

pub(crate) fn pb_target(target: &Target) -> pb::Target {
    let labels = target.labels().iter().map(|label| pb::Label {
        name: label.name.to_string(),
        value: label.value.clone(),
    });
    pb::Target {
        kind: match target.kind() {
            TargetKind::Kubernetes => 0,
            TargetKind::Unknown => 1,
            TargetKind::Overflow => 2,
        },
        labels: labels.collect(),
    }
}

/// What our decoder read, as prost would hold it. Classes and counters of later versions are not in it.
pub(crate) fn read_report(report: &Report<'_>) -> pb::Report {
    let series = report.series().map(|series| {
        let mut histogram = Histogram::new(report.layout.clone());
        let merged = histogram.add_series(&report.layout, &series);
        assert_eq!(merged, gaugeway_wire::histogram::Merged::Lossless);
        assert_eq!(histogram.count(), series.samples());
        SeriesModel {
            target: series.target.0,
            route: series.route.into(),
            requests: series
                .requests()
                .map(|(class, n)| (class.index(), n))
                .collect(),
            histogram,
            rest: [
                series.retries,
                series.aborted,
                series.latency_unknown,
                series.cancelled_wait.0,
            ],
        }
    });
    let model = ReportModel {
        vm: report.vm,
        seq: report.seq.0,
        from: report.from.0,
        span: report.to.0 - report.from.0,
        layout: report.layout.clone(),
        series: series.collect(),
        counters: BTreeMap::new(),
    };
    let counters = report.counters();
    pb::Report {
        counters: counters
            .flat_map(|(counter, n)| [counter.number(), n])
            .collect(),
        ..model.pb()
    }
}

/// What our decoder read, as prost would hold it.
pub(crate) fn read_answer(answer: &MappingAnswer<'_>) -> pb::MappingAnswer {
    let entries = answer.entries().map(|entry| EntryModel {
        key: entry.key.into(),
        candidates: entry
            .candidates()
            .map(|candidate| OwnedCandidate {
                target: candidate.target,
                hints: candidate.hints().map(Into::into).collect(),
            })
            .collect(),
        age_ms: entry.age.as_millis(),
        previous: entry.previous.map(|target| target.0),
        definitions: Vec::new(),
    });
    let entries = entries.map(|entry| entry.pb()).collect();
    let targets = answer
        .targets()
        .map(|one| (one.fingerprint.0, one.target.to_vec()));
    pb::MappingAnswer {
        mapping_epoch: answer.mapping_epoch.0,
        generation: answer.generation.0,
        answer: answer.answer.0,
        more: answer.more,
        policy: answer.policy.as_ref().map(pb_policy),
        targets: targets.map(|one| pb_definition(&one)).collect(),
        entries,
    }
}

/// What our decoder read, as prost would hold it.
pub(crate) fn read_call(call: &ReportCall<'_>) -> pb::ReportCall {
    let definitions = call
        .definitions()
        .map(|one| (one.fingerprint.0, one.target.to_vec()));
    pb::ReportCall {
        report: call.report.to_vec(),
        definitions: definitions.map(|one| pb_definition(&one)).collect(),
        mapping: call.mapping.as_ref().map(pb_request),
    }
}

/// What our decoder read, as prost would hold it, without the mapping answer.
pub(crate) fn read_report_answer(answer: &ReportAnswer<'_>) -> pb::ReportAnswer {
    pb::ReportAnswer {
        ledger_epoch: answer.ledger_epoch.0,
        seq: answer.seq.0,
        undefined: answer.undefined.iter().map(|target| target.0).collect(),
        mapping: None,
        rejected_series: answer.rejected_series,
    }
}

// Strategies

/// A latency, uniform over its magnitude rather than its value.
pub(crate) fn latency() -> impl Strategy<Value = Nanos> {
    (any::<u64>(), 17_u32..=64)
        .prop_map(|(bits, shift)| Nanos(bits.checked_shr(shift).unwrap_or(0).min(Nanos::DAY.0)))
}

pub(crate) fn schema() -> impl Strategy<Value = Schema> {
    (0_u32..=5).prop_map(|number| Schema::try_new(number).unwrap())
}

pub(crate) fn classic_bounds() -> impl Strategy<Value = ClassicBounds> {
    let bound = latency().prop_map(|bound| bound.max(Nanos(1)));
    collection::btree_set(bound, 0..=64)
        .prop_map(|bounds| ClassicBounds::try_new(bounds.into_iter().collect()).unwrap())
}

pub(crate) fn layout() -> impl Strategy<Value = Layout> {
    (schema(), classic_bounds()).prop_map(|(schema, bounds)| Layout { schema, bounds })
}

pub(crate) fn histogram(layout: Layout) -> impl Strategy<Value = Histogram> {
    collection::vec(latency(), 0..40).prop_map(move |samples| {
        let mut histogram = Histogram::new(layout.clone());
        samples
            .into_iter()
            .for_each(|sample| histogram.record(sample));
        histogram
    })
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1_u64..300, any::<u64>().prop_map(|n| n >> 8)]
}

fn series(layout: Layout) -> impl Strategy<Value = SeriesModel> {
    let class = (0..7_usize, 0..6_usize).prop_map(|(outcome, code)| {
        RequestClass {
            outcome: Outcome::ALL[outcome],
            code: CodeClass::ALL[code],
        }
        .index()
    });
    (
        any::<u64>(),
        "[a-zà-ÿ/0-9]{0,20}",
        collection::btree_map(class, count(), 0..6),
        histogram(layout),
        [count(), count(), count(), count()],
    )
        .prop_map(|(target, route, requests, histogram, rest)| SeriesModel {
            target,
            route,
            requests,
            histogram,
            rest,
        })
}

pub(crate) fn report() -> impl Strategy<Value = ReportModel> {
    let counter = (0..FilterCounter::ALL.len()).prop_map(|position| FilterCounter::ALL[position]);
    let counters = collection::btree_map(counter, any::<u64>(), 0..5);
    let head = (any::<[u8; 16]>(), 1..=u64::MAX, 0..u64::MAX / 2);
    (head, 0..=gaugeway_wire::limits::SPAN_NS, layout(), counters).prop_flat_map(
        |((vm, seq, from), span, layout, counters)| {
            collection::vec(series(layout.clone()), 0..8).prop_map(move |series| ReportModel {
                vm: VmId(vm),
                seq,
                from,
                span,
                layout: layout.clone(),
                series,
                counters: counters.clone(),
            })
        },
    )
}

pub(crate) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9.]{7,15}:[0-9]{1,5}",
        "cluster:[a-z/]{1,40}",
        "\\PC{1,20}"
    ]
}

fn encoded_target() -> impl Strategy<Value = (u64, Vec<u8>)> {
    target().prop_map(|target| (target.fingerprint().0, target.encode()))
}

pub(crate) fn target() -> impl Strategy<Value = Target> {
    let kind = prop_oneof![
        Just(TargetKind::Kubernetes),
        Just(TargetKind::Unknown),
        Just(TargetKind::Overflow)
    ];
    let name = prop_oneof![
        Just(names::NAMESPACE.to_owned()),
        Just(names::SERVICE.to_owned()),
        Just(names::POD.to_owned()),
        Just(names::ZONE.to_owned()),
        "label_[a-zA-Z0-9_]{1,20}",
    ];
    (kind, collection::btree_map(name, "\\PC{0,20}", 0..8)).prop_map(|(kind, labels)| {
        let labels = labels.into_iter().map(|(name, value)| Label {
            name: name.into(),
            value,
        });
        Target::try_new(kind, labels.collect()).unwrap()
    })
}

fn candidate() -> impl Strategy<Value = OwnedCandidate> {
    (any::<u64>(), collection::vec("\\PC{0,30}", 0..4)).prop_map(|(target, hints)| OwnedCandidate {
        target: Fingerprint(target),
        hints,
    })
}

fn entry() -> impl Strategy<Value = EntryModel> {
    (
        key(),
        collection::vec(candidate(), 0..4),
        0..u64::MAX / 1_000_000,
        any::<Option<u64>>(),
        collection::vec(encoded_target(), 0..3),
    )
        .prop_map(
            |(key, candidates, age_ms, previous, definitions)| EntryModel {
                key,
                candidates,
                age_ms,
                previous,
                definitions,
            },
        )
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    (layout(), 50_u64..=3_600_000, any::<bool>(), any::<u32>()).prop_map(
        |(layout, interval, route, grace)| Policy {
            schema: layout.schema,
            classic_bounds: layout.bounds,
            report_interval: Nanos::from_millis(interval),
            route,
            unknown_grace: Nanos::from_millis(grace.into()),
        },
    )
}

pub(crate) fn answer() -> impl Strategy<Value = AnswerModel> {
    (
        any::<[u64; 3]>(),
        any::<bool>(),
        proptest::option::of(policy()),
        collection::vec(entry(), 0..8),
    )
        .prop_map(|(head, more, policy, entries)| AnswerModel {
            head,
            more,
            policy,
            entries,
        })
}

pub(crate) fn mapping_request() -> impl Strategy<Value = MappingRequest> {
    (
        any::<[u8; 16]>(),
        any::<[u64; 3]>(),
        collection::vec(key(), 0..10),
        collection::vec(key(), 0..10),
        any::<bool>(),
    )
        .prop_map(|(vm, head, subscribe, release, no_wait)| MappingRequest {
            vm: VmId(vm),
            mapping_epoch: MappingEpoch(head[0]),
            generation: Generation(head[1]),
            received: Answer(head[2]),
            subscribe,
            release,
            no_wait,
        })
}

/// A report, definitions and a mapping request.
pub(crate) type CallModel = (Vec<u8>, Vec<(u64, Vec<u8>)>, Option<MappingRequest>);

pub(crate) fn report_call() -> impl Strategy<Value = CallModel> {
    (
        report().prop_map(|report| report.encode()),
        collection::vec(encoded_target(), 0..6),
        proptest::option::of(mapping_request()),
    )
}

pub(crate) fn report_answer() -> impl Strategy<Value = (ReportAnswer<'static>, Option<AnswerModel>)>
{
    (
        any::<[u64; 3]>(),
        collection::vec(any::<u64>(), 0..20),
        proptest::option::of(answer()),
    )
        .prop_map(|(head, undefined, mapping)| {
            let answer = ReportAnswer {
                ledger_epoch: LedgerEpoch(head[0]),
                seq: Seq(head[1]),
                undefined: undefined.into_iter().map(Fingerprint).collect(),
                mapping: None,
                rejected_series: head[2],
            };
            (answer, mapping)
        })
}

//! A model of the controller: as simple as the contract allows, and strict about it.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_wire::{
    Answer, Fingerprint, Generation, Label, LedgerEpoch, MAPPING_PATH, MappingAnswer, MappingEpoch,
    MappingRequest, Nanos, Outcome, Policy, Report, ReportAnswer, ReportCall, Seq, Target,
    TargetDefinition, TargetKind, VmId,
    mapping::{MappingAnswerWriter, OwnedCandidate},
    target::names,
};

use crate::host::{CallToken, Reply};

/// A held poll is answered after so long.
const HELD: u64 = 25_000_000_000;

/// Who owns a key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ownership {
    pub(crate) candidates: Vec<OwnedCandidate>,
    pub(crate) since: u64,
    pub(crate) previous: Option<Fingerprint>,
}

#[derive(Debug, Default)]
struct Vm {
    keys: BTreeSet<String>,
    /// Keys whose state this VM was not yet told.
    untold: BTreeSet<String>,
    /// Told, but not confirmed: the number of the answer and its keys.
    unconfirmed: Option<(Answer, BTreeSet<String>)>,
    answers: u64,
    policy_told: bool,
    held: Option<(CallToken, u64)>,
}

/// What was applied, of one (target, route).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) requests: BTreeMap<usize, u64>,
    pub(crate) samples: u64,
    pub(crate) sum: u64,
    pub(crate) retries: u64,
    pub(crate) aborted: u64,
    pub(crate) latency_unknown: u64,
    pub(crate) cancelled_wait: u64,
}

impl Total {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Controller {
    pub(crate) epoch: MappingEpoch,
    generation: u64,
    pub(crate) owners: BTreeMap<String, Ownership>,
    vms: BTreeMap<VmId, Vm>,
    pub(crate) policy: Option<Policy>,
    pub(crate) ledger: LedgerEpoch,
    pub(crate) sequences: BTreeMap<VmId, Seq>,
    pub(crate) totals: BTreeMap<(u64, String), Total>,
    pub(crate) counters: BTreeMap<&'static str, u64>,
    pub(crate) named: BTreeSet<u64>,
    /// Refuses reports that name one of these for good.
    pub(crate) illegal: BTreeSet<u64>,
    pub(crate) reports: u64,
    /// Mapping requests that came with a report's call.
    pub(crate) enclosed: u64,
    /// Whether mapping requests are answered with a mapping.
    pub(crate) synced: bool,
    pub(crate) spans: Vec<(u64, u64)>,
    pub(crate) layouts: Vec<u8>,
}

/// The target that a Service's name stands for.
pub(crate) fn target(service: &str) -> Target {
    let label = |name: &str, value: &str| Label {
        name: name.to_owned().into(),
        value: value.to_owned(),
    };
    let labels = vec![
        label(names::NAMESPACE, "demo"),
        label(names::SERVICE, service),
    ];
    Target::try_new(TargetKind::Kubernetes, labels).unwrap()
}

pub(crate) fn special(kind: TargetKind) -> Fingerprint {
    Target::try_new(kind, Vec::new()).unwrap().fingerprint()
}

impl Controller {
    pub(crate) fn new() -> Self {
        Self {
            epoch: MappingEpoch(101),
            generation: 1,
            owners: BTreeMap::new(),
            vms: BTreeMap::new(),
            policy: None,
            ledger: LedgerEpoch(7),
            sequences: BTreeMap::new(),
            totals: BTreeMap::new(),
            counters: BTreeMap::new(),
            named: BTreeSet::new(),
            illegal: BTreeSet::new(),
            reports: 0,
            enclosed: 0,
            synced: true,
            spans: Vec::new(),
            layouts: Vec::new(),
        }
    }

    /// Gives a key to Services, from now on.
    pub(crate) fn own(&mut self, key: &str, services: &[&str], now: u64) {
        let candidates = services.iter().map(|service| OwnedCandidate {
            target: target(service).fingerprint(),
            hints: vec![format!("demo/{service}")],
        });
        let candidates: Vec<_> = candidates.collect();
        let old = self
            .owners
            .get(key)
            .and_then(|old| old.candidates.first())
            .map(|first| first.target);
        let previous =
            old.filter(|&old| candidates.first().is_none_or(|first| first.target != old));
        let ownership = Ownership {
            candidates,
            since: now,
            previous,
        };
        self.owners.insert(key.to_owned(), ownership);
        self.generation += 1;
        for vm in self.vms.values_mut().filter(|vm| vm.keys.contains(key)) {
            vm.untold.insert(key.to_owned());
        }
    }

    /// A new process: nothing is known of any VM. Its ledger goes on.
    pub(crate) fn restart(&mut self) {
        self.epoch = MappingEpoch(self.epoch.0 + 1);
        self.vms.clear();
        for ownership in self.owners.values_mut() {
            ownership.previous = None;
        }
    }

    /// A new life of the ledger, that knows no names. (Its totals go on: that is this model's licence.)
    pub(crate) fn forget_names(&mut self) {
        self.ledger = LedgerEpoch(self.ledger.0 + 1);
        self.named.clear();
    }

    /// Tells the policy to everybody who asks next.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = Some(policy);
        self.vms.values_mut().for_each(|vm| vm.policy_told = false);
    }

    /// Handles a call; returns the answers to send, to whichever calls.
    pub(crate) fn handle(
        &mut self,
        token: CallToken,
        path: &str,
        body: &[u8],
        now: u64,
    ) -> Vec<(CallToken, Reply)> {
        if path == MAPPING_PATH {
            self.mapping(token, body, now)
        } else {
            vec![(token, self.report(body, now))]
        }
    }

    fn mapping(&mut self, token: CallToken, body: &[u8], now: u64) -> Vec<(CallToken, Reply)> {
        let Ok(request) = MappingRequest::decode(body) else {
            return vec![(token, status(400))];
        };
        if !self.synced {
            return vec![(token, status(503))];
        }
        let mut answers = Vec::new();
        let id = request.vm;
        let before = self.vms.get_mut(&id).and_then(|vm| vm.held.take());
        if let Some((held, _)) = before {
            answers.push((held, ok(empty(self.epoch, self.generation))));
        }
        self.subscribe(request, token, now);
        answers.extend(self.speak(id, now));
        answers
    }

    fn subscribe(&mut self, request: MappingRequest, token: CallToken, since: u64) {
        let vm = self.vms.entry(request.vm).or_default();
        if request.mapping_epoch != self.epoch {
            *vm = Vm::default();
        } else if let Some((answer, keys)) = vm.unconfirmed.take() {
            // What was not confirmed is said again.
            if request.received < answer {
                vm.untold.extend(keys);
            }
        }
        for key in request.release {
            vm.keys.remove(&key);
            vm.untold.remove(&key);
        }
        for key in request.subscribe {
            vm.keys.insert(key.clone());
            vm.untold.insert(key);
        }
        vm.held = Some((token, since));
    }

    /// The answer to a request that came with a report: at once, whatever there is to say.
    fn mapping_enclosed(&mut self, request: MappingRequest, now: u64) -> Option<Vec<u8>> {
        let id = request.vm;
        self.subscribe(request, CallToken(0), now - HELD);
        self.speak(id, now).map(|(_, reply)| reply.body)
    }

    /// Answers held polls that have something to be told, or were held long enough.
    pub(crate) fn tick(&mut self, now: u64) -> Vec<(CallToken, Reply)> {
        let vms: Vec<_> = self.vms.keys().copied().collect();
        vms.into_iter()
            .filter_map(|vm| self.speak(vm, now))
            .collect()
    }

    fn speak(&mut self, id: VmId, now: u64) -> Option<(CallToken, Reply)> {
        let vm = self.vms.get_mut(&id)?;
        let (token, since) = vm.held?;
        let news = !vm.untold.is_empty() || (self.policy.is_some() && !vm.policy_told);
        if !news {
            if now < since + HELD {
                return None;
            }
            vm.held = None;
            return Some((token, ok(empty(self.epoch, self.generation))));
        }
        vm.held = None;
        let mut writer = MappingAnswerWriter::new();
        if let Some(policy) = self.policy.as_ref().filter(|_| !vm.policy_told) {
            writer.policy(policy);
            vm.policy_told = true;
        }
        let mut told = BTreeSet::new();
        let mut more = false;
        for key in &vm.untold {
            let ownership = self.owners.get(key).cloned().unwrap_or_default();
            let services = ownership
                .candidates
                .iter()
                .map(|candidate| candidate.target);
            let targets: Vec<_> = services
                .chain(ownership.previous)
                .filter_map(definition_of)
                .collect();
            let definitions: Vec<_> = targets
                .iter()
                .map(|(fingerprint, bytes)| TargetDefinition {
                    fingerprint: *fingerprint,
                    target: bytes,
                })
                .collect();
            let age = Nanos(now.saturating_sub(ownership.since));
            if !writer.entry(
                key,
                &ownership.candidates,
                age,
                ownership.previous,
                &definitions,
            ) {
                more = true;
                break;
            }
            told.insert(key.clone());
        }
        vm.untold.retain(|key| !told.contains(key));
        vm.answers += 1;
        let answer = Answer(vm.answers);
        vm.unconfirmed = Some((answer, told));
        Some((
            token,
            ok(writer.finish(self.epoch, Generation(self.generation), answer, more)),
        ))
    }

    fn report(&mut self, body: &[u8], now: u64) -> Reply {
        let Ok(call) = ReportCall::decode(body) else {
            return status(400);
        };
        self.enclosed += u64::from(call.mapping.is_some());
        for definition in call.definitions() {
            let target = Target::decode(definition.target).unwrap();
            assert_eq!(
                target.fingerprint(),
                definition.fingerprint,
                "a definition came back as it was told"
            );
            self.named.insert(definition.fingerprint.0);
        }
        let mut undefined = BTreeSet::new();
        let mut seq = Seq(0);
        if !call.report.is_empty() {
            let report = Report::decode(call.report).expect("a legal report");
            if report
                .series()
                .any(|series| self.illegal.contains(&series.target.0))
            {
                return status(422);
            }
            let last = self.sequences.entry(report.vm).or_default();
            if report.seq > *last {
                *last = report.seq;
                self.apply(&report);
            }
            seq = self.sequences.get(&report.vm).copied().unwrap_or_default();
            undefined = report.series().map(|series| series.target.0).collect();
        }
        undefined.retain(|target| !self.named.contains(target));
        let mapping = match self.synced {
            true => call
                .mapping
                .and_then(|request| self.mapping_enclosed(request, now)),
            false => None,
        };
        let answer = ReportAnswer {
            ledger_epoch: self.ledger,
            seq,
            undefined: undefined.into_iter().map(Fingerprint).collect(),
            mapping: mapping.as_deref(),
            rejected_series: 0,
        };
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        ok(bytes)
    }

    fn apply(&mut self, report: &Report<'_>) {
        self.reports += 1;
        self.spans.push((report.from.0, report.to.0));
        self.layouts.push(report.layout.schema.get());
        for (counter, increase) in report.counters() {
            *self.counters.entry(counter.as_str()).or_default() += increase;
        }
        for series in report.series() {
            let total = self
                .totals
                .entry((series.target.0, series.route.to_owned()))
                .or_default();
            let mut with_latency = 0;
            for (class, count) in series.requests() {
                *total.requests.entry(class.index()).or_default() += count;
                if class.outcome.has_latency() {
                    with_latency += count;
                }
            }
            assert_eq!(
                with_latency,
                series.samples() + series.latency_unknown,
                "every latency is known or unknown"
            );
            total.samples += series.samples();
            total.sum += series.sum.0;
            total.retries += series.retries;
            total.aborted += series.aborted;
            total.latency_unknown += series.latency_unknown;
            total.cancelled_wait += series.cancelled_wait.0;
        }
    }

    /// Requests of all series.
    pub(crate) fn requests(&self) -> u64 {
        self.totals.values().map(Total::requests).sum()
    }

    /// All of a target's series.
    pub(crate) fn of(&self, target: Fingerprint) -> Total {
        let mut sum = Total::default();
        for total in self
            .totals
            .iter()
            .filter(|((of, _), _)| *of == target.0)
            .map(|(_, total)| total)
        {
            for (&class, &count) in &total.requests {
                *sum.requests.entry(class).or_default() += count;
            }
            sum.samples += total.samples;
            sum.sum += total.sum;
            sum.retries += total.retries;
            sum.aborted += total.aborted;
            sum.latency_unknown += total.latency_unknown;
            sum.cancelled_wait += total.cancelled_wait;
        }
        sum
    }

    pub(crate) fn service(&self, service: &str) -> Total {
        self.of(target(service).fingerprint())
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

/// Requests of one outcome.
pub(crate) fn outcome(total: &Total, outcome: Outcome) -> u64 {
    let of = |(class, count): (&usize, &u64)| (class / 8 == outcome as usize).then_some(*count);
    total.requests.iter().filter_map(of).sum()
}

/// The model's Services have short names: a definition can be found by trying them.
fn definition_of(fingerprint: Fingerprint) -> Option<(Fingerprint, Vec<u8>)> {
    let names = (0..8)
        .map(|n| format!("s{n}"))
        .chain((0..5000).map(|n| format!("many{n}")));
    let found = names
        .map(|name| target(&name))
        .find(|target| target.fingerprint() == fingerprint)?;
    Some((fingerprint, found.encode()))
}

fn empty(epoch: MappingEpoch, generation: u64) -> Vec<u8> {
    let bytes = MappingAnswerWriter::new().finish(epoch, Generation(generation), Answer(0), false);
    assert!(MappingAnswer::decode(&bytes).is_ok());
    bytes
}

fn ok(body: Vec<u8>) -> Reply {
    Reply {
        status: Some(200),
        retry_after: None,
        body,
    }
}

pub(crate) fn status(status: u16) -> Reply {
    Reply {
        status: Some(status),
        ..Reply::default()
    }
}

//! A worker VM as the controller sees it: subscribes to addresses, and reports what it was told that they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{Client, client::Request, controller};
use gaugeway_wire::{
    CodeClass, Fingerprint, Histogram, Layout, MappingAnswer, MappingRequest, Nanos, Outcome,
    Policy, ReportAnswer, ReportCall, RequestClass, Seq, TargetDefinition, UnixNanos, VmId,
    limits::KEYS_PER_REQUEST,
    report::{ReportWriter, SeriesCounts},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Requests of each series in a report.
const SAMPLES: u32 = 20;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Worker {
    client: Client,
    gateway: String,
    token: String,
    held: MappingRequest,
    seq: u64,
    /// End of the last report's span.
    reported: Option<UnixNanos>,
    targets: BTreeMap<Fingerprint, Vec<u8>>,
    /// Of these the ledger has the definition.
    defined: BTreeSet<Fingerprint>,
    layout: Layout,
    random: StdRng,
}

impl Worker {
    pub(crate) fn new(controller: SocketAddr, gateway: &str, number: u8) -> Self {
        Self {
            client: Client::new(controller),
            gateway: gateway.to_owned(),
            token: controller::token(gateway),
            held: MappingRequest::new(VmId([number; 16])),
            seq: 0,
            reported: None,
            targets: BTreeMap::new(),
            defined: BTreeSet::new(),
            layout: Policy::default().layout(),
            random: StdRng::seed_from_u64(number.into()),
        }
    }

    /// Targets that it knows.
    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
    }

    /// Subscribes to these addresses and takes what they are.
    pub(crate) async fn subscribe(&mut self, addresses: &[String]) -> Result<()> {
        for some in addresses.chunks(KEYS_PER_REQUEST) {
            self.held.subscribe = some.to_vec();
            while self.ask().await? {}
        }
        Ok(())
    }

    /// True if there is more to be told.
    async fn ask(&mut self) -> Result<bool> {
        self.held.no_wait = true;
        let mut body = Vec::new();
        self.held.encode(&mut body);
        let bytes = self.call("/v1/mapping", body).await?;
        self.held.subscribe.clear();
        let answer = MappingAnswer::decode(&bytes)?;
        self.held.mapping_epoch = answer.mapping_epoch;
        self.held.generation = answer.generation;
        self.held.received = answer.answer;
        if let Some(policy) = &answer.policy {
            self.layout = policy.layout();
        }
        let targets = answer.targets();
        self.targets
            .extend(targets.map(|t| (t.fingerprint, t.target.to_vec())));
        Ok(answer.more)
    }

    /// Whether any target that it knows has that text in it, such as a Pod's name.
    pub(crate) fn knows(&self, text: &str) -> bool {
        let has = |target: &Vec<u8>| {
            target
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        self.targets.values().any(has)
    }

    /// Reports some requests of every target, counted since the last report or, with the first one, over an interval.
    pub(crate) async fn go_on(&mut self, interval: Duration, to: UnixNanos) -> Result<()> {
        let since = self.reported.and_then(|last| to.since(last));
        let span = since.map_or(interval, |since| Duration::from_nanos(since.0));
        self.report(span, to).await
    }

    /// Reports some requests of every target, counted over the interval that ended at `to`.
    pub(crate) async fn report(&mut self, interval: Duration, to: UnixNanos) -> Result<()> {
        let all: Vec<_> = self.targets.iter().map(|(f, t)| (*f, t.clone())).collect();
        let from = UnixNanos(to.0 - u64::try_from(interval.as_nanos())?);
        self.reported = Some(to);
        let mut left = all.as_slice();
        while !left.is_empty() {
            let (report, taken) = self.chunk(left, from, to)?;
            let (told, rest) = left.split_at(taken);
            let undefined = told.iter().filter(|(of, _)| !self.defined.contains(of));
            let definitions = undefined.map(|(fingerprint, target)| TargetDefinition {
                fingerprint: *fingerprint,
                target,
            });
            let mut call = Vec::new();
            ReportCall::encode(&report, definitions, None, &mut call);
            let bytes = self.call("/v1/report", call).await?;
            let answer = ReportAnswer::decode(&bytes)?;
            ensure!(answer.rejected_series == 0, "not counted: {answer:?}");
            let known = told.iter().filter(|(of, _)| !answer.undefined.contains(of));
            self.defined.extend(known.map(|(of, _)| *of));
            left = rest;
        }
        Ok(())
    }

    fn chunk(
        &mut self,
        series: &[(Fingerprint, Vec<u8>)],
        from: UnixNanos,
        to: UnixNanos,
    ) -> Result<(Vec<u8>, usize)> {
        self.seq += 1;
        let mut writer =
            ReportWriter::new(Vec::new(), self.held.vm, Seq(self.seq), from, &self.layout);
        let mut taken = 0;
        for (target, _) in series {
            let latency = self.latency();
            if !writer.series(counts(*target, &latency)?) {
                break;
            }
            taken += 1;
        }
        ensure!(taken > 0, "no series fits into a report");
        Ok((writer.finish(to), taken))
    }

    /// Around 10 ms, with a long tail.
    fn latency(&mut self) -> Histogram {
        let mut latency = Histogram::new(self.layout.clone());
        for _ in 0..SAMPLES {
            let base = 1_000_000 << self.random.random_range(0..4);
            let tail = if self.random.random_range(0..20) == 0 {
                60
            } else {
                1
            };
            latency.record(Nanos((base + self.random.random_range(0..base)) * tail));
        }
        latency
    }

    async fn call(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>> {
        let request = Request::post(path, body)
            .header("x-gaugeway-gateway", &self.gateway)
            .header("authorization", &format!("Bearer {}", self.token));
        let answer = self.client.send(request).await?;
        ensure!(
            answer.status == 200,
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(answer.body.to_vec())
    }
}

type Pairs<T> = std::vec::IntoIter<(T, u64)>;

fn counts(
    target: Fingerprint,
    latency: &Histogram,
) -> Result<SeriesCounts<'static, Pairs<RequestClass>, Pairs<i32>, Pairs<usize>>> {
    let answered = RequestClass {
        outcome: Outcome::Response,
        code: CodeClass::Success,
    };
    let classic = latency.classic().enumerate();
    let classic: Vec<_> = classic.filter(|(_, count)| *count > 0).collect();
    Ok(SeriesCounts {
        target,
        route: "",
        requests: vec![(answered, latency.count())].into_iter(),
        native: latency.native().collect::<Vec<_>>().into_iter(),
        classic: classic.into_iter(),
        zero_count: latency.zero_count(),
        sum: Nanos(u64::try_from(latency.sum_ns()).context("a sum")?),
        retries: 0,
        aborted: 0,
        latency_unknown: 0,
        cancelled_wait: Nanos(0),
    })
}

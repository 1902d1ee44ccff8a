//! Our module with a clock around each of its callbacks: what they took is in histograms of Envoy's, one per callback.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use walrus::{
    ConstExpr, DataKind, FunctionBuilder, FunctionId, MemoryId, Module, ValType,
    ir::{BinaryOp, LoadKind, MemArg, Value},
};

/// Names of the histograms begin with it.
const PREFIX: &str = "callback.";
/// What callbacks' names begin with.
const CALLBACK: &str = "proxy_on_";
/// Begins so, too, and is how the host gets memory.
const ALLOCATE: &str = "proxy_on_memory_allocate";
const PAGE: u64 = 65_536;
/// The ABI's number of a histogram.
const HISTOGRAM: i32 = 2;

/// Host functions that the clocks need.
struct Host {
    now: FunctionId,
    define: FunctionId,
    record: FunctionId,
}

/// `wasm` with the clocks.
pub(crate) fn timed(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::from_buffer(wasm)?;
    let memory = module.get_memory_id()?;
    // A page of ours after all that the linker knows of: the guest's allocator asks for what comes later.
    let of = module.memories.get_mut(memory);
    let page = of.initial * PAGE;
    of.initial += 1;
    let host = Host {
        now: import(
            &mut module,
            "proxy_get_current_time_nanoseconds",
            &[ValType::I32],
        ),
        define: import(&mut module, "proxy_define_metric", &[ValType::I32; 4]),
        record: import(
            &mut module,
            "proxy_record_metric",
            &[ValType::I32, ValType::I64],
        ),
    };
    let callbacks: Vec<_> = module
        .exports
        .iter()
        .filter(|export| export.name.starts_with(CALLBACK) && export.name != ALLOCATE)
        .map(|export| (export.id(), export.name.clone()))
        .collect();
    let scratch = i32::try_from(page)?;
    let mut names = Vec::new();
    for (export, name) in callbacks {
        let inner = module.exports.get_func(&name)?;
        let text = format!("{PREFIX}{}", name.trim_start_matches(CALLBACK));
        let at = scratch + 8 + i32::try_from(names.len())?;
        let name = (at, i32::try_from(text.len())?);
        names.extend_from_slice(text.as_bytes());
        let wrapped = wrap(&mut module, memory, &host, inner, scratch, name);
        module.exports.get_mut(export).item = wrapped.into();
    }
    let offset = ConstExpr::Value(Value::I32(scratch + 8));
    module.data.add(DataKind::Active { memory, offset }, names);
    Ok(module.emit_wasm())
}

fn import(module: &mut Module, name: &str, parameters: &[ValType]) -> FunctionId {
    let held = module.imports.get_func("env", name);
    held.unwrap_or_else(|_| {
        let of = module.types.add(parameters, &[ValType::I32]);
        module.add_import_func("env", name, of).0
    })
}

/// A function that calls `inner` between two looks at the clock. The host writes into `scratch`, eight bytes.
fn wrap(
    module: &mut Module,
    memory: MemoryId,
    host: &Host,
    inner: FunctionId,
    scratch: i32,
    (name, length): (i32, i32),
) -> FunctionId {
    let of = module.types.get(module.funcs.get(inner).ty());
    let (parameters, results) = (of.params().to_vec(), of.results().to_vec());
    let arguments: Vec<_> = parameters.iter().map(|of| module.locals.add(*of)).collect();
    let answers: Vec<_> = results.iter().map(|of| module.locals.add(*of)).collect();
    let begun = module.locals.add(ValType::I64);
    let zero = ConstExpr::Value(Value::I32(0));
    let metric = module.globals.add_local(ValType::I32, true, false, zero);
    let read = |align| MemArg { align, offset: 0 };
    let mut function = FunctionBuilder::new(&mut module.types, &parameters, &results);
    let mut body = function.func_body();
    body.global_get(metric).if_else(
        None,
        |_| {},
        |undefined| {
            undefined
                .i32_const(HISTOGRAM)
                .i32_const(name)
                .i32_const(length);
            undefined.i32_const(scratch).call(host.define).drop();
            undefined.i32_const(scratch);
            undefined.load(memory, LoadKind::I32 { atomic: false }, read(4));
            undefined.global_set(metric);
        },
    );
    let time = |body: &mut walrus::InstrSeqBuilder<'_>| {
        body.i32_const(scratch).call(host.now).drop();
        body.i32_const(scratch);
        body.load(memory, LoadKind::I64 { atomic: false }, read(8));
    };
    time(&mut body);
    body.local_set(begun);
    for argument in &arguments {
        body.local_get(*argument);
    }
    body.call(inner);
    for answer in answers.iter().rev() {
        body.local_set(*answer);
    }
    body.global_get(metric);
    time(&mut body);
    body.local_get(begun).binop(BinaryOp::I64Sub);
    body.call(host.record).drop();
    for answer in &answers {
        body.local_get(*answer);
    }
    function.finish(arguments, &mut module.funcs)
}

/// Where Envoy tells what the clocks saw.
pub(crate) const STATS: &str = "/stats?format=json&histogram_buckets=detailed&filter=callback%5C.";

/// The times of one callback.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) callback: String,
    /// Upper bounds with how many were not above them and above the one before, in order.
    buckets: Vec<(Duration, u64)>,
}

#[derive(Deserialize)]
struct Stats {
    stats: Vec<Histograms>,
}

#[derive(Deserialize)]
struct Histograms {
    histograms: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    details: Vec<Histogram>,
}

#[derive(Deserialize)]
struct Histogram {
    name: String,
    totals: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    lower_bound: f64,
    width: f64,
    count: u64,
}

impl Times {
    /// Of each callback, from what Envoy says.
    pub(crate) fn of(page: &str) -> Result<Vec<Self>> {
        let stats: Stats =
            serde_json::from_str(page).with_context(|| format!("Envoy's stats: {page}"))?;
        let details = stats.stats.into_iter().filter_map(|of| of.histograms);
        let histograms = details.flat_map(|of| of.details);
        let times = histograms.map(|of| Self {
            callback: of.name.rsplit('.').next().unwrap_or_default().to_owned(),
            buckets: of.totals.iter().map(Bucket::upper).collect(),
        });
        Ok(times.collect())
    }

    /// Of all of these.
    pub(crate) fn all(times: &[Self]) -> Self {
        let mut buckets = BTreeMap::new();
        for (upper, count) in times.iter().flat_map(|of| &of.buckets) {
            *buckets.entry(*upper).or_default() += count;
        }
        Self {
            callback: "all".to_owned(),
            buckets: buckets.into_iter().collect(),
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// How many took longer.
    pub(crate) fn above(&self, limit: Duration) -> u64 {
        let above = self.buckets.iter().filter(|(upper, _)| *upper > limit);
        above.map(|(_, count)| count).sum()
    }

    /// The bound that this share is not above; Envoy's buckets are at most a tenth of it wide.
    pub(crate) fn quantile(&self, q: f64) -> Result<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 callbacks")]
        let wanted = q * self.count() as f64;
        let mut seen = 0;
        for (upper, count) in &self.buckets {
            seen += count;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 callbacks")]
            if seen as f64 >= wanted && *count > 0 {
                return Ok(*upper);
            }
        }
        bail!("{} was never called", self.callback)
    }
}

impl Bucket {
    fn upper(&self) -> (Duration, u64) {
        let nanoseconds = (self.lower_bound + self.width).max(0.0);
        (Duration::from_secs_f64(nanoseconds / 1e9), self.count)
    }
}

//! Benches: criterion's, found through `cargo metadata`, and those with real processes.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::run::{self, Step, cargo};
use crate::tools::{Need, Tools};

/// Those with real processes: one program of its own, its runs take minutes and need set-up.
const WITH_PROCESSES: [(&str, &str); 6] = [
    (
        "filter",
        "CPU that the filter adds to a request in a real Envoy, beside other filters",
    ),
    (
        "latency",
        "what the filter adds to the 99th percentile in a real Envoy",
    ),
    (
        "callbacks",
        "how long callbacks hold a worker's event loop while 4,096 addresses change owners",
    ),
    (
        "mapping",
        "from a change of an EndpointSlice until it is in force in every worker of a real Envoy",
    ),
    (
        "answers",
        "how soon the metrics API answers an autoscaler, with 5,000 Services, while reports come",
    ),
    (
        "scale",
        "time, CPU and memory of the controller with 100,000 endpoints that change, beside kube-rs's stores",
    ),
];

/// Stories with two controllers, on the test profile: what they time is the protocol.
const FAILOVER: (&str, &str) = (
    "failover",
    "from the end of a leader to the next acknowledged report, and a minute without an API server",
);
const FAILOVERS: [&str; 4] = [
    "failover::twenty_leaders_that_end_in_order",
    "failover::leaders_killed_and_back_within_the_default_lease",
    "failover::leaders_killed_for_good_with_the_default_lease",
    "failover::without_an_api_server_for_a_minute_nothing_is_lost",
];

/// Runs the bench called `name`, all of them without, or only says which there are.
pub(crate) fn bench(name: Option<&str>, list: bool, args: &[OsString]) -> Result<()> {
    let criterion = criterion_benches()?;
    if list {
        WITH_PROCESSES
            .iter()
            .chain([&FAILOVER])
            .for_each(|(bench, what)| println!("{bench}\t{what}"));
        criterion
            .iter()
            .for_each(|(package, bench)| println!("{bench}\tcriterion, {package}"));
        return Ok(());
    }
    let wanted = |bench: &str| name.is_none_or(|name| name == bench);
    let criterion: Vec<_> = criterion
        .iter()
        .filter(|(_, bench)| wanted(bench))
        .collect();
    let with_processes: Vec<_> = WITH_PROCESSES
        .iter()
        .map(|(bench, _)| *bench)
        .filter(|bench| wanted(bench))
        .collect();
    let failover = wanted(FAILOVER.0);
    if criterion.is_empty() && with_processes.is_empty() && !failover {
        bail!(
            "there is no bench called {}: cargo xtask bench --list",
            name.unwrap_or_default()
        );
    }
    for (package, bench) in criterion {
        let step = Step::start(format!("bench {bench} of {package}"));
        run::run(cargo(["bench", "--package", package, "--bench", bench, "--"]).args(args))?;
        step.done();
    }
    run_with_processes(&with_processes, args)?;
    if failover { run_failover() } else { Ok(()) }
}

fn run_failover() -> Result<()> {
    let tools = Tools::set_up(&[Need::WasmTargets, Need::Envoy])?;
    let step = Step::start("bench failover");
    let mut command = cargo(["test", "--package", "gaugeway", "--test", "e2e", "--"]);
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1"]);
    run::run(command.args(FAILOVERS).envs(tools.environment()))?;
    step.done();
    Ok(())
}

fn run_with_processes(benches: &[&str], args: &[OsString]) -> Result<()> {
    if benches.is_empty() {
        return Ok(());
    }
    let tools = Tools::set_up(&[Need::WasmTargets, Need::Envoy])?;
    let target = run::target_directory()?;
    let built = target.join("bench-filters");
    run::run(&mut cargo([
        "build",
        "--release",
        "--package",
        "gaugeway",
        "--package",
        "gaugeway-bench",
        "--bins",
    ]))?;
    let mut others = cargo([
        "build",
        "--release",
        "--target",
        "wasm32-wasip1",
        "--target-dir",
    ]);
    run::run(others.arg(&built).current_dir(filters()))?;
    let release = target.join("release");
    for bench in benches {
        let step = Step::start(format!("bench {bench}"));
        let mut command = run::command(release.join("gaugeway-bench"));
        command.arg(bench).args(args).envs(tools.environment());
        command.env("GAUGEWAY_BIN", release.join("gaugeway"));
        command.env(
            "GAUGEWAY_BENCH_FILTERS",
            built.join("wasm32-wasip1").join("release"),
        );
        run::run(&mut command)?;
        step.done();
    }
    Ok(())
}

/// The workspace of the filters that ours is compared with.
pub(crate) fn filters() -> PathBuf {
    run::root().join("tests").join("bench-filters")
}

/// (package, bench) of every bench target in the workspace.
fn criterion_benches() -> Result<Vec<(String, String)>> {
    let metadata = run::metadata()?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let benches = packages.flat_map(|package| {
        let targets = package["targets"].as_array().into_iter().flatten();
        let benches = targets.filter(|target| target["kind"][0] == "bench");
        benches
            .map(|target| (text(&package["name"]), text(&target["name"])))
            .collect::<Vec<_>>()
    });
    Ok(benches.collect())
}

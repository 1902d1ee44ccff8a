//! Benches: criterion's, found through `cargo metadata`, and the filter's cost in a real Envoy.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::run::{self, Step, cargo};
use crate::tools::{Need, Tools};

/// The harness for a real Envoy: a program of its own, its runs take minutes and need set-up.
const IN_ENVOY: &str = "filter";

/// Runs the bench called `name`, all of them without, or only says which there are.
pub(crate) fn bench(name: Option<&str>, list: bool, args: &[OsString]) -> Result<()> {
    let criterion = criterion_benches()?;
    if list {
        println!(
            "{IN_ENVOY}\tCPU that the filter adds to a request in a real Envoy, against others"
        );
        criterion
            .iter()
            .for_each(|(package, bench)| println!("{bench}\tcriterion, {package}"));
        return Ok(());
    }
    let wanted = |bench: &str| name.is_none_or(|name| name == bench);
    let chosen: Vec<_> = criterion
        .iter()
        .filter(|(_, bench)| wanted(bench))
        .collect();
    if chosen.is_empty() && !wanted(IN_ENVOY) {
        bail!(
            "there is no bench called {}: cargo xtask bench --list",
            name.unwrap_or_default()
        );
    }
    for (package, bench) in chosen {
        let step = Step::start(format!("bench {bench} of {package}"));
        run::run(cargo(["bench", "--package", package, "--bench", bench, "--"]).args(args))?;
        step.done();
    }
    if wanted(IN_ENVOY) {
        in_envoy(args)?;
    }
    Ok(())
}

fn in_envoy(args: &[OsString]) -> Result<()> {
    let tools = Tools::set_up(&[Need::WasmTargets, Need::Envoy])?;
    let step = Step::start("bench filter in a real Envoy");
    run::run(&mut cargo(["build", "--release", "--bin", "gaugeway"]))?;
    run::run(cargo(["build", "--release", "--target", "wasm32-wasip1"]).current_dir(filters()))?;
    let mut command = cargo(["run", "--release", "--package", "gaugeway-bench", "--"]);
    let gaugeway = run::target_directory()?.join("release").join("gaugeway");
    let built = filters().join("target/wasm32-wasip1/release");
    command.args(args).envs(tools.environment());
    run::run(
        command
            .env("GAUGEWAY_BIN", gaugeway)
            .env("GAUGEWAY_BENCH_FILTERS", built),
    )?;
    step.done();
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

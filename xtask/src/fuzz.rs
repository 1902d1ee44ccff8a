//! Fuzzing on stable Rust: libFuzzer drives the targets of `fuzz/`, our own crates are built to tell their coverage.
//!
//! Seeds are made anew each time; what a run finds interesting is kept in `target/fuzz/corpus/` and used again, but for
//! the short run of CI, which is the same every time.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::run::{self, Seconds, Step, cargo};

/// How long to fuzz.
#[derive(Clone, Copy)]
pub(crate) enum Effort {
    /// The same inputs each time, seconds per target.
    Short,
    /// From a corpus that grows.
    Minutes(u64),
}

/// Inputs of each target in a short run, unless its time is over before.
const SHORT_RUNS: u32 = 20_000;
const SHORT_TIME: Duration = Duration::from_secs(4);
/// Longest input: a bit over the contract's longest message.
const LONGEST: u32 = 70_000;

/// Runs the target called `name`, all of them without; `list` only says which there are.
pub(crate) fn fuzz(name: Option<&str>, list: bool, effort: Effort) -> Result<()> {
    let targets = targets()?;
    if list {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(());
    }
    let wanted: Vec<_> = targets
        .iter()
        .filter(|target| name.is_none_or(|name| name == *target))
        .collect();
    if wanted.is_empty() {
        let name = name.unwrap_or_default();
        bail!("there is no fuzz target called {name}: cargo xtask fuzz --list");
    }
    let place = run::target_directory()?.join("fuzz");
    let programs = build(effort)?;
    let seeds = place.join("seeds");
    let mut make = cargo(["run", "--quiet", "--package", "gaugeway-fuzz"]);
    run::run(
        make.args(["--example", "seeds", "--"])
            .arg(&seeds)
            .args(run::locked()),
    )?;
    let mut failed = Vec::new();
    for target in wanted {
        let step = Step::start(format!("fuzz {target}"));
        match run_one(&programs.join(target), &place, target, effort) {
            Ok(()) => drop(step.done()),
            Err(error) => failed.push(format!("{target}: {error:#}")),
        }
    }
    if !failed.is_empty() {
        bail!(
            "a law was broken:\n  - {}\nThe input is in {}; run it again with: TARGET-PROGRAM FILE. \
             Mend the cause and add a test with these bytes beside it",
            failed.join("\n  - "),
            place.join("artifacts").display()
        );
    }
    Ok(())
}

fn run_one(program: &Path, place: &Path, target: &str, effort: Effort) -> Result<()> {
    let corpus = match effort {
        Effort::Short => place.join("scratch").join(target),
        Effort::Minutes(_) => place.join("corpus").join(target),
    };
    if matches!(effort, Effort::Short) && corpus.exists() {
        fs::remove_dir_all(&corpus)
            .with_context(|| format!("cannot clear {}", corpus.display()))?;
    }
    let artifacts = place.join("artifacts");
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let mut command = run::command(program);
    command.arg(&corpus).arg(place.join("seeds").join(target));
    command.args([
        format!("-max_len={LONGEST}"),
        "-timeout=30".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
        format!("-artifact_prefix={}/{target}-", artifacts.display()),
    ]);
    match effort {
        Effort::Short => command.args([
            "-seed=1".to_owned(),
            format!("-runs={SHORT_RUNS}"),
            format!("-max_total_time={}", SHORT_TIME.as_secs()),
        ]),
        Effort::Minutes(minutes) => {
            let time = Duration::from_secs(minutes.saturating_mul(60));
            eprintln!("    for {}", Seconds(time));
            command.arg(format!("-max_total_time={}", time.as_secs()))
        }
    };
    run::run(&mut command)
}

/// Where the built programs are. A short run shares what the tests have built of others' crates; a long one is
/// optimised.
fn build(effort: Effort) -> Result<PathBuf> {
    let profile = match effort {
        Effort::Short => "dev",
        Effort::Minutes(_) => "fuzz",
    };
    let step = Step::start("build the fuzz targets");
    let wrapper = run::root().join("fuzz").join("instrumented-rustc");
    let mut command = cargo(["build", "--package", "gaugeway-fuzz", "--bins"]);
    command
        .args(["--features", "libfuzzer", "--profile", profile])
        .args(run::locked())
        .env("RUSTC_WORKSPACE_WRAPPER", wrapper);
    // libFuzzer is C++.
    if env::var_os("CXX").is_none() && run::on_path("c++").is_none() {
        bail!(
            "a C++ compiler is missing: install g++ (Debian: apt-get install g++), or name one in CXX"
        );
    }
    run::run(&mut command)?;
    step.done();
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(run::target_directory()?.join(directory))
}

/// The targets' names, from the package itself.
fn targets() -> Result<Vec<String>> {
    let metadata = run::metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let of_fuzz = packages
        .filter(|package| package["name"] == "gaugeway-fuzz")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let programs = of_fuzz.filter(|target| target["kind"][0] == "bin");
    Ok(programs
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect())
}

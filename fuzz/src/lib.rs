//! Fuzz targets: one for every decoder of outside bytes, as plain functions.
//!
//! Each asserts a law, not only that nothing panics: it agrees with another implementation, keeps its bounds, or loses
//! and doubles no count. `fuzz_targets/` hands each to libFuzzer (`cargo xtask fuzz`); the tests here run each over its
//! seeds, so that a target that reaches nothing any more is noticed. What fuzzing finds becomes a test with its bytes
//! and its cause, beside the code that was wrong.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    missing_docs,
    reason = "all of it is test code"
)]

#[path = "../../wire/tests/contract/agreement.rs"]
#[expect(dead_code, reason = "the wire's own tests use more of it")]
mod agreement;
mod apis;
mod controller;
mod filter;
mod host;
mod http;
mod input;
mod ledger;
#[path = "../../wire/tests/contract/models.rs"]
#[expect(dead_code, reason = "the wire's own tests use more of it")]
mod models;
mod seeds;

/// One target: feeds it bytes; says whether they got past the first checks.
pub struct Target {
    pub name: &'static str,
    run: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 20] = [
    target("report", agreement::report, seeds::report),
    target("report_call", agreement::report_call, seeds::report_call),
    target(
        "report_answer",
        agreement::report_answer,
        seeds::report_answer,
    ),
    target(
        "mapping_request",
        agreement::mapping_request,
        seeds::mapping_request,
    ),
    target(
        "mapping_answer",
        agreement::mapping_answer,
        seeds::mapping_answer,
    ),
    target("policy", agreement::policy, seeds::policy),
    target("target", agreement::target, seeds::target),
    target("configuration", filter::configuration, seeds::configuration),
    target("metadata", filter::metadata, seeds::metadata),
    target(
        "envoy_attributes",
        filter::envoy_attributes,
        seeds::attributes,
    ),
    target(
        "kong_attributes",
        filter::kong_attributes,
        seeds::kong_attributes,
    ),
    target("filter_answers", filter::answers, seeds::filter_answers),
    target(
        "latency_policy",
        controller::latency_policy,
        seeds::latency_policy,
    ),
    target("manifests", controller::manifests, seeds::manifests),
    target("ledger", ledger::recovery, ledger::seeds),
    target("http", http::front, http::seeds),
    target("selector", apis::selector, apis::selectors),
    target("question", apis::question, apis::questions),
    target("callers", apis::callers, apis::said_of_callers),
    target("quantity", apis::quantity, apis::quantities),
];

const fn target(name: &'static str, run: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, run, seeds }
}

impl Target {
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// Feeds `bytes` to the target called `name`.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target of this name").run)(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_gets_past_its_first_checks() {
        for target in TARGETS {
            let seeds = target.seeds();
            assert!(!seeds.is_empty());
            for seed in seeds {
                let shown = String::from_utf8_lossy(&seed);
                assert!((target.run)(&seed), "{}: {shown:?}", target.name);
            }
        }
    }

    #[test]
    fn every_target_stands_a_cut_or_flipped_seed() {
        for target in TARGETS {
            for seed in target.seeds() {
                for at in (0..seed.len()).step_by(seed.len() / 16 + 1) {
                    (target.run)(&seed[..at]);
                    let mut flipped = seed.clone();
                    flipped[at] ^= 1 << (at % 8);
                    (target.run)(&flipped);
                }
            }
        }
    }

    #[test]
    fn every_target_has_its_program() {
        let manifest = include_str!("../Cargo.toml");
        let programs = manifest.matches("[[bin]]").count();
        assert_eq!(programs, TARGETS.len());
        for target in TARGETS {
            let name = format!("name = \"{}\"", target.name);
            assert!(manifest.contains(&name), "{name}");
        }
    }
}

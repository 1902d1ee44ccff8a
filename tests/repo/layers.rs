//! The layers: what each crate may use of ours, and what the pure ones must not use of others'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// (crate, what it may use of ours), outside of its tests. A crate of ours that is not here has no place yet.
const LAYERS: [(&str, &[&str]); 16] = [
    ("gaugeway-wire", &[]),
    ("gaugeway-wire-oracle", &[]),
    ("gaugeway-filter-core", &["gaugeway-wire"]),
    (
        "gaugeway-filter",
        &["gaugeway-wire", "gaugeway-filter-core"],
    ),
    ("gaugeway-index", &["gaugeway-wire"]),
    ("gaugeway-aggregate", &["gaugeway-wire"]),
    ("gaugeway-operator", &["gaugeway-wire"]),
    (
        "gaugeway-controller",
        &[
            "gaugeway-wire",
            "gaugeway-index",
            "gaugeway-aggregate",
            "gaugeway-operator",
        ],
    ),
    ("gaugeway-apiserver", &[]),
    (
        "gaugeway-bench",
        &["gaugeway-wire", "gaugeway-apiserver", "gaugeway-rig"],
    ),
    (
        "gaugeway-fuzz",
        &[
            "gaugeway-wire",
            "gaugeway-wire-oracle",
            "gaugeway-filter-core",
            "gaugeway-index",
            "gaugeway-aggregate",
            "gaugeway-operator",
            "gaugeway-controller",
        ],
    ),
    ("gaugeway-guest", &["gaugeway-wire"]),
    ("gaugeway-rig", &["gaugeway-wire"]),
    ("gaugeway-schemas", &[]),
    (
        "gaugeway",
        &[
            "gaugeway-wire",
            "gaugeway-controller",
            "gaugeway-operator",
            "gaugeway-rig",
        ],
    ),
    ("xtask", &[]),
];

/// Pure and synchronous: no IO, no clock, no runtime, no client, no log backend.
const PURE: [&str; 5] = [
    "gaugeway-wire",
    "gaugeway-filter-core",
    "gaugeway-index",
    "gaugeway-aggregate",
    "gaugeway-operator",
];

/// What would end that, at any depth.
const IMPURE: [&str; 13] = [
    "async-std",
    "axum",
    "env_logger",
    "hyper",
    "kube",
    "kube-client",
    "mio",
    "proxy-wasm",
    "reqwest",
    "socket2",
    "tokio",
    "tower",
    "tracing-subscriber",
];

#[test]
fn each_crate_uses_only_the_layers_below_it() {
    let layers: BTreeMap<_, _> = LAYERS.into();
    let ours: BTreeSet<&str> = workspace()
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(
        ours,
        layers.keys().copied().collect(),
        "give a new crate its place in LAYERS, remove a gone one"
    );
    for package in workspace() {
        let allowed = layers[package.name.as_str()];
        let shipped = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal);
        for used in shipped
            .map(|dependency| dependency.name.as_str())
            .filter(|name| ours.contains(name))
        {
            assert!(
                allowed.contains(&used),
                "{} may not use {used}",
                package.name
            );
        }
    }
}

/// Elsewhere than in the guest's side of the host's ABI nobody can allow it again. libFuzzer's macro exports a function.
#[test]
fn every_crate_but_the_filters_forbids_unsafe_code() {
    for package in workspace() {
        let compiled = package.targets.iter().filter(|target| {
            target.is_lib() || target.is_bin() || target.is_custom_build() || target.is_cdylib()
        });
        for target in compiled {
            let is_exempt = package.name.as_str() == "gaugeway-filter"
                || target.src_path.as_str().contains("/fuzz_targets/");
            let text = fs::read_to_string(&target.src_path).unwrap();
            assert!(
                is_exempt || text.contains("\n#![forbid(unsafe_code)]\n"),
                "{}: add #![forbid(unsafe_code)]",
                target.src_path
            );
        }
    }
}

#[test]
fn pure_crates_reach_no_runtime_client_or_log_backend() {
    for name in PURE {
        let found: Vec<_> = reached(name)
            .into_iter()
            .filter(|used| IMPURE.contains(used))
            .collect();
        assert!(
            found.is_empty(),
            "{name} must stay pure, but uses {found:?} (cargo tree -p {name} -i ONE tells why)"
        );
    }
}

#[test]
fn the_filter_brings_no_runtime_into_the_guest() {
    let found: Vec<_> = reached("gaugeway-filter")
        .into_iter()
        .filter(|used| IMPURE.contains(used) && *used != "proxy-wasm")
        .collect();
    assert!(found.is_empty(), "the filter uses {found:?}");
}

#[test]
fn wire_is_no_std() {
    let source = fs::read_to_string(crate::files::root().join("wire/src/lib.rs")).unwrap();
    assert!(
        source
            .lines()
            .any(|line| line == "#![no_std]" || line == "#![cfg_attr(not(test), no_std)]")
    );
}

#[test]
fn every_crate_inherits_the_lints() {
    for package in workspace() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{}: add [lints] workspace = true",
            package.name
        );
    }
}

#[test]
fn pure_crates_share_one_list_of_bans() {
    // Clippy reads only the nearest clippy.toml: each of them has a copy.
    let lists = PURE.map(|name| {
        let directory = package(name).manifest_path.parent().unwrap();
        fs::read_to_string(directory.join("clippy.toml"))
            .unwrap_or_else(|_| panic!("{name} has no clippy.toml"))
    });
    assert!(
        lists.iter().all(|list| *list == lists[0]),
        "the clippy.toml of {PURE:?} differ"
    );
    let root = fs::read_to_string(crate::files::root().join("clippy.toml")).unwrap();
    for line in root.lines().filter(|line| line.contains("path = ")) {
        assert!(
            lists[0].contains(line.trim()),
            "a ban of the root's clippy.toml is not in the pure crates': {line}"
        );
    }
}

fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        let manifest = crate::files::root().join("Cargo.toml");
        // Of this platform only: what it builds with is there, so that nothing is to be downloaded.
        let platform = ["--filter-platform".to_owned(), host()];
        MetadataCommand::new()
            .manifest_path(manifest)
            .other_options(platform)
            .exec()
            .unwrap()
    })
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

fn workspace() -> Vec<&'static Package> {
    metadata().workspace_packages()
}

fn package(name: &str) -> &'static Package {
    workspace()
        .into_iter()
        .find(|package| package.name.as_str() == name)
        .unwrap()
}

/// Names of all that `name` ships with, at any depth.
fn reached(name: &str) -> BTreeSet<&'static str> {
    let nodes: BTreeMap<&PackageId, _> = metadata()
        .resolve
        .as_ref()
        .unwrap()
        .nodes
        .iter()
        .map(|node| (&node.id, node))
        .collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![&package(name).id];
    while let Some(id) = open.pop() {
        let shipped = nodes[id].deps.iter().filter(|dependency| {
            dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal)
        });
        open.extend(
            shipped
                .map(|dependency| &dependency.pkg)
                .filter(|id| seen.insert(*id)),
        );
    }
    seen.into_iter()
        .map(|id| metadata()[id].name.as_str())
        .collect()
}

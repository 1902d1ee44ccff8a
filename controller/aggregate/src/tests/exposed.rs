//! What is exposed: frozen bytes, and read back by a strict parser and by Prometheus's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use gaugeway_wire::{CodeClass, Nanos, Outcome, RequestClass, TargetKind, target::names};
use proptest::prelude::*;

use super::rig::*;
use crate::{Aggregate, Exposition, Request};

const GOLDEN: &str = include_str!("../../tests/golden/exposition.txt");

pub(super) fn example() -> Aggregate {
    let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
    let nasty = target(
        TargetKind::Kubernetes,
        &[
            (names::NAMESPACE, "shop"),
            (names::SERVICE, "cart"),
            (names::SERVICE_PORT, "http"),
            (names::ZONE, "a"),
            ("label_team", "back\\slash \"quoted\"\nnew line ü"),
        ],
    );
    let class = |outcome, code| RequestClass { outcome, code };
    let line = |target: &_, route, class, count, micros: u64| Line {
        target: Clone::clone(target),
        route,
        class,
        count,
        latency: Nanos(micros * 1000),
    };
    let unknown = target(TargetKind::Unknown, &[]);
    let lines = [
        line(
            &nasty,
            "by-path",
            class(Outcome::Response, CodeClass::Success),
            10,
            1_234,
        ),
        line(
            &nasty,
            "by-path",
            class(Outcome::Response, CodeClass::ServerError),
            2,
            80_000,
        ),
        line(
            &nasty,
            "by-path",
            class(Outcome::Cancelled, CodeClass::None),
            1,
            2_500_000,
        ),
        line(
            &pod("cart", "a"),
            "",
            class(Outcome::Timeout, CodeClass::ServerError),
            3,
            61_000_000,
        ),
        line(
            &pod("cart", "a"),
            "",
            class(Outcome::Response, CodeClass::Success),
            1,
            0,
        ),
        line(
            &unknown,
            "",
            class(Outcome::ConnectFailure, CodeClass::ServerError),
            4,
            0,
        ),
    ];
    for target in [&nasty, &pod("cart", "a"), &unknown] {
        define(&mut aggregate, &gateway("demo/edge"), target, &index, START).unwrap();
    }
    let bytes = report(1, 1, &config().layout, &lines);
    apply(&mut aggregate, &gateway("demo/edge"), &bytes, &index, START).unwrap();
    aggregate
}

#[test]
fn the_text_format_is_frozen() {
    let shown = text(&mut example());
    assert_frozen("exposition.txt", shown.as_bytes(), GOLDEN.as_bytes());
}

#[test]
fn pieces_are_the_whole() {
    let mut aggregate = Aggregate::new(config(), START);
    let index = Index::default();
    for n in 0..250_u64 {
        let target = pod("cart", &n.to_string());
        define(
            &mut aggregate,
            &gateway("demo/edge"),
            &target,
            &index,
            START,
        )
        .unwrap();
        let bytes = report(1, n + 1, &config().layout, &[Line::new(target, n)]);
        apply(&mut aggregate, &gateway("demo/edge"), &bytes, &index, START).unwrap();
    }
    let snapshot = aggregate.snapshot(START);
    let mut exposition = Exposition::new(snapshot, Request::default());
    let (mut whole, mut pieces) = (Vec::new(), 0);
    loop {
        let mut piece = Vec::new();
        let more = exposition.next_piece(&mut piece);
        assert!(piece.len() < 160 * 1024, "{}", piece.len());
        whole.extend(piece);
        pieces += 1;
        if !more {
            break;
        }
    }
    assert!(pieces > 5);
    let shown = String::from_utf8(whole).unwrap();
    let kong = text(&mut aggregate);
    assert_eq!(shown, kong.split("# HELP kong_").next().unwrap());
    check(&shown);
}

#[test]
fn promtool_accepts_it() {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        println!("skipped: promtool is not on PATH (Debian: apt-get install prometheus)");
        return;
    };
    let mut to = promtool.stdin.take().unwrap();
    to.write_all(text(&mut example()).as_bytes()).unwrap();
    drop(to);
    let said = promtool.wait_with_output().unwrap();
    let lines = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    let unexpected: Vec<_> = lines
        .lines()
        .filter(|line| !line.starts_with("kong_upstream_latency_ms "))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

/// A sample: name, labels, value.
pub(super) type Sample = (String, BTreeMap<String, String>, String);

/// Reads the text format as its specification says, and nothing more lenient.
fn parse(text: &str) -> Vec<Sample> {
    assert!(text.is_empty() || text.ends_with('\n'));
    let mut samples = Vec::new();
    let mut family = String::new();
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} comes twice");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert_eq!(kind.split(' ').next(), Some(family.as_str()));
        } else {
            let sample = parse_sample(line);
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| sample.0.strip_suffix(end).filter(|base| *base == family));
            assert_eq!(base.unwrap_or(&sample.0), family, "outside its family");
            samples.push(sample);
        }
    }
    samples
}

fn parse_sample(line: &str) -> Sample {
    let (name, mut rest) = line.split_once('{').unwrap();
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    let mut labels = BTreeMap::new();
    loop {
        let (label, after) = rest.split_once("=\"").unwrap();
        assert!(
            label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_'),
            "{label}"
        );
        let (value, after) = unescape(after);
        assert!(
            labels.insert(label.to_owned(), value).is_none(),
            "{label} comes twice"
        );
        if let Some(value) = after.strip_prefix("} ") {
            value.parse::<f64>().unwrap();
            return (name.into(), labels, value.into());
        }
        rest = after.strip_prefix(',').unwrap();
    }
}

/// A label's value up to its closing quote, and what follows.
fn unescape(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                c => panic!("no such escape: {c}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote");
}

/// No series twice; histograms cumulative, their ends ascending, `+Inf` equal to the count.
pub(super) fn check(text: &str) -> Vec<Sample> {
    let samples = parse(text);
    let mut seen = BTreeSet::new();
    let mut last: Option<(BTreeMap<String, String>, f64, f64)> = None;
    for (name, labels, value) in &samples {
        assert!(seen.insert((name, labels)), "{name} {labels:?} comes twice");
        let value: f64 = value.parse().unwrap();
        let mut series = labels.clone();
        let Some(end) = series.remove("le").filter(|_| name.ends_with("_bucket")) else {
            if name.ends_with("_count") {
                let (_, end, count) = last.take().unwrap();
                assert_eq!((end, count), (f64::INFINITY, value));
            }
            continue;
        };
        let end: f64 = end.replace("+Inf", "inf").parse().unwrap();
        if let Some((before, lower, below)) = &last
            && *before == series
        {
            assert!(*lower < end && *below <= value, "{name} {labels:?}");
        }
        last = Some((series, end, value));
    }
    samples
}

#[test]
fn a_strict_parser_reads_the_example() {
    let samples = check(&text(&mut example()));
    let nasty = samples
        .iter()
        .find(|(name, labels, _)| {
            name == "gaugeway_upstream_latency_seconds_sum" && labels.contains_key("route")
        })
        .unwrap();
    assert_eq!(nasty.1["label_team"], "back\\slash \"quoted\"\nnew line ü");
    assert_eq!(nasty.2, "0.17234");
}

proptest! {
    #[test]
    fn every_label_value_is_read_back(values in prop::collection::vec("\\PC{0,20}|[\\\\\"\n]{0,8}", 3)) {
        let (mut aggregate, index) = (Aggregate::new(config(), START), Index::default());
        let labels = [
            (names::NAMESPACE, "n"),
            (names::SERVICE, "s"),
            (names::POD, values[0].as_str()),
            ("label_x", values[1].as_str()),
        ];
        let target = target(TargetKind::Kubernetes, &labels);
        define(&mut aggregate, &gateway("a/b"), &target, &index, START).unwrap();
        let line = Line { route: Box::leak(values[2].clone().into_boxed_str()), ..Line::new(target, 1) };
        apply(&mut aggregate, &gateway("a/b"), &report(1, 1, &config().layout, &[line]), &index, START).unwrap();
        for (name, read, _) in check(&text(&mut aggregate)) {
            if name.starts_with("kong") {
                continue;
            }
            let label = |name| read.get(name).map_or("", String::as_str);
            prop_assert_eq!(label(names::POD), &values[0]);
            prop_assert_eq!(label("label_x"), &values[1]);
            prop_assert_eq!(label(names::ROUTE), &values[2]);
        }
    }
}

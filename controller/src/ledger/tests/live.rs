//! Exactly once, restarts in place, expiry, what scrapers see.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex, atomic::Ordering, mpsc},
};

use bytes::Bytes;
use futures::poll;
use gaugeway_wire::{ClassicBounds, GatewayName, Layout, Nanos, Schema, Seq};
use tokio::sync::Semaphore;

use super::rig::*;
use crate::{
    lease::Tenure,
    ledger::{
        Durability, LedgerConfig, Owner, ReportError, StartError,
        disk::{Disk, RealDisk},
        recent::Question,
    },
};

#[tokio::test]
async fn a_report_counts_once() {
    let world = World::new();
    let ledger = start(None, &world);
    let first = ledger.report(call(1, 1, &[("a", 3)])).await;
    assert_eq!(
        (first.seq, first.span),
        (Seq(1), Some(Nanos(5_000_000_000)))
    );
    let again = ledger.report(call(1, 1, &[("a", 3)])).await;
    assert_eq!((again.seq, again.span), (Seq(1), None));
    assert_eq!(again.ledger_epoch, first.ledger_epoch);
    ledger.report(call(1, 2, &[("a", 4)])).await;
    assert_eq!(ledger.requests().await, 7);
    assert_eq!(ledger.handle.durability(), Durability::MemoryOnly);
}

#[tokio::test]
async fn counts_wait_for_their_definition_and_it_is_asked_for() {
    let world = World::new();
    let ledger = start(None, &world);
    let fingerprint = target("a").fingerprint();
    for seq in 1..=2 {
        let outcome = ledger.report(call_with(1, seq, &[("a", 3)], false)).await;
        assert_eq!(outcome.undefined, [fingerprint]);
    }
    let lost_answer = ledger.report(call_with(1, 2, &[("a", 3)], false)).await;
    assert_eq!(lost_answer.undefined, [fingerprint]);
    assert_eq!(ledger.requests().await, 0);
    let outcome = ledger.report(call(1, 3, &[("a", 1)])).await;
    assert!(outcome.undefined.is_empty());
    assert_eq!(ledger.requests().await, 7);
}

#[tokio::test]
async fn hostile_calls_are_refused_and_change_nothing() {
    let world = World::new();
    let ledger = start(None, &world);
    ledger.report(call(1, 1, &[("a", 3)])).await;
    let before = ledger.text().await;
    let other = GatewayName::try_new("evil/edge").unwrap();
    let stolen = ledger.handle.report(other, call(1, 2, &[("a", 3)])).await;
    assert_eq!(stolen, Err(ReportError::ForeignVm));
    let good = call(1, 2, &[("a", 3)]);
    for cut in 1..good.len() {
        let result = ledger.handle.report(gateway(), good.slice(..cut)).await;
        if let Ok(outcome) = result {
            // Cut between fields: a whole call of fewer definitions, or the report itself.
            ledger.report(good.clone()).await;
            assert_eq!(outcome.seq, Seq(2));
            return;
        }
        assert!(matches!(result, Err(ReportError::Undecodable(_))), "{cut}");
        assert_eq!(ledger.text().await, before);
    }
}

#[tokio::test]
async fn until_the_source_has_synced_reports_are_sent_back() {
    let world = World::new();
    world.synced.store(false, Ordering::SeqCst);
    let ledger = start(None, &world);
    let early = ledger
        .handle
        .report(gateway(), call(1, 1, &[("a", 3)]))
        .await;
    assert!(matches!(early, Err(ReportError::Busy(_))));
    world.synced.store(true, Ordering::SeqCst);
    ledger.report(call(1, 1, &[("a", 3)])).await;
    assert_eq!(ledger.requests().await, 3);
}

#[tokio::test]
async fn what_a_gateway_does_not_reach_is_dropped_and_counted() {
    let world = World::new();
    world.reachable.store(false, Ordering::SeqCst);
    let ledger = start(None, &world);
    let outcome = ledger.report(call(1, 1, &[("a", 3)])).await;
    assert_eq!((outcome.rejected_series, outcome.seq), (1, Seq(1)));
    world.reachable.store(true, Ordering::SeqCst);
    let outcome = ledger.report(call(1, 2, &[("a", 4)])).await;
    assert_eq!(outcome.rejected_series, 0);
    assert_eq!(ledger.requests().await, 4);
}

#[tokio::test]
async fn a_restart_in_place_goes_on_as_if_nothing_had_been() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let ledger = start(Some(dir.path()), &world);
    let first = ledger.report(call(1, 1, &[("a", 3), ("b", 1)])).await;
    ledger.report(call_with(2, 1, &[("c", 5)], false)).await;
    let text = ledger.text().await;
    assert_eq!(ledger.handle.durability(), Durability::Logged);
    let killed = copy(dir.path());
    ledger.handle.stop().await;
    for dir in [killed.path(), dir.path()] {
        let ledger = start(Some(dir), &world);
        assert_eq!(ledger.text().await, text);
        let resent = ledger.report(call(1, 1, &[("a", 3), ("b", 1)])).await;
        assert_eq!(
            (resent.span, resent.ledger_epoch),
            (None, first.ledger_epoch)
        );
        let defined = ledger.report(call(2, 2, &[("c", 1)])).await;
        assert!(defined.span.is_some());
        assert_eq!(ledger.requests().await, 10);
        ledger.handle.stop().await;
    }
}

#[tokio::test]
async fn many_restarts_are_folded_into_a_snapshot() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let mut kept = copy(dir.path());
    for seq in 1..=40 {
        let ledger = start(Some(kept.path()), &world);
        ledger.report(call(1, seq, &[("a", 1)])).await;
        assert_eq!(ledger.requests().await, seq);
        let next = copy(kept.path());
        ledger.handle.stop().await;
        kept = next;
    }
    assert!(files(kept.path(), "log-").len() <= 17);
    assert_eq!(files(kept.path(), "snapshot-").len(), 1);
}

/// Ends a tenure while it writes, as a process does that is stopped there.
#[derive(Debug)]
struct StopsWhileWriting(Tenure);

impl Disk for StopsWhileWriting {
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        RealDisk.write(file, bytes)?;
        self.0.end();
        Ok(())
    }
}

#[tokio::test]
async fn a_report_is_not_acknowledged_when_the_tenure_ends_while_it_is_logged() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let tenure = Tenure::none();
    let told = LedgerConfig {
        tenure: tenure.clone(),
        ..config(Some(dir.path()), &world)
    };
    let disk = Arc::new(StopsWhileWriting(tenure.clone()));
    let ledger = start_with(told, &world, disk);
    let soon = crate::lease::soon();
    // Before: not even applied.
    let send = |seq| ledger.handle.report(gateway(), call(1, seq, &[("a", 3)]));
    assert_eq!(send(1).await, Err(ReportError::NotLeader));
    assert_eq!(ledger.requests().await, 0);
    tenure.set(soon);
    assert_eq!(send(1).await, Err(ReportError::NotLeader));
    assert_eq!(ledger.requests().await, 3);
    // It goes on: what comes again is known.
    tenure.set(soon);
    assert_eq!(send(1).await.unwrap().span, None);
    assert_eq!(ledger.requests().await, 3);
}

/// Holds one write up.
#[derive(Debug)]
struct Gate {
    shut: Mutex<Option<mpsc::Receiver<()>>>,
    reached: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            shut: Mutex::default(),
            reached: Semaphore::new(0),
        }
    }
}

impl Disk for Gate {
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if let Some(opened) = self.shut.lock().unwrap().take() {
            self.reached.add_permits(1);
            opened.recv().unwrap();
        }
        RealDisk.write(file, bytes)
    }
}

#[tokio::test]
async fn a_question_does_not_wait_for_reports_that_were_there_before_it() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let gate = Arc::new(Gate::default());
    let told = config(Some(dir.path()), &world);
    let ledger = start_with(told, &world, Arc::clone(&gate) as _);
    let ask = || async {
        let question = Question {
            wanted: Vec::new(),
            windows: Vec::new(),
        };
        let answer = ledger.handle.recent(question).await.unwrap();
        answer.last_reports[&gateway()].vms
    };
    let report = |vm| Box::pin(ledger.handle.report(gateway(), call(vm, 1, &[("a", 1)])));
    let (open, opened) = mpsc::channel();
    *gate.shut.lock().unwrap() = Some(opened);
    let mut first = report(1);
    assert!(poll!(&mut first).is_pending());
    let _reached = gate.reached.acquire().await.unwrap();
    let mut reports: Vec<_> = (2..=9).map(report).collect();
    for report in &mut reports {
        assert!(poll!(report).is_pending());
    }
    let mut question = Box::pin(ask());
    assert!(poll!(&mut question).is_pending());
    open.send(()).unwrap();
    assert_eq!(question.await, 1);
    first.await.unwrap();
    for report in reports {
        report.await.unwrap();
    }
    assert_eq!(ask().await, 9);
    assert_eq!(ledger.requests().await, 9);
}

#[tokio::test]
async fn what_is_sealed_is_final() {
    let world = World::new();
    let ledger = start(None, &world);
    ledger.report(call(1, 1, &[("a", 3)])).await;
    ledger.handle.seal().await;
    let late = ledger
        .handle
        .report(gateway(), call(1, 2, &[("a", 1)]))
        .await;
    assert_eq!(late, Err(ReportError::Stopped));
    assert_eq!(ledger.requests().await, 3);
}

#[tokio::test]
async fn only_the_owner_goes_on_and_only_if_nobody_led_in_between() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let owner = |identity: &str, term| Owner {
        identity: identity.to_owned(),
        term,
    };
    let begin = |dir: &Path, mine: Owner, continues: Option<Owner>| {
        let told = LedgerConfig {
            owner: mine,
            continues,
            ..config(Some(dir), &world)
        };
        start_with(told, &world, Arc::new(RealDisk))
    };
    let ledger = begin(dir.path(), owner("a", 4), None);
    let first = ledger.report(call(1, 1, &[("a", 3)])).await.ledger_epoch;
    let killed = copy(dir.path());
    drop(ledger);
    for (continues, goes_on) in [
        (Some(owner("a", 4)), true),
        (Some(owner("a", 5)), false),
        (Some(owner("b", 4)), false),
        (Some(Owner::sole()), false),
        (None, false),
    ] {
        let here = copy(killed.path());
        let ledger = begin(here.path(), owner("a", 6), continues.clone());
        let outcome = ledger.report(call(1, 1, &[("a", 3)])).await;
        assert_eq!(outcome.ledger_epoch == first, goes_on, "{continues:?}");
        assert_eq!(ledger.requests().await, 3);
        // What began, or went on, is of the new term from then on.
        let again = copy(here.path());
        drop(ledger);
        let ledger = begin(again.path(), owner("a", 6), Some(owner("a", 6)));
        let later = ledger.report(call(1, 2, &[("a", 1)])).await;
        assert_eq!(later.ledger_epoch, outcome.ledger_epoch, "{continues:?}");
        assert_eq!(ledger.requests().await, 4);
    }
}

#[tokio::test]
async fn a_state_directory_has_one_user() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let ledger = start(Some(dir.path()), &world);
    let telemetry = crate::Telemetry::try_new("test").unwrap();
    let second = crate::ledger::start(config(Some(dir.path()), &world), world.clone(), telemetry);
    assert!(matches!(second, Err(StartError::Locked(_))));
    ledger.handle.stop().await;
    let stopped = ledger.handle.report(gateway(), call(1, 1, &[])).await;
    assert_eq!(stopped, Err(ReportError::Stopped));
    assert!(
        ledger
            .handle
            .scrape(crate::ledger::Scraper("x".into()))
            .await
            .is_none()
    );
}

#[tokio::test]
async fn a_changed_configuration_is_part_of_the_log() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let ledger = start(Some(dir.path()), &world);
    ledger.report(call(1, 1, &[("a", 3)])).await;
    let killed = copy(dir.path());
    drop(ledger);
    let mut changed = config(Some(killed.path()), &world);
    changed.shape.layout = Layout {
        schema: Schema::try_new(1).unwrap(),
        bounds: ClassicBounds::try_new(vec![Nanos::from_millis(5), Nanos::from_millis(10)])
            .unwrap(),
    };
    changed.max_series = 1;
    let disk = || Arc::new(RealDisk);
    let ledger = start_with(changed.clone(), &world, disk());
    ledger.report(call(1, 2, &[("a", 1), ("b", 9)])).await;
    let text = ledger.text().await;
    assert!(
        text.contains(r#"kubernetes_service="cart",le="0.01"} 4"#),
        "{text}"
    );
    assert!(
        text.contains(r#"kubernetes_service="overflow",le="0.01"} 9"#),
        "{text}"
    );
    assert_eq!(ledger.telemetry.ledger.rebucketed.get(), 10);
    assert_eq!(ledger.overflowed("full"), 9);
    let again = copy(killed.path());
    changed.state_dir = Some(again.path().to_owned());
    let ledger = start_with(changed, &world, disk());
    assert_eq!(ledger.text().await, text);
}

#[tokio::test]
async fn what_a_policys_bound_refused_is_refused_again_by_a_replay() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    world.max_series.store(1, Ordering::SeqCst);
    let ledger = start(Some(dir.path()), &world);
    ledger.report(call(1, 1, &[("a", 3), ("b", 4)])).await;
    let text = ledger.text().await;
    assert!(!text.contains(r#"kubernetes_pod="b""#), "{text}");
    assert_eq!(requests(&text), 7);
    assert_eq!(ledger.overflowed("policy"), 4);
    assert!(ledger.handle.refusing().contains(POLICY));
    // What the policy says by then does not matter to what was counted before.
    world.max_series.store(0, Ordering::SeqCst);
    let killed = copy(dir.path());
    drop(ledger);
    let ledger = start(Some(killed.path()), &world);
    assert_eq!(ledger.text().await, text);
    ledger.report(call(1, 2, &[("b", 5)])).await;
    assert_eq!(requests(&ledger.text().await), 12);
    assert!(ledger.text().await.contains(r#"kubernetes_pod="b""#));
}

#[tokio::test]
async fn a_dead_pods_series_is_seen_twice_and_goes() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let ledger = start(Some(dir.path()), &world);
    ledger.report(call(1, 1, &[("a", 3)])).await;
    ledger.text_for("prometheus", true).await;
    ledger.report(call(1, 2, &[("short", 5)])).await;
    world.live.store(false, Ordering::SeqCst);
    let born = ledger.text_for("prometheus", true).await;
    assert!(born.contains("kubernetes_pod=\"short\""));
    assert_eq!(requests(&born), 3, "new to this scraper: at 0 first");
    assert_eq!(
        ledger.requests().await,
        8,
        "a scraper never seen gets the real values"
    );
    let killed = copy(dir.path());
    world.pass(301);
    ledger.handle.sweep().await;
    assert_eq!(
        requests(&ledger.text_for("prometheus", true).await),
        5,
        "the older one went"
    );
    ledger.handle.sweep().await;
    assert_eq!(ledger.requests().await, 0);
    assert_eq!(ledger.telemetry.ledger.expired.get(), 2);
    let restarted = copy(dir.path());
    let after = start(Some(restarted.path()), &world);
    assert_eq!(after.text().await, ledger.text().await);
    let before = start(Some(killed.path()), &world);
    let second = before.text_for("prometheus", false).await;
    assert_eq!(
        requests(&second),
        8,
        "what a scraper saw is known after a restart"
    );
}

#[tokio::test]
async fn a_definition_that_lies_is_counted_and_the_report_is_applied() {
    let world = World::new();
    let ledger = start(None, &world);
    let mut body = call_with(1, 1, &[("a", 3)], false).to_vec();
    let lie = gaugeway_wire::TargetDefinition {
        fingerprint: target("a").fingerprint(),
        target: &target("b").encode(),
    };
    gaugeway_wire::ReportCall::encode(&[], [lie].into_iter(), None, &mut body);
    let outcome = ledger.report(Bytes::from(body)).await;
    assert_eq!(outcome.undefined, [target("a").fingerprint()]);
    assert_eq!(ledger.telemetry.ledger.refused_definitions.get(), 1);
}

//! What is left after a kill, and what damage does.

use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use gaugeway_aggregate::{Aggregate, Config, journal};
use gaugeway_wire::{LedgerEpoch, Report, ReportCall, TargetDefinition};

use super::rig::*;
use crate::ledger::{
    Owner, directory::Directory, disk::RealDisk, durable::Durable, frame, header::Identity,
};

type State = BTreeSet<Vec<u8>>;

/// A ledger without its thread: every step is taken by the test.
struct Steps {
    world: Arc<World>,
    aggregate: Aggregate,
    durable: Durable,
    seq: u64,
}

impl Steps {
    fn begin(dir: &Path) -> Self {
        let world = World::new();
        let mut aggregate = Aggregate::new(Config::from(&config(None, &world)), world.now());
        let identity = Identity {
            epoch: LedgerEpoch(1),
            owner: Owner::sole(),
            boot: boot(),
        };
        let save_point = aggregate.save_point(world.now());
        let dir = Directory::open(dir).unwrap();
        let durable = Durable::begin(dir, Arc::new(RealDisk), identity, 0, &save_point);
        Self {
            world,
            aggregate,
            durable,
            seq: 0,
        }
    }

    /// Applies and logs one report with a definition: two records.
    fn report(&mut self) {
        self.seq += 1;
        self.world.pass(5);
        let now = self.world.now();
        let pod = format!("pod-{}", self.seq % 3);
        let body = call(1, self.seq, &[(&pod, self.seq)]);
        let call = ReportCall::decode(&body).unwrap();
        let (mut record, mut frames) = (Vec::new(), Vec::new());
        for definition in call.definitions() {
            let TargetDefinition { target, .. } = definition;
            let defined = self
                .aggregate
                .define(&gateway(), &definition, &*self.world, now);
            let defined = defined.unwrap();
            if defined.fresh {
                let births = &defined.births;
                journal::definition(&mut record, &gateway(), target, true, births, now);
                frame::put(&mut frames, &record);
                record.clear();
            }
        }
        let report = Report::decode(call.report).unwrap();
        let applied = self.aggregate.apply(&gateway(), &report, &*self.world, now);
        let applied = applied.unwrap();
        journal::report(
            &mut record,
            &gateway(),
            call.report,
            &applied.rejected,
            &applied.births,
            now,
        );
        frame::put(&mut frames, &record);
        self.durable.append(&frames);
    }

    fn state(&mut self) -> State {
        state(&mut self.aggregate)
    }

    fn begin_snapshot(&mut self) {
        let save_point = self.aggregate.save_point(self.world.now());
        assert!(self.durable.save(save_point, Instant::now()).is_none());
    }

    fn end_snapshot(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Some(finished) = self.durable.poll() {
                return finished.unwrap();
            }
            std::thread::yield_now();
        }
        panic!("the snapshot was not finished");
    }
}

fn recovered(dir: &Path) -> Option<State> {
    let found = recover(dir, &boot()).found?;
    let mut aggregate = found.aggregate;
    Some(state(&mut aggregate))
}

fn last(dir: &Path, prefix: &str) -> std::path::PathBuf {
    files(dir, prefix).pop().unwrap()
}

#[test]
fn a_log_cut_at_any_byte_is_a_prefix_of_what_was_applied() {
    let dir = tempfile::tempdir().unwrap();
    let mut steps = Steps::begin(dir.path());
    let log = last(dir.path(), "log-");
    let length = || fs::metadata(&log).unwrap().len();
    let mut prefixes = vec![(length(), steps.state())];
    for _ in 0..4 {
        steps.report();
        prefixes.push((length(), steps.state()));
    }
    let full = length();
    for cut in 0..=full {
        let killed = copy(dir.path());
        let file = OpenOptions::new()
            .write(true)
            .open(last(killed.path(), "log-"));
        file.unwrap().set_len(cut).unwrap();
        let recovery = recover(killed.path(), &boot());
        assert_eq!(recovery.set_aside, 0, "a cut is no damage, at {cut}");
        let mut found = recovery.found.unwrap();
        let now = state(&mut found.aggregate);
        let whole = prefixes.iter().rev().find(|(length, _)| *length <= cut);
        let (_, at_least) = whole.unwrap_or(&prefixes[0]);
        // A step is a definition and a report: between the two, the definition alone may be there.
        let after = prefixes.iter().find(|(length, _)| *length > cut);
        let definition_only = after.is_some() && requests_in(&now) == requests_in(at_least);
        assert!(now == *at_least || definition_only, "at {cut}");
        let is_torn = found.torn.is_some();
        if prefixes.iter().any(|(length, _)| *length == cut) {
            assert!(!is_torn, "at {cut}");
        }
    }
}

/// Sequences applied: the worker VM's record is in the state.
fn requests_in(state: &State) -> Vec<&Vec<u8>> {
    let vm = [1_u8; 16];
    state
        .iter()
        .filter(|record| record.windows(16).any(|w| w == vm))
        .collect()
}

#[test]
fn damage_anywhere_is_set_aside_and_never_half_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut steps = Steps::begin(dir.path());
    steps.report();
    steps.begin_snapshot();
    steps.end_snapshot();
    for _ in 0..3 {
        steps.report();
    }
    let whole = steps.state();
    assert_eq!(recovered(copy(dir.path()).path()), Some(whole.clone()));
    for file in [
        "log-0000000001",
        "log-0000000002",
        "snapshot-0000000001",
        "snapshot-0000000002",
    ] {
        let length = fs::metadata(dir.path().join(file)).unwrap().len();
        for at in (0..usize::try_from(length).unwrap()).step_by(3) {
            let damaged = copy(dir.path());
            let path = damaged.path().join(file);
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 0x10;
            fs::write(&path, bytes).unwrap();
            let recovery = recover(damaged.path(), &boot());
            let aside = files(damaged.path(), "").iter().any(|path| {
                path.extension()
                    .is_some_and(|end| end.to_str().unwrap().starts_with("corrupt-"))
            });
            match recovery.found {
                // Another snapshot served, or the file was not needed.
                Some(mut found) => assert_eq!(state(&mut found.aggregate), whole, "{file} {at}"),
                None => assert!(aside && recovery.set_aside > 0, "{file} {at}"),
            }
            assert_eq!(aside, recovery.set_aside > 0);
        }
    }
}

#[test]
fn a_killed_snapshot_loses_nothing_at_any_point() {
    let dir = tempfile::tempdir().unwrap();
    let mut steps = Steps::begin(dir.path());
    steps.report();
    steps.begin_snapshot();
    steps.report();
    let state = steps.state();
    steps.end_snapshot();
    let done = copy(dir.path());
    assert_eq!(recovered(done.path()), Some(state.clone()), "all there");
    let snapshot = last(done.path(), "snapshot-");
    assert!(snapshot.ends_with("snapshot-0000000002"));

    let before_rename = copy(dir.path());
    let unfinished = before_rename.path().join("snapshot-0000000002.tmp");
    fs::rename(
        before_rename.path().join("snapshot-0000000002"),
        &unfinished,
    )
    .unwrap();
    let bytes = fs::read(&unfinished).unwrap();
    fs::write(&unfinished, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(recovered(before_rename.path()), Some(state));
    assert!(!unfinished.exists());

    // The log was begun, its header not finished, and nothing in it.
    let begun = copy(dir.path());
    fs::remove_file(begun.path().join("snapshot-0000000002")).unwrap();
    let log = begun.path().join("log-0000000002");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..10]).unwrap();
    let recovery = recover(begun.path(), &boot());
    assert_eq!(recovery.found.unwrap().next, 2);
}

#[test]
fn older_generations_go_and_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut steps = Steps::begin(dir.path());
    for _ in 0..4 {
        steps.report();
        steps.begin_snapshot();
        steps.report();
        steps.end_snapshot();
    }
    let names = |prefix| files(dir.path(), prefix).len();
    assert_eq!((names("snapshot-"), names("log-")), (2, 2));
    let state = steps.state();
    let damaged = copy(dir.path());
    fs::write(
        last(damaged.path(), "snapshot-"),
        "gwledger and then something else",
    )
    .unwrap();
    let recovery = recover(damaged.path(), &boot());
    assert_eq!(recovery.set_aside, 1);
    let mut aggregate = recovery.found.unwrap().aggregate;
    assert_eq!(
        super::rig::state(&mut aggregate),
        state,
        "the snapshot before served"
    );
}

#[test]
fn missing_and_foreign_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut steps = Steps::begin(dir.path());
    steps.report();
    let state = steps.state();

    let foreign = copy(dir.path());
    fs::write(foreign.path().join("log-0000000077"), "a diary").unwrap();
    fs::write(foreign.path().join("readme"), "a readme").unwrap();
    let recovery = recover(foreign.path(), &boot());
    assert_eq!((recovery.set_aside, recovery.highest), (1, 77));
    assert_eq!(
        super::rig::state(&mut recovery.found.unwrap().aggregate),
        state
    );
    assert!(foreign.path().join("log-0000000077.corrupt-1").exists());
    assert!(foreign.path().join("readme").exists());

    let no_log = copy(dir.path());
    fs::remove_file(no_log.path().join("log-0000000001")).unwrap();
    let recovery = recover(no_log.path(), &boot());
    assert!(recovery.found.is_none() && recovery.set_aside == 1);

    let no_snapshot = copy(dir.path());
    fs::remove_file(no_snapshot.path().join("snapshot-0000000001")).unwrap();
    let recovery = recover(no_snapshot.path(), &boot());
    assert!(recovery.found.is_none() && recovery.set_aside == 1);
}

#[test]
fn a_restart_of_the_machine_ends_a_ledger_that_was_not_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut steps = Steps::begin(dir.path());
    steps.report();
    let power_cut = copy(dir.path());
    let recovery = recover(power_cut.path(), "another boot");
    assert!(recovery.found.is_none());
    assert_eq!(recovery.set_aside, 0, "the files were good, only behind");
    assert!(files(power_cut.path(), "log-").is_empty());

    let state = steps.state();
    let save_point = steps.aggregate.save_point(steps.world.now());
    steps.durable.close(&save_point).unwrap();
    let mut found = recover(copy(dir.path()).path(), "another boot")
        .found
        .unwrap();
    assert_eq!(super::rig::state(&mut found.aggregate), state);
    assert_eq!((found.owner, found.epoch), (Owner::sole(), LedgerEpoch(1)));
}

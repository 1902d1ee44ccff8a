//! Writing what is due to a VM.

use gaugeway_wire::{
    Answer, Generation, Nanos, Policy, TargetDefinition,
    mapping::{MappingAnswerWriter, OwnedCandidate},
};
use hashbrown::HashSet;

use super::{
    keys::{KeyState, Keys},
    vm::Vm,
};
use crate::{history::REMEMBER, index::EncodedTarget, moment::Moment};

/// Nothing to say, nothing to confirm.
pub(super) fn empty(vm: &Vm, generation: Generation) -> Vec<u8> {
    MappingAnswerWriter::new().finish(vm.epoch, generation, Answer(0), false)
}

/// Everything due, as far as it fits into one answer. Returns the number of entries.
pub(super) fn write(
    vm: &mut Vm,
    keys: &Keys,
    policy: &Policy,
    generation: Generation,
    now: Moment,
) -> (Vec<u8>, usize) {
    if vm.due.is_empty() && !vm.policy_due {
        vm.told = generation;
        return (empty(vm, generation), 0);
    }
    let mut writer = MappingAnswerWriter::new();
    if vm.policy_due {
        writer.policy(policy);
    }
    let mut written = Vec::new();
    let mut defined = HashSet::new();
    for id in &vm.due {
        if let Some(state) = keys.get(*id)
            && !write_entry(&mut writer, state, &mut defined, now)
        {
            break;
        }
        written.push(*id);
    }
    let entries = written.len();
    let answer = vm.next_answer();
    vm.told(written, generation, now);
    let more = !vm.due.is_empty();
    let bytes = writer.finish(vm.epoch, vm.told, answer, more);
    (bytes, entries)
}

fn write_entry(
    writer: &mut MappingAnswerWriter,
    state: &KeyState,
    defined: &mut HashSet<u64>,
    now: Moment,
) -> bool {
    let resolution = &state.resolution;
    // Nobody changed it lately: what was before is forgotten.
    let age = resolution.since.map_or(REMEMBER, |since| now.since(since));
    let previous = resolution.previous.as_deref().filter(|_| age < REMEMBER);
    let candidates: Vec<_> = resolution
        .candidates
        .iter()
        .map(|c| OwnedCandidate {
            target: c.target.fingerprint,
            hints: c.hints.clone(),
        })
        .collect();
    let named = resolution.candidates.iter().map(|c| &*c.target);
    let mut needed: Vec<&EncodedTarget> = named.chain(previous).collect();
    needed.sort_unstable_by_key(|t| t.fingerprint);
    needed.dedup_by_key(|t| t.fingerprint);
    needed.retain(|t| !defined.contains(&t.fingerprint.0));
    let definitions: Vec<_> = needed.iter().map(|t| definition(t)).collect();
    let previous = previous.map(|t| t.fingerprint);
    let fits = writer.entry(
        &state.text,
        &candidates,
        Nanos(age.0),
        previous,
        &definitions,
    );
    if fits {
        defined.extend(needed.iter().map(|t| t.fingerprint.0));
    }
    fits
}

fn definition(target: &EncodedTarget) -> TargetDefinition<'_> {
    TargetDefinition {
        fingerprint: target.fingerprint,
        target: &target.bytes,
    }
}

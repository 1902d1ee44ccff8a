//! Decoding must not turn a small input into much memory: a failed allocation in a guest is a trap.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use gaugeway_wire::{
    MappingAnswer, MappingRequest, Policy, Report, ReportAnswer, ReportCall, Target,
    limits::MESSAGE_BYTES,
};

thread_local! {
    /// Bytes handed out to this thread, frees not subtracted.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is passed on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated(decode: impl FnOnce()) -> usize {
    let before = ALLOCATED.get();
    decode();
    ALLOCATED.get() - before
}

fn decode_as_everything(bytes: &[u8]) {
    drop(Report::decode(bytes));
    drop(MappingAnswer::decode(bytes));
    drop(MappingRequest::decode(bytes));
    drop(ReportCall::decode(bytes));
    drop(ReportAnswer::decode(bytes));
    drop(Policy::decode(bytes));
    drop(Target::decode(bytes));
}

/// 64 KiB of one field over and over, empty or with one byte, of every number and wire type.
#[test]
fn a_message_of_empty_fields_takes_little_memory() {
    // Lists of at most 1024 strings of 24 bytes and their content, twice (subscribe, release), grown by doubling.
    const MOST: usize = 256 * 1024;
    for field in 1..16_u8 {
        for (wire, content) in [
            (0, &[1][..]),
            (1, &[1; 8]),
            (2, &[0]),
            (2, &[1, b'k']),
            (5, &[1; 4]),
        ] {
            let mut one = vec![field << 3 | wire];
            one.extend_from_slice(content);
            let bytes = one.repeat(MESSAGE_BYTES / one.len());
            let taken = allocated(|| decode_as_everything(&bytes));
            assert!(
                taken <= MOST,
                "field {field}, wire type {wire}: {taken} bytes"
            );
        }
    }
}

/// Empty series are not legal; the smallest legal ones allocate nothing each.
#[test]
fn a_report_of_the_smallest_series_takes_no_memory_per_series() {
    let mut bytes = vec![0x0a, 16];
    bytes.extend([7; 16]);
    bytes.extend([0x10, 1]);
    while bytes.len() + 11 <= MESSAGE_BYTES {
        bytes.extend([0x3a, 9, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
    let mut series = 0;
    let taken = allocated(|| series = Report::decode(&bytes).unwrap().series().count());
    assert!(series > 5_000);
    assert!(taken < 4096, "{taken} bytes");
}

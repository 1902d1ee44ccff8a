//! What a series holds: with 50,000 of them each byte counts.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "what it shares with the benches"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[path = "../benches/common/shop.rs"]
mod shop;

use gaugeway_wire::Report;
use shop::{All, NOW, Random};

thread_local! {
    /// Bytes that this thread holds.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is passed on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size().cast_signed());
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - layout.size().cast_signed());
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Four labels, 20 requests of 1 ms to 1 s: some fifty native buckets from the first to the last, and twenty classic ones.
#[test]
fn a_series_with_its_definition_takes_less_than_1_400_bytes() {
    const SERIES: usize = 10_000;
    let counted = shop::counted(0..SERIES, 20, &mut Random(2));
    let before = HELD.get();
    let mut aggregate = shop::aggregate(SERIES);
    let (mut left, mut seq) = (counted.as_slice(), 0);
    while !left.is_empty() {
        seq += 1;
        let (bytes, fits) = shop::report(1, seq, left, NOW);
        let report = Report::decode(&bytes).unwrap();
        let applied = aggregate.apply(&shop::gateway(), &report, &All, NOW);
        assert_eq!(applied.unwrap().series, fits as u64);
        left = &left[fits..];
    }
    let each = (HELD.get() - before).cast_unsigned() / SERIES;
    println!("{each} bytes per series");
    assert!((1_000..1_400).contains(&each), "{each}");
}

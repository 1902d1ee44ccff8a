//! Bounds of everything that is keyed by outside input, and how long things are kept.

use gaugeway_wire::Nanos;

use crate::units::seconds;

/// Gateways; reports of further ones are refused until one is forgotten.
pub const GATEWAYS: usize = 1024;
/// Worker VMs over all gateways; reports of further ones are refused while none has been idle for [`VM_IDLE_FULL`].
pub const VMS: usize = 65_536;
/// Pairs of a fingerprint and a route without a definition, per gateway; further counts go to the overflow series.
pub const UNNAMED_PER_GATEWAY: usize = 4096;
/// Targets with a definition, per gateway; further ones are refused and their counts go to the overflow series.
pub const TARGETS_PER_GATEWAY: usize = 131_072;
/// Distinct routes; further ones share the route `overflow`.
pub const ROUTES: usize = 8192;
/// Scrapers that are remembered; the one unseen for longest gives way.
pub const SCRAPERS: usize = 64;
/// A scraper's name, in bytes; longer ones are cut.
pub const SCRAPER_BYTES: usize = 256;

/// A worker VM that reported nothing for this long is forgotten with its sequence.
pub const VM_IDLE: Nanos = seconds(7 * 86_400);
/// The same while the table is full.
pub const VM_IDLE_FULL: Nanos = seconds(3600);
/// Counts without a definition are counted in the overflow series after this long.
pub const UNNAMED_AGE: Nanos = seconds(900);
/// A definition that nobody used for this long is forgotten; it is asked for again if need be.
pub const TARGET_IDLE: Nanos = seconds(86_400);
/// For so long after counts for a target were last taken before this process's life, its gateway may report for it
/// whatever the index says. It remembers as long what it saw itself.
pub const REACH_MEMORY: Nanos = seconds(86_400);
/// A verdict on reach is asked again after this long, even if the index did not change.
pub const VERDICT_AGE: Nanos = seconds(60);
/// A scraper that came within this time takes part in deciding whether a dead series was seen.
pub const SCRAPER_ACTIVE: Nanos = seconds(600);
/// A policy that refused a series within this time is shown as one that does.
pub const REFUSAL_AGE: Nanos = seconds(900);
/// Services, Pods and workloads with windows; counts of further ones enter none.
pub const RECENT_OBJECTS: usize = 131_072;
/// Memory of all windows together, in bytes, beside the objects' names; counts beyond enter no window.
pub const RECENT_BYTES: usize = 224 << 20;
/// Pairs of a gateway and a port that the windows of a Service tell apart; further ones share a last one.
pub const VIAS: usize = 63;
/// A worker VM that reported nothing for this long takes no part in telling idle from unknown.
pub const COVERAGE_IDLE: Nanos = seconds(600);

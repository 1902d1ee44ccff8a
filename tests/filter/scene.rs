//! What every test here starts with: the module, a simulation, and owners of addresses.

use std::rc::Rc;

use gaugeway_guest::{GuestModule, Personality, Request, Sim, controller::service, sim::Options};
use gaugeway_wire::{
    target::{Fingerprint, Target},
    units::Nanos,
};

/// Milliseconds.
pub(crate) const MS: fn(u64) -> Nanos = Nanos::from_millis;

/// Envoy's module, byte for byte what the program carries.
const ENVOY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gaugeway-envoy.wasm"));

/// Kong's, likewise.
const KONG: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gaugeway-kong.wasm"));

/// Envoy's module, compiled.
pub(crate) fn module() -> Rc<GuestModule> {
    load(Personality::Envoy)
}

/// A host's module, compiled.
pub(crate) fn load(host: Personality) -> Rc<GuestModule> {
    let wasm = match host {
        Personality::Envoy => ENVOY,
        Personality::WasmX => KONG,
    };
    Rc::new(GuestModule::load(wasm, host).unwrap())
}

/// One configured worker.
pub(crate) fn sim() -> Sim {
    Sim::ready(&module())
}

pub(crate) fn sim_with(options: Options) -> Sim {
    Sim::ready_with(&module(), options)
}

/// The target of a Service's Pod.
pub(crate) fn pod(name: &str) -> Target {
    service("demo", "app", Some(name))
}

/// The `n`th upstream address.
pub(crate) fn address(n: usize) -> String {
    format!("10.{}.{}.{}:8080", n >> 16, n >> 8 & 0xff, n & 0xff)
}

/// Gives the `n`th address to the Pod `pod-n` from now on; returns the Pod's target.
pub(crate) fn own(sim: &mut Sim, n: usize) -> Fingerprint {
    let target = pod(&format!("pod-{n}"));
    let now = sim.now();
    sim.controller.index.set(now, &address(n), &target);
    target.fingerprint()
}

/// A request to the `n`th address.
pub(crate) fn to(n: usize) -> Request {
    Request::to(&address(n))
}

/// Requests reported for a target.
pub(crate) fn reported(sim: &Sim, target: Fingerprint) -> u64 {
    let totals = sim.controller.ledger.totals.of(target);
    totals.map_or(0, |totals| totals.request_count())
}

//! Kong's module in the simulated WasmX, which ends the process for whatever would end a worker of Kong's.

mod cost;
mod counts;
mod life;
mod module;

use gaugeway_guest::{Personality, Sim, controller::Controller, sim::Options};
use gaugeway_wire::{mapping::CLUSTER_PREFIX, target::Fingerprint};

use crate::scene::{self, pod};

/// The Service that configurations name.
const SERVICE: &str = "demo/app";

/// A configuration that names a Service, and so what Kong's own errors belong to.
fn identified(controller: &Controller, service: &str) -> String {
    let (namespace, name) = service.split_once('/').unwrap();
    let identity = format!(r#"{{"identity":{{"namespace":"{namespace}","service":"{name}"}},"#);
    controller.configuration().replacen('{', &identity, 1)
}

/// One worker, with a configuration that names [`SERVICE`], which has an owner of its own.
fn sim() -> Sim {
    sim_with(Options::default())
}

fn sim_with(options: Options) -> Sim {
    let mut sim = Sim::new(scene::load(Personality::WasmX), options);
    own_service(&mut sim, SERVICE);
    let configuration = identified(&sim.controller, SERVICE);
    sim.configure("main", &configuration);
    sim
}

/// What counts where only the Service is known; returns its target.
fn own_service(sim: &mut Sim, service: &str) -> Fingerprint {
    let target = pod(&format!("of {service}"));
    let now = sim.now();
    let key = format!("{CLUSTER_PREFIX}{service}");
    sim.controller.index.set(now, &key, &target);
    target.fingerprint()
}

/// A request to the `n`th address through [`SERVICE`].
fn to(n: usize) -> gaugeway_guest::Request {
    scene::to(n).cluster(SERVICE)
}

//! Kong's module in the simulated WasmX, which ends the process for whatever would end a worker of Kong's.
//!
//! What was found in a real Kong, or in its WasmX alone, and the test that the filter survives it. (That the simulation has it is tested in
//! `tests/guest/tests/host/wasmx.rs`; tests of `core` are in `filter/core/src/`.)
//!
//! | in Kong | test |
//! |---|---|
//! | attributes are text, lists have one place per try | `counts::every_ending_is_counted_as_what_it_is`, core `kong/tries.rs` |
//! | `-` for what there is not, Unix sockets, IPv6, an upstream's name without a live peer | core `statuses_and_addresses`, `no_live_peer_counts_where_the_request_was_to_go` |
//! | `kong.*` crashes: Lua may collect an old plan, and the instance with it; some attributes crash, trap or log errors | `counts::random_traffic_over_a_bad_network_is_counted_exactly` |
//! | Kong's own 502 and 504 run request headers and delete alone | `counts::errors_that_kong_makes_count_once_at_the_configured_service` |
//! | without an error page they come with headers of nginx's own | core `an_error_that_comes_with_headers_of_nginxs_own_is_no_response` |
//! | a time-out comes some milliseconds early by the filter's clock | core `a_shorter_time_out_is_told_by_the_configuration` |
//! | a response that the upstream cut is `OK` to nginx | `counts::every_ending_is_counted_as_what_it_is` |
//! | a request without a target comes to the log without its headers | `counts::a_log_without_request_headers_reads_and_counts_nothing` |
//! | missing callbacks are called through null, or Kong goes on without the filter | `module::kongs_module_has_every_callback_that_kong_calls_unchecked` |
//! | a root that reads a request's attributes ends the worker | every test: roots tick in all of them |
//! | replaced roots tick for ever | `life::replaced_roots_stop_themselves_and_lose_nothing` |
//! | a second period traps, 0 and then one doubles the timer | `life::hundreds_of_configurations_share_one_reporter` |
//! | a trap adds a timer, the instance is configured without being started | `life::after_a_trap_the_instance_starts_clean_and_ticks_that_come_twice_do_nothing` |
//! | some versions start the instance again for each root | `life::a_second_start_of_the_instance_changes_nothing` |
//! | collecting a replaced plan takes the instance with it | `life::a_collected_plan_loses_what_came_after_the_last_report_and_no_more` |
//! | calls leave from roots only, and each one leaks | `life::one_call_per_interval_and_none_before_the_first_request` |
//! | a call that leaves in the answer to another one ends the worker | `life::a_controller_that_is_away_for_long_costs_patience_not_counts` |
//! | random bytes come of a seed of 32 bits | core `kong_stories.rs`, `workers_whose_random_bytes_are_the_same_are_told_apart` |
//! | a failed call answers without headers | `life::a_controller_that_is_away_for_long_costs_patience_not_counts` |
//! | names are resolved by 8.8.8.8 unless told otherwise | `tests/kong.rs`, `forms_are_golden` |
//! | the clock has 1 ms, off by up to 128 ns | `counts::times_are_nginxs_own_whatever_the_clock_does` |
//! | a refused configuration only logs | `life::a_configuration_that_cannot_be_used_records_nothing_and_harms_nothing` |
//! | `proxy_get_log_level` ends workers; gRPC, queues, shared data, `get_status`, metrics may trap | `module::nothing_is_imported_that_a_watcher_does_not_need` |
//! | `end_of_stream` means nothing | core `kong.rs` has no such argument |
//! | the configuration comes with its keys in another order | `life::keys_come_in_any_order` |
//! | one root per configuration and worker, ticks without traffic | `life::hundreds_of_configurations_share_one_reporter` |
//! | an object as configuration needs `config_schema` | `src/embedded.rs`, `the_schema_has_what_the_filter_reads` |

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

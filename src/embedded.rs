//! The filter's modules, compiled into this binary by `build.rs`, and what Kong reads beside its own.

/// Envoy's module. Its exports are cut to the callbacks that the filter implements.
pub const ENVOY_MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gaugeway-envoy.wasm"));

/// SHA-256 of [`ENVOY_MODULE`], lowercase hex: what Envoy's `sha256` option and the module's address are made of.
pub const ENVOY_MODULE_SHA256: &str = env!("GAUGEWAY_ENVOY_SHA256");

/// Kong's module. It has every callback that WasmX calls without looking for it.
pub const KONG_MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gaugeway-kong.wasm"));

/// SHA-256 of [`KONG_MODULE`], lowercase hex.
pub const KONG_MODULE_SHA256: &str = env!("GAUGEWAY_KONG_SHA256");

/// What Kong reads beside its module: the JSON schema of the filter's configuration. Without it Kong takes no object.
pub const KONG_META: &str = include_str!("../filter/gaugeway.meta.json");

/// Name of the filter in Kong, and of its files. Hyphens in it would break Kong's own metrics page.
pub const KONG_FILTER: &str = "gaugeway";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gaugeway_filter_core::config::{Config, Gateway};
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};
    use walrus::Module;

    use super::*;

    /// What every module exports.
    const COMMON: [&str; 9] = [
        "_initialize",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_http_call_response",
        "proxy_on_memory_allocate",
        "proxy_on_tick",
        "proxy_on_done",
    ];
    /// Envoy enters the guest for each callback that it finds. It loads a module without `proxy_on_vm_start`, Kong does
    /// not: so Kong goes on without the filter instead of dying of what this module lacks.
    const ENVOY: [&str; 1] = ["proxy_on_response_headers"];
    /// Kong calls all of these without looking for them.
    const KONG: [&str; 7] = [
        "proxy_on_delete",
        "proxy_on_log",
        "proxy_on_request_body",
        "proxy_on_request_headers",
        "proxy_on_response_body",
        "proxy_on_response_headers",
        "proxy_on_vm_start",
    ];

    fn exports(module: &[u8]) -> BTreeSet<String> {
        let module = Module::from_buffer(module).unwrap();
        module.exports.iter().map(|e| e.name.clone()).collect()
    }

    #[test]
    fn exports_are_exactly_what_each_host_needs() {
        let names = |of: &[&str]| -> BTreeSet<String> {
            COMMON.iter().chain(of).map(ToString::to_string).collect()
        };
        assert_eq!(exports(ENVOY_MODULE), names(&ENVOY));
        assert_eq!(exports(KONG_MODULE), names(&KONG));
    }

    /// Functions of the ABI, and of WASI what the standard library reaches (a panic's message, randomness). Not among
    /// them, because a host dies of it: `proxy_get_log_level`.
    const IMPORTS: [&str; 12] = [
        "environ_get",
        "environ_sizes_get",
        "fd_write",
        "proc_exit",
        "random_get",
        "proxy_get_buffer_bytes",
        "proxy_get_current_time_nanoseconds",
        "proxy_get_header_map_value",
        "proxy_get_property",
        "proxy_http_call",
        "proxy_log",
        "proxy_set_tick_period_milliseconds",
    ];

    #[test]
    fn imports_are_only_what_every_host_has() {
        for module in [ENVOY_MODULE, KONG_MODULE] {
            let module = Module::from_buffer(module).unwrap();
            let names: BTreeSet<_> = module.imports.iter().map(|i| i.name.as_str()).collect();
            let allowed: BTreeSet<_> = IMPORTS.into_iter().collect();
            assert!(names.is_subset(&allowed), "{names:?}");
        }
    }

    #[test]
    fn both_are_small() {
        let sizes = [ENVOY_MODULE, KONG_MODULE].map(<[u8]>::len);
        assert!(
            sizes[0] <= 192 * 1024 && sizes[1] <= 224 * 1024,
            "{sizes:?}"
        );
    }

    #[test]
    fn sums_are_of_these_bytes() {
        for (module, sum) in [
            (ENVOY_MODULE, ENVOY_MODULE_SHA256),
            (KONG_MODULE, KONG_MODULE_SHA256),
        ] {
            let hex: String = Sha256::digest(module)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(hex, sum);
        }
    }

    /// The configuration with everything in it.
    fn full() -> Value {
        json!({
            "gateway": "prod/edge", "controller": "10.0.0.1:7080", "authority": "gaugeway", "token": "00ff",
            "timeout_ms": 60_000,
            "identity": { "namespace": "shop", "service": "cart", "route": "web" },
            "policy": {
                "schema": 3, "classic_bounds_ns": [1_000_000], "report_interval_ms": 15_000, "route": true,
                "unknown_grace_ms": 10_000
            },
        })
    }

    fn members(value: &Value) -> BTreeSet<&String> {
        value.as_object().unwrap().keys().collect()
    }

    #[test]
    fn the_schema_has_what_the_filter_reads() {
        let meta: Value = serde_json::from_str(KONG_META).unwrap();
        let schema = &meta["config_schema"];
        let full = full();
        Config::parse(full.to_string().as_bytes(), Gateway::Kong).unwrap();
        assert_eq!(members(&schema["properties"]), members(&full));
        for object in ["identity", "policy"] {
            let properties = &schema["properties"][object]["properties"];
            assert_eq!(members(properties), members(&full[object]));
        }
        for required in ["gateway", "controller"] {
            assert!(
                schema["required"]
                    .as_array()
                    .unwrap()
                    .contains(&json!(required))
            );
            let mut without = full.clone();
            without.as_object_mut().unwrap().remove(required);
            assert!(Config::parse(without.to_string().as_bytes(), Gateway::Kong).is_err());
        }
        assert!(!KONG_FILTER.contains('-'));
    }
}

//! The filter's module for Envoy, compiled into this binary by `build.rs`.

/// The module. Its exports are cut to the callbacks that the filter implements.
pub const ENVOY_MODULE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gaugeway-envoy.wasm"));

/// SHA-256 of [`ENVOY_MODULE`], lowercase hex: what Envoy's `sha256` option and the module's address are made of.
pub const ENVOY_MODULE_SHA256: &str = env!("GAUGEWAY_ENVOY_SHA256");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sha2::{Digest, Sha256};
    use walrus::Module;

    use super::*;

    /// Everything that the module exports: the host enters the guest for each callback that it finds.
    const EXPORTS: &[&str] = &[
        "_initialize",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_done",
        "proxy_on_http_call_response",
        "proxy_on_memory_allocate",
        "proxy_on_request_headers",
        "proxy_on_response_headers",
        "proxy_on_tick",
    ];

    #[test]
    fn exports_exactly_what_is_implemented() {
        let module = Module::from_buffer(ENVOY_MODULE).unwrap();
        let names: BTreeSet<_> = module.exports.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, EXPORTS.iter().copied().collect());
    }

    /// Functions of the ABI, and of WASI what the standard library reaches (a panic's message, randomness).
    const IMPORTS: &[&str] = &[
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
    fn imports_only_what_every_host_has() {
        let module = Module::from_buffer(ENVOY_MODULE).unwrap();
        let names: BTreeSet<_> = module.imports.iter().map(|i| i.name.as_str()).collect();
        let allowed: BTreeSet<_> = IMPORTS.iter().copied().collect();
        assert!(names.is_subset(&allowed), "{names:?}");
    }

    #[test]
    fn is_small() {
        assert!(ENVOY_MODULE.len() <= 256 * 1024, "{}", ENVOY_MODULE.len());
    }

    #[test]
    fn sha256_is_of_these_bytes() {
        let mut hex = String::new();
        for byte in Sha256::digest(ENVOY_MODULE) {
            hex.push_str(&format!("{byte:02x}"));
        }
        assert_eq!(hex, ENVOY_MODULE_SHA256);
    }
}

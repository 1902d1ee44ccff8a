//! Makes each host's module of the one that was linked, cut down to what that host needs.
//!
//! The linked module has the entry points of both: Envoy's under the ABI's names, Kong's with a prefix. Envoy enters the
//! guest for each callback that it finds, so its module exports those that do something and no more; Kong calls some that
//! it does not look for, so its module has all of those. The linker adds exports of its own, names and sections that
//! nobody reads.

use std::error::Error;

use walrus::{ModuleConfig, passes::gc};

/// Exports that all hosts need.
const KEPT: &[&str] = &[
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
];
/// What callbacks' names begin with.
const CALLBACK: &str = "proxy_on_";
/// What stands before the names of Kong's callbacks.
const KONG: &str = "kong_";

/// A host, as far as exports go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    Envoy,
    Kong,
}

impl Host {
    /// The name that an export of the linked module gets in this host's; `None` leaves it out.
    fn name(self, linked: &str) -> Option<&str> {
        if KEPT.contains(&linked) {
            return Some(linked);
        }
        let name = match self {
            Self::Envoy => linked,
            Self::Kong => linked.strip_prefix(KONG)?,
        };
        name.starts_with(CALLBACK).then_some(name)
    }
}

/// Leaves the exports of one host, and removes what only others reached, names and custom sections.
pub(crate) fn cut(wasm: &[u8], host: Host) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut config = ModuleConfig::new();
    config
        .generate_name_section(false)
        .generate_producers_section(false);
    let mut module = config.parse(wasm)?;
    let foreign = |name: &str| host.name(name).is_none();
    let exports = module.exports.iter().filter(|export| foreign(&export.name));
    let exports: Vec<_> = exports.map(|export| export.id()).collect();
    for export in exports {
        module.exports.delete(export);
    }
    for export in module.exports.iter_mut() {
        if let Some(name) = host.name(&export.name) {
            export.name = name.to_owned();
        }
    }
    let customs: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for custom in customs {
        module.customs.delete(custom);
    }
    gc::run(&mut module);
    Ok(module.emit_wasm())
}

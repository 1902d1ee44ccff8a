//! Cuts a linked module down to what its host needs.
//!
//! A host enters the guest for each callback that it finds, so a module exports those that do something and no more;
//! the linker adds exports of its own, names and sections that nobody reads.

use std::error::Error;

use walrus::{ModuleConfig, passes::gc};

/// Exports that are not callbacks.
const KEPT: &[&str] = &["memory", "_initialize", "proxy_abi_version_0_2_1"];
/// What callbacks' names begin with.
const CALLBACK: &str = "proxy_on_";

/// Removes all other exports, what only they reached, names and custom sections.
pub(crate) fn trim(wasm: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut config = ModuleConfig::new();
    config
        .generate_name_section(false)
        .generate_producers_section(false);
    let mut module = config.parse(wasm)?;
    let foreign = |name: &str| !name.starts_with(CALLBACK) && !KEPT.contains(&name);
    let exports = module.exports.iter().filter(|export| foreign(&export.name));
    let exports: Vec<_> = exports.map(|export| export.id()).collect();
    for export in exports {
        module.exports.delete(export);
    }
    let customs: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for custom in customs {
        module.customs.delete(custom);
    }
    gc::run(&mut module);
    Ok(module.emit_wasm())
}

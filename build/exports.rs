//! Cuts a linked module's exports to what the filter implements.
//!
//! The proxy-wasm SDK exports every callback of the ABI, and a host enters the guest for each one that it finds. The
//! filter's own entry points are linked as `gaugeway_on_*` beside them; here they get the ABI's names, everything
//! else goes, and what nothing reaches any more goes with it.

use std::error::Error;

use walrus::{ModuleConfig, passes::gc};

/// Prefix of the filter's own entry points, and what the host looks for in its place.
const OURS: &str = "gaugeway_on_";
const ABI: &str = "proxy_on_";

/// Exports that are not callbacks.
const KEPT: &[&str] = &["memory", "_initialize", "proxy_abi_version_0_2_1"];

/// Renames and removes exports, drops unreachable code, names and producers.
pub(crate) fn trim(wasm: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut config = ModuleConfig::new();
    config
        .generate_name_section(false)
        .generate_producers_section(false);
    let mut module = config.parse(wasm)?;
    let ids: Vec<_> = module.exports.iter().map(|export| export.id()).collect();
    let mut callbacks = 0;
    // Removal first: a name that the SDK exports must be free before one of ours takes it.
    for &id in &ids {
        let name = &module.exports.get(id).name;
        if !name.starts_with(OURS) && !KEPT.contains(&name.as_str()) {
            module.exports.delete(id);
        }
    }
    for export in module.exports.iter_mut() {
        if let Some(callback) = export.name.strip_prefix(OURS) {
            export.name = format!("{ABI}{callback}");
            callbacks += 1;
        }
    }
    if callbacks == 0 {
        return Err("the linked module has no entry points of the filter".into());
    }
    let customs: Vec<_> = module.customs.iter().map(|(id, _)| id).collect();
    for id in customs {
        module.customs.delete(id);
    }
    gc::run(&mut module);
    Ok(module.emit_wasm())
}

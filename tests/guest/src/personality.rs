//! Which host a VM believes it is in, and where the two differ inside a host call.

use rand::{RngExt as _, rngs::SmallRng};

use crate::{abi::Status, host::Host};

mod envoy;
mod wasmx;

/// The two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// Envoy 1.40.
    Envoy,
    /// Kong's WasmX (`ngx_wasm_module` as in Kong 3.9).
    WasmX,
}

/// Why a host call does not return to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest traps; a host that survives it drops or rebuilds the VM.
    Trap(String),
    /// The whole gateway process dies.
    Death(String),
}

/// Answer of a property read.
pub type Property = Result<Result<Vec<u8>, Status>, Stop>;

impl Personality {
    /// Reads a property; parts of `path` are joined by NUL.
    pub(crate) fn property(self, host: &mut Host, path: &[u8]) -> Property {
        let path = String::from_utf8_lossy(path).into_owned();
        match self {
            Self::Envoy => Ok(envoy::property(host, &path)),
            Self::WasmX => wasmx::property(host, &path.replace('\0', ".")),
        }
    }

    /// Sets the tick period of the effective root.
    pub(crate) fn set_tick_period(self, host: &mut Host, period: u32) -> Result<Status, Stop> {
        match self {
            Self::Envoy => Ok(envoy::set_tick_period(host, period)),
            Self::WasmX => wasmx::set_tick_period(host, period),
        }
    }

    /// Whether a call may be dispatched to `upstream` here and now.
    pub(crate) fn dispatch(self, host: &Host, upstream: &str) -> Result<Status, Stop> {
        match self {
            Self::Envoy => Ok(envoy::dispatch(host, upstream)),
            Self::WasmX => wasmx::dispatch(host, upstream),
        }
    }

    /// Exports without which this host does not run a module.
    pub(crate) const fn needed_exports(self) -> &'static [&'static str] {
        match self {
            Self::Envoy => &envoy::NEEDED,
            Self::WasmX => &wasmx::NEEDED,
        }
    }

    /// An import that this host does not survive, or does not have.
    pub(crate) fn import(self, name: &str) -> Result<(), Stop> {
        match self {
            Self::WasmX if name == "proxy_get_log_level" => Err(Stop::Death(
                "importing proxy_get_log_level ends the worker".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// A callback that the module does not export.
    pub(crate) fn missing_callback(self, name: &str) -> Result<(), Stop> {
        match self {
            Self::WasmX if wasmx::CALLED_UNCHECKED.contains(&name) => Err(Stop::Death(format!(
                "{name} is not exported and is called through null"
            ))),
            _ => Ok(()),
        }
    }

    /// A host call that neither host offers to a filter like ours.
    pub(crate) fn unsupported(self, name: &str) -> Result<Status, Stop> {
        match self {
            Self::WasmX if wasmx::TRAPS_WHEN_CALLED.contains(&name) => {
                Err(Stop::Trap(format!("{name} traps in WasmX")))
            }
            _ => Ok(Status::Unimplemented),
        }
    }

    /// Reading of the wall clock: Envoy's has whole microseconds, nginx's whole milliseconds, up to 128 ns off.
    pub(crate) fn clock(self, now: u64, rng: &mut SmallRng) -> u64 {
        match self {
            Self::Envoy => now / 1_000 * 1_000,
            Self::WasmX => {
                (now / 1_000_000 * 1_000_000).saturating_add_signed(rng.random_range(-128..=128))
            }
        }
    }
}

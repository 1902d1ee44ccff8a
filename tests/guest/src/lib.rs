//! A proxy-wasm host for tests: runs the *built* modules on an interpreter, as Envoy or as Kong's WasmX would.
//!
//! Time is simulated, nothing is random that a seed does not decide, and every host call is counted and can be made to
//! fail. What would end the gateway's process is a typed [`Failure`], which fails the test unless it is taken.
//!
//! [`Sim`] drives workers, requests and a simulated [`Controller`]; [`Request`] scripts what upstreams do and says what
//! a correct filter counts for it, so that tests compare requests scripted with requests reported, exactly.
#![forbid(unsafe_code)]

pub mod abi;
pub mod controller;
pub mod fault;
pub mod golden;
mod guest;
pub mod host;
mod hostcalls;
pub mod meter;
pub mod personality;
pub mod request;
pub mod sim;
pub mod totals;
pub mod vm;
mod wasi;

pub use controller::Controller;
pub use fault::{Fault, Faults};
pub use meter::Meter;
pub use personality::{Personality, Stop};
pub use request::{Ending, Expected, Request, Try};
pub use sim::Sim;
pub use totals::Totals;
pub use vm::{Failure, GuestModule, LoadError, Vm};

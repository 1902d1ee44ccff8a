//! Real Envoy, upstreams, load and oracle for the demo, the tests and the benches.
//!
//! Everything here is a real process or a real server on a loopback port that the system chose. Whatever takes time is
//! awaited by condition with a deadline ([`wait::until`]); a failure says what was seen last and shows the tail of the
//! process's own log. Processes end with the value that owns them.
#![forbid(unsafe_code)]

pub mod client;
pub mod controller;
pub mod envoy;
pub mod exposition;
pub mod gateway;
pub mod load;
pub mod oracle;
pub mod pki;
pub mod port;
pub mod process;
pub mod prometheus;
pub mod relay;
pub mod secure;
pub mod tools;
pub mod upstream;
pub mod wait;

pub use client::Client;
pub use controller::{Controller, ControllerOptions};
pub use envoy::{Envoy, EnvoyOptions};
pub use exposition::Exposition;
pub use gateway::{Backend, Cluster, FilterInstance, Gateway, GatewayConfig, Route, Trust};
pub use load::{Load, LoadReport};
pub use oracle::{AccessLine, AccessLog};
pub use pki::{Authority, Pair};
pub use port::ReservedPort;
pub use prometheus::Prometheus;
pub use relay::{Fault, Passing, Relay};
pub use secure::{SecureClient, SecureSession};
pub use upstream::{Act, Latency, Script, Upstream};

//! Real Envoy, upstreams, load and oracle for the demo, the tests and the benches.

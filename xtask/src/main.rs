//! Set-up, tests, demo and benches of this repository.
fn main() {}

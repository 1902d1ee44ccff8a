//! The `gaugeway` command.
fn main() {}

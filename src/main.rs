//! The `gaugeway` command.
pub mod embedded;

fn main() {}

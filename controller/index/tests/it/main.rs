//! Stories and laws of the index and the hub, through their public surface.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod attribution;
mod explain;
mod hub;
mod laws;
mod moves;
mod objects;
mod observed;
mod reach;
mod selection;

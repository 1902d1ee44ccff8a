//! A whole VM against a controller, in simulated time: whatever gets lost on the way, every request is counted exactly
//! once.

mod carried_stories;
mod controller;
mod host;
mod kong;
mod kong_life_stories;
mod kong_stories;
mod laws;
mod network;
mod stories;
mod world;

pub(crate) use self::{
    controller::outcome,
    host::Facts,
    world::{World, ok},
};

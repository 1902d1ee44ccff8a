//! The ledger as a whole: exactly once, across kills, damage and full disks.

mod crash;
mod disk_full;
mod live;
mod rig;

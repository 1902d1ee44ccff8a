//! Stories of policies, from objects to statuses: what is refused, who wins, what is said, and that order never matters.

mod conflicts;
mod rig;
mod said;

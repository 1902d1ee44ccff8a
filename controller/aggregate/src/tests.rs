//! The totals as a whole: laws over arbitrary histories, stories of expiry and bounds, what is exposed.

mod exposed;
mod formats;
mod histories;
mod rig;
mod stories;

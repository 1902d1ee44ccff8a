//! `custom.metrics.k8s.io`, as an HPA reads it: discovery, names of metrics, selectors, quantities, lists of values.
//!
//! Pure: what is known of objects comes in as readings ([`crate::live`]), who may ask is somebody else's question.
//!
//! **Invariant**: what is not known is no value, but `NotFound` with the reason: an HPA then leaves the size as it is.

mod discovery;
mod metric;
mod quantity;
mod question;
mod request_info;
mod selector;
mod status;
mod values;

pub use metric::custom_metrics;

pub(crate) use discovery::{
    GROUP, Version, groups, open_api_v2, open_api_v3, resources, the_group,
};
#[cfg(test)]
pub(crate) use metric::Metric;
#[cfg(feature = "laws")]
pub(crate) use quantity::Quantity;
pub(crate) use question::{Question, Resource, Which};
pub(crate) use request_info::Attributes;
#[cfg(feature = "laws")]
pub(crate) use selector::{Is, Selector, Term};
pub(crate) use status::{Status, StatusReason};
pub(crate) use values::list;

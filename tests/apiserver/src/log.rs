//! What was asked of the server.

use crate::request::Verb;

/// One request, whatever came of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Logged {
    /// As RBAC names it.
    pub verb: Verb,
    /// Empty for the core group.
    pub group: String,
    /// Plural; empty for discovery.
    pub resource: String,
    /// Empty for the object itself.
    pub subresource: String,
    /// Empty for all namespaces, and where there is none.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// Nothing but metadata was asked for.
    pub metadata_only: bool,
    /// Nothing was to be kept of it.
    pub dry_run: bool,
}

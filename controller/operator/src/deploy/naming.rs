//! Which routes are to name which plugin, and which annotations that changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edit, RouteFacts, RouteId, attach_token, detach_token};

/// What is wanted of a plugin's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// These routes name it, and no others.
    By(BTreeSet<RouteId>),
    /// Nobody knows: whoever names it goes on, and nobody else begins to.
    AsItIs,
}

/// A route's annotation is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub route: RouteId,
    /// The plugin's name.
    pub plugin: String,
    /// Added, or taken out.
    pub attach: bool,
}

impl Change {
    /// To the annotation as it is now.
    #[must_use]
    pub fn edit(&self, value: Option<&str>) -> Edit {
        if self.attach {
            attach_token(value, &self.plugin)
        } else {
            detach_token(value, &self.plugin)
        }
    }
}

/// All changes that bring routes to what is wanted, by plugin. Names that are not in `wanted` are somebody else's.
#[must_use]
pub fn changes(routes: &[RouteFacts], wanted: &BTreeMap<String, Naming>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (plugin, naming) in wanted {
        let Naming::By(by) = naming else {
            continue;
        };
        changes.extend(routes.iter().filter_map(|route| {
            let change = Change {
                route: route.id.clone(),
                plugin: plugin.clone(),
                attach: by.contains(&route.id),
            };
            (change.edit(route.plugins.as_deref()) != Edit::None).then_some(change)
        }));
    }
    changes
}

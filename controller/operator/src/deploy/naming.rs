//! Which routes are to name which plugin, and which annotations that changes.

use std::collections::BTreeMap;

use super::{Edit, RouteFacts, RouteId, name_plugin};

/// What is wanted of the names of one gateway's plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// These routes name these, and no other route names any.
    By(BTreeMap<RouteId, String>),
    /// Nobody knows: whoever names one goes on, and nobody else begins to.
    AsItIs,
}

/// A route's annotation is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub route: RouteId,
    /// How the names of the gateway's plugins begin.
    pub gateway: String,
    /// The only one of them that it is to name.
    pub plugin: Option<String>,
}

impl Change {
    /// To the annotation as it is now.
    #[must_use]
    pub fn edit(&self, value: Option<&str>) -> Edit {
        name_plugin(value, &self.gateway, self.plugin.as_deref())
    }
}

/// All changes that bring routes to what is wanted, by the gateway's name (see [`super::object_name`]). Names that begin
/// as none of `wanted` does are somebody else's.
#[must_use]
pub fn changes(routes: &[RouteFacts], wanted: &BTreeMap<String, Naming>) -> Vec<Change> {
    let mut changes = Vec::new();
    for (gateway, naming) in wanted {
        let Naming::By(by) = naming else {
            continue;
        };
        changes.extend(routes.iter().filter_map(|route| {
            let change = Change {
                route: route.id.clone(),
                gateway: gateway.clone(),
                plugin: by.get(&route.id).cloned(),
            };
            (change.edit(route.plugins.as_deref()) != Edit::None).then_some(change)
        }));
    }
    changes
}

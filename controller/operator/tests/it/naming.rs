//! Which routes name a plugin, while others edit the same annotation: a law over every interleaving.

use std::collections::BTreeMap;

use gaugeway_operator::deploy::{Edit, Naming, RouteFacts, RouteId, RouteKind, changes};
use proptest::prelude::*;
use serde_json::json;

const GATEWAY: &str = "gaugeway-0011223344556677";
/// Names of its plugins.
const PLUGINS: [&str; 3] = [
    GATEWAY,
    "gaugeway-0011223344556677-8899aabbccddeeff",
    "gaugeway-0011223344556677-ffeeddccbbaa9988",
];

/// An annotation in a server that compares versions, and what it would be without us.
#[derive(Clone, Debug, Default)]
struct Server {
    value: Option<String>,
    version: u32,
    theirs: Option<String>,
}

/// What somebody does to the annotation, not knowing of us.
#[derive(Clone, Debug)]
enum Users {
    Prepend(String),
    Append(String),
    /// Also what we wrote.
    Replace(Option<String>),
}

/// One step of the history.
#[derive(Clone, Debug)]
enum Step {
    Edits(Users),
    /// A policy comes or goes, or the route leads elsewhere: which of the plugins is wanted.
    Wants(Option<usize>),
    /// The controller looks.
    Looks,
    /// And writes what it made of its last look.
    Writes,
    /// It is killed: what it saw is forgotten.
    Dies,
}

impl Server {
    fn edit(&mut self, edit: &Users) {
        let joined = |held: &Option<String>, more: &str, first: bool| match held {
            None => Some(more.to_owned()),
            Some(held) if first => Some(format!("{more},{held}")),
            Some(held) => Some(format!("{held},{more}")),
        };
        match edit {
            Users::Prepend(more) => {
                self.value = joined(&self.value, more, true);
                self.theirs = joined(&self.theirs, more, true);
            }
            Users::Append(more) => {
                self.value = joined(&self.value, more, false);
                self.theirs = joined(&self.theirs, more, false);
            }
            Users::Replace(value) => {
                self.value.clone_from(value);
                self.theirs.clone_from(value);
            }
        }
        self.version += 1;
    }

    /// As a patch with a precondition: nothing happens after somebody else wrote.
    fn write(&mut self, version: u32, edit: Edit) {
        if version != self.version {
            return;
        }
        match edit {
            Edit::None => return,
            Edit::Set(value) => self.value = Some(value),
            Edit::Remove => self.value = None,
        }
        self.version += 1;
    }
}

fn id() -> RouteId {
    RouteId {
        kind: RouteKind::HttpRoute,
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
    }
}

fn wanted(plugin: Option<usize>) -> BTreeMap<String, Naming> {
    let by = plugin.map(|at| (id(), PLUGINS[at].to_owned()));
    let naming = Naming::By(by.into_iter().collect());
    BTreeMap::from([(GATEWAY.to_owned(), naming)])
}

fn route(value: Option<&str>) -> RouteFacts {
    let mut object = json!({"metadata": {"namespace": "shop", "name": "web"}});
    if let Some(value) = value {
        object["metadata"]["annotations"] = json!({"konghq.com/plugins": value});
    }
    RouteFacts::of(RouteKind::HttpRoute, &object)
}

/// What the controller makes of a look.
fn edit(value: Option<&str>, plugin: Option<usize>) -> Edit {
    let routes = [route(value)];
    let changes = changes(&routes, &wanted(plugin));
    let change = changes.first();
    change.map_or(Edit::None, |change| change.edit(value))
}

fn users() -> impl Strategy<Value = Users> {
    let names = "[ a-d]{1,3}";
    prop_oneof![
        names.prop_map(Users::Prepend),
        names.prop_map(Users::Append),
        proptest::option::of("[ ,a-d]{0,5}").prop_map(Users::Replace),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => users().prop_map(Step::Edits),
        2 => proptest::option::of(0..PLUGINS.len()).prop_map(Step::Wants),
        4 => Just(Step::Looks),
        4 => Just(Step::Writes),
        1 => Just(Step::Dies),
    ];
    proptest::collection::vec(step, 0..40)
}

proptest! {
    /// peers.md: the annotation is the user's. Whoever edits it whenever, however often the policy comes and goes and the
    /// controller is killed: at the end it is byte for byte what it would be without us.
    #[test]
    fn any_interleaving_ends_with_the_users_own(begin in proptest::option::of("[ ,a-d]{0,6}"), steps in steps()) {
        let mut server = Server { value: begin.clone(), theirs: begin, ..Server::default() };
        let mut plugin = None;
        let mut seen: Option<(u32, Edit)> = None;
        for step in &steps {
            match step {
                Step::Edits(edit) => server.edit(edit),
                Step::Wants(wants) => plugin = *wants,
                Step::Looks => seen = Some((server.version, edit(server.value.as_deref(), plugin))),
                Step::Writes => if let Some((version, edit)) = seen.take() {
                    server.write(version, edit);
                },
                Step::Dies => seen = None,
            }
            // Never more than once, and all of theirs is there in its order.
            let names: Vec<_> = server.value.iter().flat_map(|v| v.split(',')).collect();
            prop_assert!(names.iter().filter(|n| n.trim().starts_with(GATEWAY)).count() <= 1);
        }
        // Quiet: a look and a write do it, and then there is nothing left to do.
        for plugin in [Some(1), Some(2), Some(0), None] {
            server.write(server.version, edit(server.value.as_deref(), plugin));
            prop_assert_eq!(edit(server.value.as_deref(), plugin), Edit::None);
            let value = server.value.iter().flat_map(|v| v.split(','));
            let ours: Vec<_> = value.filter(|n| n.trim().starts_with(GATEWAY)).collect();
            prop_assert_eq!(ours, plugin.map(|at| PLUGINS[at]).into_iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(server.value, server.theirs);
    }
}

#[test]
fn what_nobody_knows_stays_as_it_is() {
    let as_it_is = BTreeMap::from([(GATEWAY.to_owned(), Naming::AsItIs)]);
    for value in [None, Some("a"), Some(PLUGINS[0]), Some(PLUGINS[1])] {
        assert_eq!(changes(&[route(value)], &as_it_is), []);
    }
    // A name that is not among ours is somebody else's, whatever it looks like.
    for theirs in ["gaugeway-ffffffffffffffff", "gaugeway-0011223344556677a"] {
        assert_eq!(changes(&[route(Some(theirs))], &wanted(None)), []);
    }
}

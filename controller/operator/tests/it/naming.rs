//! Which routes name a plugin, while others edit the same annotation: a law over every interleaving.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_operator::deploy::{Edit, Naming, RouteFacts, RouteId, RouteKind, changes};
use proptest::prelude::*;
use serde_json::json;

const PLUGIN: &str = "gaugeway-0011223344556677";

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
    /// A policy comes or goes.
    Wants(bool),
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

fn wanted(named: bool) -> BTreeMap<String, Naming> {
    let by = named.then(id).into_iter().collect::<BTreeSet<_>>();
    BTreeMap::from([(PLUGIN.to_owned(), Naming::By(by))])
}

fn route(value: Option<&str>) -> RouteFacts {
    let mut object = json!({"metadata": {"namespace": "shop", "name": "web"}});
    if let Some(value) = value {
        object["metadata"]["annotations"] = json!({"konghq.com/plugins": value});
    }
    RouteFacts::of(RouteKind::HttpRoute, &object)
}

/// What the controller makes of a look.
fn edit(value: Option<&str>, named: bool) -> Edit {
    let routes = [route(value)];
    let changes = changes(&routes, &wanted(named));
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
        2 => any::<bool>().prop_map(Step::Wants),
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
        let mut named = false;
        let mut seen: Option<(u32, Edit)> = None;
        for step in &steps {
            match step {
                Step::Edits(edit) => server.edit(edit),
                Step::Wants(wants) => named = *wants,
                Step::Looks => seen = Some((server.version, edit(server.value.as_deref(), named))),
                Step::Writes => if let Some((version, edit)) = seen.take() {
                    server.write(version, edit);
                },
                Step::Dies => seen = None,
            }
            // Never more than once, and all of theirs is there in its order.
            let names: Vec<_> = server.value.iter().flat_map(|v| v.split(',')).collect();
            prop_assert!(names.iter().filter(|n| n.trim() == PLUGIN).count() <= 1);
        }
        // Quiet: a look and a write do it, and then there is nothing left to do.
        for named in [true, false] {
            server.write(server.version, edit(server.value.as_deref(), named));
            prop_assert_eq!(edit(server.value.as_deref(), named), Edit::None);
        }
        prop_assert_eq!(server.value, server.theirs);
    }
}

#[test]
fn what_nobody_knows_stays_as_it_is() {
    let as_it_is = BTreeMap::from([(PLUGIN.to_owned(), Naming::AsItIs)]);
    for value in [None, Some("a"), Some(PLUGIN)] {
        assert_eq!(changes(&[route(value)], &as_it_is), []);
    }
    // A name that is not among ours is somebody else's, whatever it looks like.
    let theirs = [route(Some("gaugeway-ffffffffffffffff"))];
    assert_eq!(changes(&theirs, &wanted(false)), []);
}

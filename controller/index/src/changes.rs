//! What a change of the index may have touched.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashSet};

use crate::{key::RouteKind, key::SocketKey, name::ObjectName, object::ObjectId};

/// Something that a resolution depends on, as a 64-bit hash. Two things with the same hash cost a needless look-up,
/// nothing else: whoever is told resolves again and compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(u64);

/// Makes [`Subject`]s. Seeded per index, so that nobody outside can aim at collisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subjects(DefaultHashBuilder);

impl Subjects {
    pub(crate) fn address(&self, key: &SocketKey) -> Subject {
        Subject(self.0.hash_one((0_u8, key)))
    }

    pub(crate) fn service(&self, service: &ObjectName) -> Subject {
        self.named(1, &service.namespace, &service.name)
    }

    pub(crate) fn service_by_name(&self, namespace: &str, name: &str) -> Subject {
        self.named(1, namespace, name)
    }

    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Subject {
        self.named(2, namespace, name)
    }

    pub(crate) fn replica_set(&self, namespace: &str, name: &str) -> Subject {
        self.named(3, namespace, name)
    }

    /// Whether and how a gateway reaches a Service.
    pub(crate) fn reach(&self, gateway: &str, namespace: &str, service: &str) -> Subject {
        Subject(self.0.hash_one((4_u8, gateway, namespace, service)))
    }

    pub(crate) fn route(&self, kind: RouteKind, namespace: &str, name: &str) -> Subject {
        Subject(self.0.hash_one((5_u8, kind, namespace, name)))
    }

    fn named(&self, kind: u8, namespace: &str, name: &str) -> Subject {
        Subject(self.0.hash_one((kind, namespace, name)))
    }
}

/// What one call to the index changed.
#[derive(Clone, Debug, Default)]
#[must_use = "subscribers must be told"]
pub struct Changes {
    subjects: HashSet<Subject>,
    issues: Vec<Issue>,
}

impl Changes {
    /// Nothing that anybody could see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// What was touched, each once, in no order.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.subjects.iter().copied()
    }

    /// Parts of objects that could not be used; the rest of the object was.
    #[must_use]
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// Adds what another call changed.
    pub fn merge(&mut self, other: Self) {
        self.subjects.extend(other.subjects);
        self.issues.extend(other.issues);
    }

    pub(crate) fn touch(&mut self, subject: Subject) {
        self.subjects.insert(subject);
    }

    pub(crate) fn issue(&mut self, issue: Issue) {
        self.issues.push(issue);
    }
}

/// A part of an object that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {problem}")]
pub struct Issue {
    /// Which object.
    pub object: ObjectId,
    /// Which part, why, and what happens instead.
    pub problem: Problem,
}

/// Why a part of an object could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Its name or namespace is none.
    #[error("its namespace or name is missing or not a Kubernetes name; the object is ignored")]
    Name,
    /// An EndpointSlice that belongs to nothing.
    #[error("it has no label kubernetes.io/service-name; the object is ignored")]
    NoService,
    /// An address that is none.
    #[error(
        "{count} of its addresses are not IP addresses (the first: {first:?}); they are ignored"
    )]
    Addresses {
        /// How many.
        count: usize,
        /// The first, cut.
        first: String,
    },
    /// Over a bound.
    #[error("it has more than {bound} {what}; the rest is ignored")]
    Bound {
        /// Of what.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
}

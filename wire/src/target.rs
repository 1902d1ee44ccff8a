//! Targets: what an upstream address belongs to, by labels, and their fingerprints.

use alloc::{borrow::Cow, string::String, vec::Vec};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    codec::{
        DecodeError, Occurrences, Reader, delimited_len, put_bytes, put_fixed64, put_message,
        put_present, put_uint, try_push, try_text,
    },
    limits::{LABEL_NAME_BYTES, LABEL_VALUE_BYTES, LABELS, TARGET_BYTES},
};

/// 64-bit name of a target: XXH3-64 of its canonical encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u64);

/// What kind of thing a target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A Kubernetes object, by its labels.
    #[default]
    Kubernetes,
    /// An address that no selected Service owns.
    Unknown,
    /// Counts that could not have an entry of their own.
    Overflow,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// One of [`names`], or `label_` + a sanitised object label.
    pub name: Cow<'static, str>,
    /// Its value, bounded UTF-8.
    pub value: String,
}

/// Names of the labels a target can have.
pub mod names {
    /// The Service's namespace.
    pub const NAMESPACE: &str = "kubernetes_namespace";
    /// The Service's name.
    pub const SERVICE: &str = "kubernetes_service";
    /// The Service port: its name, or its number where it has none.
    pub const SERVICE_PORT: &str = "kubernetes_service_port";
    /// The Pod's name.
    pub const POD: &str = "kubernetes_pod";
    /// Kind of the workload that owns the Pod.
    pub const WORKLOAD_KIND: &str = "kubernetes_workload_kind";
    /// Name of the workload that owns the Pod.
    pub const WORKLOAD: &str = "kubernetes_workload";
    /// The node.
    pub const NODE: &str = "kubernetes_node";
    /// The zone.
    pub const ZONE: &str = "topology_zone";
    /// The gateway.
    pub const GATEWAY: &str = "gateway";
    /// The route; comes with the series, not with the target.
    pub const ROUTE: &str = "route";
    /// Prefix of chosen object labels; `[a-zA-Z0-9_]` follow.
    pub const OBJECT_LABEL_PREFIX: &str = "label_";

    const FIXED: [&str; 9] = [
        NAMESPACE,
        SERVICE,
        SERVICE_PORT,
        POD,
        WORKLOAD_KIND,
        WORKLOAD,
        NODE,
        ZONE,
        GATEWAY,
    ];

    /// Whether a target can have a label of this name.
    #[must_use]
    pub fn is_allowed(name: &str) -> bool {
        fixed(name).is_some() || is_object_label(name)
    }

    /// The name itself, if it is not that of an object's label.
    pub(super) fn fixed(name: &str) -> Option<&'static str> {
        FIXED.into_iter().find(|fixed| *fixed == name)
    }

    fn is_object_label(name: &str) -> bool {
        name.strip_prefix(OBJECT_LABEL_PREFIX).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
    }
}

/// What an upstream address belongs to. Invariant: labels are sorted by name, names are unique and allowed,
/// everything is within [`crate::limits`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    kind: TargetKind,
    labels: Vec<Label>,
}

/// Why labels do not make a target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The same name twice.
    #[error("label {0} is given twice")]
    Duplicate(String),
    /// A name outside the closed set.
    #[error("label {0} is not one that a target can have")]
    Name(String),
    /// Over a bound of [`crate::limits`].
    #[error("{0} is over its bound")]
    Bound(&'static str),
}

impl Target {
    /// Sorts and checks.
    ///
    /// # Errors
    /// When a name is foreign or doubled, or a bound of [`crate::limits`] is passed.
    pub fn try_new(kind: TargetKind, mut labels: Vec<Label>) -> Result<Self, TargetError> {
        if labels.len() > LABELS {
            return Err(TargetError::Bound("the number of labels"));
        }
        labels.iter().try_for_each(Label::check)?;
        labels.sort_unstable();
        labels.shrink_to_fit();
        for pair in labels.windows(2) {
            if let [a, b] = pair
                && a.name == b.name
            {
                return Err(TargetError::Duplicate(a.name.clone().into_owned()));
            }
        }
        let target = Self { kind, labels };
        if target.encode().len() > TARGET_BYTES {
            return Err(TargetError::Bound("the target"));
        }
        Ok(target)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Its labels, sorted by name.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Value of one label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|label| label.name == name)?;
        Some(&found.value)
    }

    /// The canonical encoding, whose hash is the fingerprint.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut body = Vec::new();
        put_uint(&mut out, 1, self.kind.number());
        for label in &self.labels {
            body.clear();
            put_present(&mut body, 1, label.name.as_bytes());
            put_present(&mut body, 2, label.value.as_bytes());
            put_bytes(&mut out, 2, &body);
        }
        out
    }

    /// Decodes and checks. Accepts any field order, unknown fields are an error here: a fingerprint covers all bytes.
    ///
    /// # Errors
    /// As [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > TARGET_BYTES {
            return Err(DecodeError::Bound("Target"));
        }
        let mut kind = TargetKind::default();
        let mut labels = Vec::new();
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Target")? {
            match tag.field {
                1 => kind = TargetKind::parse(reader.uint(tag, "Target.kind")?)?,
                2 => {
                    let label = Label::decode(reader.bytes(tag, "Target.labels")?)?;
                    try_push(&mut labels, label, "Target.labels", LABELS)?;
                }
                _ => return Err(DecodeError::Value("Target")),
            }
        }
        Self::try_new(kind, labels).map_err(|_| DecodeError::Value("Target.labels"))
    }

    /// XXH3-64 of [`Target::encode`].
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.encode())
    }
}

impl Fingerprint {
    /// XXH3-64 (seed 0) of a canonical encoding.
    #[must_use]
    pub fn of(canonical: &[u8]) -> Self {
        Self(xxh3_64(canonical))
    }
}

impl TargetKind {
    const fn number(self) -> u64 {
        match self {
            Self::Kubernetes => 0,
            Self::Unknown => 1,
            Self::Overflow => 2,
        }
    }

    const fn parse(number: u64) -> Result<Self, DecodeError> {
        match number {
            0 => Ok(Self::Kubernetes),
            1 => Ok(Self::Unknown),
            2 => Ok(Self::Overflow),
            _ => Err(DecodeError::Value("Target.kind")),
        }
    }
}

impl Label {
    fn check(&self) -> Result<(), TargetError> {
        if self.name.len() > LABEL_NAME_BYTES {
            return Err(TargetError::Bound("a label's name"));
        }
        if self.value.len() > LABEL_VALUE_BYTES {
            return Err(TargetError::Bound("a label's value"));
        }
        if !names::is_allowed(&self.name) {
            return Err(TargetError::Name(self.name.clone().into_owned()));
        }
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut name, mut value) = ("", "");
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("Label")? {
            match tag.field {
                1 => name = reader.text(tag, "Label.name", LABEL_NAME_BYTES)?,
                2 => value = reader.text(tag, "Label.value", LABEL_VALUE_BYTES)?,
                _ => return Err(DecodeError::Value("Label")),
            }
        }
        Ok(Self {
            name: match names::fixed(name) {
                Some(fixed) => Cow::Borrowed(fixed),
                None => Cow::Owned(try_text(name, "Label.name")?),
            },
            value: try_text(value, "Label.value")?,
        })
    }
}

/// A target with its fingerprint, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetDefinition<'a> {
    /// The claimed fingerprint. The controller checks it against the bytes, the filter does not.
    pub fingerprint: Fingerprint,
    /// An encoded [`Target`].
    pub target: &'a [u8],
}

impl<'a> TargetDefinition<'a> {
    /// Decodes the target and checks that it has the claimed fingerprint.
    ///
    /// # Errors
    /// As [`DecodeError`]; [`DecodeError::Value`] when the fingerprint is another target's.
    pub fn resolve(&self) -> Result<Target, DecodeError> {
        let target = Target::decode(self.target)?;
        if target.fingerprint() == self.fingerprint {
            Ok(target)
        } else {
            Err(DecodeError::Value("TargetDefinition.fingerprint"))
        }
    }

    /// What [`TargetDefinition::decode`] would refuse is not sent.
    pub(crate) const fn is_sendable(&self) -> bool {
        self.target.len() <= TARGET_BYTES
    }

    /// Bytes that [`TargetDefinition::encode`] appends.
    pub(crate) const fn encoded_len(&self) -> usize {
        let target = match self.target.len() {
            0 => 0,
            length => 1 + delimited_len(length),
        };
        1 + delimited_len(9 + target)
    }

    pub(crate) fn encode(&self, field: u32, out: &mut Vec<u8>) {
        put_message(out, field, |out| {
            put_fixed64(out, 1, self.fingerprint.0);
            put_present(out, 2, self.target);
        });
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fingerprint = None;
        let mut target: &[u8] = &[];
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("TargetDefinition")? {
            match tag.field {
                1 => {
                    let number = reader.fixed64(tag, "TargetDefinition.fingerprint")?;
                    fingerprint = Some(Fingerprint(number));
                }
                2 => target = reader.bounded(tag, "TargetDefinition.target", TARGET_BYTES)?,
                _ => reader.skip(tag, "TargetDefinition")?,
            }
        }
        let missing = DecodeError::Missing("TargetDefinition.fingerprint");
        Ok(Self {
            fingerprint: fingerprint.ok_or(missing)?,
            target,
        })
    }
}

/// The definitions in one field of a message that was checked before.
#[derive(Clone, Debug)]
pub(crate) struct Definitions<'a>(pub(crate) Occurrences<'a>);

impl<'a> Iterator for Definitions<'a> {
    type Item = TargetDefinition<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        TargetDefinition::decode(self.0.next()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    #[cfg(target_family = "wasm")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn label(name: &str, value: &str) -> Label {
        Label {
            name: String::from(name).into(),
            value: value.into(),
        }
    }

    fn target(labels: Vec<Label>) -> Result<Target, TargetError> {
        Target::try_new(TargetKind::Kubernetes, labels)
    }

    #[test]
    fn order_does_not_matter() {
        let (a, b) = (label(names::POD, "p"), label(names::ZONE, "z"));
        let one = target(vec![a.clone(), b.clone()]).unwrap();
        let other = target(vec![b, a]).unwrap();
        assert_eq!(one, other);
        assert_eq!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.label(names::ZONE), Some("z"));
        assert_eq!(one.label(names::NODE), None);
    }

    #[test]
    fn kinds_have_fingerprints_of_their_own() {
        let of = |kind| Target::try_new(kind, vec![]).unwrap().fingerprint();
        assert_ne!(of(TargetKind::Kubernetes), of(TargetKind::Unknown));
        assert_ne!(of(TargetKind::Unknown), of(TargetKind::Overflow));
    }

    #[test]
    fn names_are_a_closed_set() {
        for name in [
            "",
            "le",
            "__name__",
            names::ROUTE,
            "label_",
            "label_a-b",
            "label_ü",
        ] {
            let refused = Err(TargetError::Name(name.into()));
            assert_eq!(target(vec![label(name, "v")]), refused);
        }
        assert!(target(vec![label("label_team_A1", "")]).is_ok());
    }

    #[test]
    fn a_name_comes_once() {
        let twice = vec![label(names::POD, "a"), label(names::POD, "b")];
        assert_eq!(
            target(twice),
            Err(TargetError::Duplicate(names::POD.into()))
        );
    }

    #[test]
    fn decoding_takes_any_order_and_no_unknown_field() {
        let made = target(vec![label(names::NODE, "n"), label(names::POD, "p")]).unwrap();
        let bytes = made.encode();
        let first = bytes.len() - 2 - usize::from(bytes[1]);
        let turned = [&bytes[bytes.len() - first..], &bytes[..bytes.len() - first]].concat();
        assert_ne!(turned, bytes);
        assert_eq!(Target::decode(&turned), Ok(made));
        let more = [&bytes[..], &[0x18, 1]].concat();
        assert_eq!(Target::decode(&more), Err(DecodeError::Value("Target")));
        assert_eq!(
            Target::decode(&[0x08, 3]),
            Err(DecodeError::Value("Target.kind"))
        );
    }

    #[test]
    fn a_definition_is_held_to_its_fingerprint() {
        let made = target(vec![label(names::POD, "p")]).unwrap();
        let bytes = made.encode();
        let mut definition = TargetDefinition {
            fingerprint: made.fingerprint(),
            target: &bytes,
        };
        assert_eq!(definition.resolve(), Ok(made));
        definition.fingerprint.0 ^= 1;
        let refused = Err(DecodeError::Value("TargetDefinition.fingerprint"));
        assert_eq!(definition.resolve(), refused);
    }
}

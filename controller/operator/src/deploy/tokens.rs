//! One name of ours in a comma-separated annotation that belongs to the user. All else in it stays byte for byte as it is.

/// Names the plugins of a route to Kong's ingress controller, which trims blanks and skips empty names.
pub const PLUGINS: &str = "konghq.com/plugins";

/// What is to become of the annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It is as it should be.
    None,
    /// This value.
    Set(String),
    /// It goes.
    Remove,
}

/// Leaves `wanted` as the only name in it that begins as a gateway's plugins do (see [`super::object_name`]). It is added
/// at the end.
#[must_use]
pub fn name_plugin(value: Option<&str>, gateway: &str, wanted: Option<&str>) -> Edit {
    if plugins_of(value, gateway).eq(wanted) {
        return Edit::None;
    }
    let rest = without(value, gateway);
    let edited = match (rest, wanted) {
        (Some(rest), Some(name)) => Some(format!("{rest},{name}")),
        (None, Some(name)) => Some(name.to_owned()),
        (rest, None) => rest,
    };
    edited.map_or(Edit::Remove, Edit::Set)
}

/// A gateway's plugins that the annotation names.
pub fn plugins_of<'a>(value: Option<&'a str>, gateway: &str) -> impl Iterator<Item = &'a str> {
    let names = value.into_iter().flat_map(|value| value.split(','));
    names
        .map(str::trim)
        .filter(move |name| is_of(name, gateway))
}

/// `None` where there is no annotation, or would be none without us: one that was there and empty has a comma left.
fn without(value: Option<&str>, gateway: &str) -> Option<String> {
    let value = value?;
    let parts = value.split(',');
    let rest: Vec<&str> = parts.filter(|part| !is_of(part.trim(), gateway)).collect();
    (!rest.is_empty()).then(|| rest.join(","))
}

fn is_of(name: &str, gateway: &str) -> bool {
    let rest = name.strip_prefix(gateway);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

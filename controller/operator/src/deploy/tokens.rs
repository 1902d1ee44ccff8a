//! One name in a comma-separated annotation that belongs to the user. All else in it stays byte for byte as it is.

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

/// Adds a name at the end, unless it is there.
#[must_use]
pub fn attach_token(value: Option<&str>, token: &str) -> Edit {
    match value {
        None => Edit::Set(token.to_owned()),
        Some(value) if names_plugin(value, token) => Edit::None,
        // An annotation that is there and empty stays apart from one that is not there: the comma remembers it.
        Some(value) => Edit::Set(format!("{value},{token}")),
    }
}

/// Takes a name out, wherever it stands.
#[must_use]
pub fn detach_token(value: Option<&str>, token: &str) -> Edit {
    let Some(value) = value.filter(|value| names_plugin(value, token)) else {
        return Edit::None;
    };
    let rest: Vec<&str> = value.split(',').filter(|p| p.trim() != token).collect();
    if rest.is_empty() {
        Edit::Remove
    } else {
        Edit::Set(rest.join(","))
    }
}

/// Whether a value of [`PLUGINS`] has a name in it.
#[must_use]
pub fn names_plugin(value: &str, token: &str) -> bool {
    value.split(',').any(|part| part.trim() == token)
}

//! What gateways say of objects that were written for them.

use serde_json::Value;

/// Whether a gateway says that it took an object, and none that it did not.
#[must_use]
pub fn is_taken(object: &Value) -> bool {
    let mut conditions = conditions(object);
    refusal(object).is_none()
        && conditions.any(|c| c["type"] == "Accepted" && c["status"] == "True")
}

/// Of all parents or ancestors in its status.
fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    let status = &object["status"];
    let of = |key: &str| status[key].as_array().into_iter().flatten();
    of("ancestors")
        .chain(of("parents"))
        .flat_map(|about| about["conditions"].as_array().into_iter().flatten())
}

/// The first refusal among the conditions of an object's status, by whomever: for each parent or ancestor, the conditions
/// that say whether it is taken.
#[must_use]
pub fn refusal(object: &Value) -> Option<String> {
    conditions(object).find_map(|condition| {
        let kind = condition["type"].as_str()?;
        let refused = condition["status"] == "False"
            && ["Accepted", "Programmed", "ResolvedRefs"].contains(&kind);
        let text = |key: &str| condition[key].as_str().unwrap_or_default();
        refused.then(|| {
            let (name, what) = (
                object["metadata"]["name"].as_str().unwrap_or_default(),
                &object["kind"],
            );
            let what = what.as_str().unwrap_or_default();
            format!(
                "{what} {name} has {kind}=False, {}: {}",
                text("reason"),
                text("message")
            )
        })
    })
}

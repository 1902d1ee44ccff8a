//! Which objects a list or watch is about, and what a watch says of a change.

use std::{ops::Bound, sync::Arc};

use serde_json::{Value, json};

use crate::{
    outcome::{Outcome, Refusal},
    request::Asked,
    store::{Change, Store, Table},
};

/// Which objects, and in which form.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    namespace: String,
    name: String,
    labels: Vec<Requirement>,
    metadata_only: bool,
    api_version: String,
}

#[derive(Clone, Debug)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Exists(String),
}

impl Scope {
    pub(crate) fn new(asked: &Asked, table: &Table) -> Outcome<Self> {
        let fields = asked.param("fieldSelector");
        let by_name = fields.strip_prefix("metadata.name=");
        if by_name.is_none() && !fields.is_empty() {
            return Err(Refusal::new(
                400,
                format!("this double does not select by {fields}"),
            ));
        }
        let labels = asked
            .param("labelSelector")
            .split(',')
            .filter(|r| !r.is_empty());
        Ok(Self {
            namespace: asked.place.namespace.clone(),
            name: by_name.unwrap_or(&asked.place.name).to_owned(),
            labels: labels.map(Requirement::parse).collect::<Outcome<_>>()?,
            metadata_only: asked.metadata_only,
            api_version: table.resource.api_version(&asked.place.version),
        })
    }

    pub(crate) fn has(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        (self.namespace.is_empty() || meta["namespace"] == json!(self.namespace))
            && (self.name.is_empty() || meta["name"] == json!(self.name))
            && self.labels.iter().all(|r| r.holds(&meta["labels"]))
    }

    /// As asked: in the version of the path, or only its metadata.
    pub(crate) fn shown(&self, object: &Value) -> Value {
        shown(object, self.metadata_only, &self.api_version)
    }

    /// What a watch says of a change; nothing if it is about other objects.
    pub(crate) fn event(&self, change: &Change) -> Option<Value> {
        let of = |object: &Option<Arc<Value>>| object.clone().filter(|o| self.has(o));
        let (kind, object) = match (of(&change.before), of(&change.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            // It may exist still, but no longer matches.
            (Some(before), None) => ("DELETED", change.after.clone().unwrap_or(before)),
        };
        Some(json!({"type": kind, "object": self.shown(&object)}))
    }

    pub(crate) fn bookmark(&self, table: &Table, version: u64) -> Value {
        let object = json!({
            "kind": table.resource.kind, "apiVersion": self.api_version,
            "metadata": {"resourceVersion": version.to_string(), "creationTimestamp": null},
        });
        json!({"type": "BOOKMARK", "object": object})
    }
}

pub(crate) fn shown(object: &Value, metadata_only: bool, api_version: &str) -> Value {
    if metadata_only {
        return json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        });
    }
    let mut object = object.clone();
    object["apiVersion"] = json!(api_version);
    object
}

impl Requirement {
    fn parse(text: &str) -> Outcome<Self> {
        if text.contains(['(', '!']) && !text.contains("!=") {
            return Err(Refusal::new(
                400,
                format!("this double does not select by {text}"),
            ));
        }
        Ok(
            match text
                .split_once("!=")
                .or_else(|| text.split_once("=="))
                .or_else(|| text.split_once('='))
            {
                Some((key, value)) if text.contains("!=") => {
                    Self::IsNot(key.to_owned(), value.to_owned())
                }
                Some((key, value)) => Self::Is(key.to_owned(), value.to_owned()),
                None => Self::Exists(text.to_owned()),
            },
        )
    }

    fn holds(&self, labels: &Value) -> bool {
        match self {
            Self::Is(key, value) => labels[key] == json!(value),
            Self::IsNot(key, value) => labels[key] != json!(value),
            Self::Exists(key) => !labels[key].is_null(),
        }
    }
}

/// One page of a list.
pub(crate) fn list(store: &Store, asked: &Asked) -> Outcome<Value> {
    let table = store.table(&asked.place)?;
    let scope = Scope::new(asked, table)?;
    let (version, after) = match asked.param("continue") {
        "" => (store.version, None),
        token => continued(token, table)?,
    };
    let limit: usize = asked
        .param("limit")
        .parse()
        .ok()
        .filter(|l| *l > 0)
        .unwrap_or(usize::MAX);
    let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
    let all = table.objects.range((begin, Bound::Unbounded));
    let mut rest = all.filter(|(_, o)| scope.has(o));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let mut meta = json!({"resourceVersion": version.to_string()});
    if rest.next().is_some()
        && let Some(((namespace, name), _)) = page.last()
    {
        meta["continue"] = json!(format!("{version}/{namespace}/{name}"));
    }
    let items: Vec<_> = page.iter().map(|(_, object)| scope.shown(object)).collect();
    let kind = if asked.metadata_only {
        "PartialObjectMetadata"
    } else {
        &table.resource.kind
    };
    let api_version = if asked.metadata_only {
        "meta.k8s.io/v1"
    } else {
        &scope.api_version
    };
    Ok(
        json!({"kind": format!("{kind}List"), "apiVersion": api_version, "metadata": meta, "items": items}),
    )
}

fn continued(token: &str, table: &Table) -> Outcome<(u64, Option<(String, String)>)> {
    let mut parts = token.splitn(3, '/').map(str::to_owned);
    let parsed = (
        parts.next().and_then(|v| v.parse().ok()),
        parts.next(),
        parts.next(),
    );
    let (Some(version), Some(namespace), Some(name)) = parsed else {
        return Err(Refusal::new(400, "a continue token that is none"));
    };
    if version < table.forgotten {
        return Err(Refusal::expired());
    }
    Ok((version, Some((namespace, name))))
}

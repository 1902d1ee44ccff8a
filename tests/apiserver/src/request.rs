//! A request's meaning, from its method, path and query.

use std::collections::BTreeMap;

use hyper::Method;

use crate::{
    log::Logged,
    outcome::{Outcome, Refusal},
};

/// What is done, as RBAC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "Kubernetes's own names")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    /// Of what the server serves; not a verb of RBAC.
    Discover,
}

impl Verb {
    /// As in a Role.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::Discover => "discover",
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
}

/// A request without its body.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) verb: Verb,
    pub(crate) place: Place,
    pub(crate) query: BTreeMap<String, String>,
    /// Only metadata is wanted.
    pub(crate) metadata_only: bool,
    pub(crate) content_type: String,
}

impl Asked {
    pub(crate) fn parse<B>(request: &hyper::Request<B>) -> Outcome<Self> {
        let header = |name: &str| {
            let value = request.headers().get(name);
            value
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let place = Place::parse(request.uri().path())?;
        let query = query(request.uri().query().unwrap_or_default());
        Ok(Self {
            verb: verb(request.method(), &place, &query)?,
            place,
            query,
            metadata_only: header("accept").contains("as=PartialObjectMetadata"),
            content_type: header("content-type"),
        })
    }

    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    pub(crate) fn dry_run(&self) -> bool {
        self.param("dryRun") == "All"
    }

    pub(crate) fn logged(&self) -> Logged {
        Logged {
            verb: self.verb,
            group: self.place.group.clone(),
            resource: self.place.resource.clone(),
            subresource: self.place.subresource.clone(),
            namespace: self.place.namespace.clone(),
            name: self.place.name.clone(),
            metadata_only: self.metadata_only,
            dry_run: self.dry_run(),
        }
    }
}

impl Place {
    pub(crate) fn parse(path: &str) -> Outcome<Self> {
        let parts: Vec<String> = path
            .split('/')
            .filter(|p| !p.is_empty())
            .map(decode)
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (group, version, rest) = match *parts.as_slice() {
            ["api"] | ["apis"] | ["version"] => ("", "", &[][..]),
            ["api", version, ref rest @ ..] => ("", version, rest),
            ["apis", group] => (group, "", &[][..]),
            ["apis", group, version, ref rest @ ..] => (group, version, rest),
            _ => return Err(Refusal::not_found(path)),
        };
        let mut place = Self {
            group: group.to_owned(),
            version: version.to_owned(),
            ..Self::default()
        };
        let rest = match rest {
            // A namespace itself is named by /namespaces/NAME.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => {
                place.namespace = (*namespace).to_owned();
                rest
            }
            rest => rest,
        };
        let mut rest = rest.iter().map(|part| (*part).to_owned());
        place.resource = rest.next().unwrap_or_default();
        place.name = rest.next().unwrap_or_default();
        place.subresource = rest.next().unwrap_or_default();
        Ok(place)
    }
}

fn verb(method: &Method, place: &Place, query: &BTreeMap<String, String>) -> Outcome<Verb> {
    let watch = query.get("watch").is_some_and(|w| w == "true" || w == "1");
    Ok(match (method.as_str(), place.name.is_empty()) {
        ("GET", _) if place.resource.is_empty() => Verb::Discover,
        ("GET", _) if watch => Verb::Watch,
        ("GET", true) => Verb::List,
        ("GET", false) => Verb::Get,
        ("POST", true) => Verb::Create,
        ("PUT", false) => Verb::Update,
        ("PATCH", false) => Verb::Patch,
        ("DELETE", false) => Verb::Delete,
        _ => return Err(Refusal::new(405, format!("{method} is not done here"))),
    })
}

fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|p| !p.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

/// Percent-decoding; `+` is a space.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'+' => b' ',
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        };
        out.push(decoded);
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_places() {
        let place = |path| {
            let p = Place::parse(path).unwrap();
            [
                p.group,
                p.version,
                p.namespace,
                p.resource,
                p.name,
                p.subresource,
            ]
            .join(" ")
        };
        assert_eq!(place("/api/v1/pods"), " v1  pods  ");
        assert_eq!(place("/api/v1/namespaces/shop"), " v1  namespaces shop ");
        assert_eq!(
            place("/api/v1/namespaces/shop/status"),
            " v1  namespaces shop status"
        );
        assert_eq!(
            place("/api/v1/namespaces/shop/services/cart"),
            " v1 shop services cart "
        );
        assert_eq!(
            place("/apis/apps/v1/namespaces/shop/deployments/cart/status"),
            "apps v1 shop deployments cart status"
        );
        assert_eq!(place("/apis/apps"), "apps     ");
        assert!(Place::parse("/metrics").is_err());
        assert_eq!(
            query("labelSelector=a%3Db%2Cc&watch=1")["labelSelector"],
            "a=b,c"
        );
    }
}

//! What the Secret holds, as its entries.
//!
//! `tls.crt` (the port's certificate, then its authority) and `tls.key` are what is shown, `next.crt` and `next.key` what will
//! be; `ca.crt` has every authority: it is what clients are to trust. An annotation says since when the registration is taken
//! out.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use kube::{ResourceExt as _, core::ObjectMeta};

use super::{
    generation::{read, read_authority, split},
    rotation::{Generation, Held},
};

/// Annotation: when the registration was taken out on demand.
const DETACHED_AT: &str = "gaugeway.dev/detached-at";

/// When the registration was taken out on demand, if it was.
pub(super) fn detached_at(secret: &Secret) -> Option<Timestamp> {
    let annotation = secret.annotations().get(DETACHED_AT);
    annotation.and_then(|text| text.parse().ok())
}

/// # Errors
/// When an entry is missing or is not what it should be.
pub(super) fn parse(secret: &Secret) -> Result<Held> {
    let text = |name: &str| {
        let entry = secret.data.as_ref().and_then(|data| data.get(name));
        entry.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
    };
    let pair = |of: &str| {
        let (chain, key) = (format!("{of}.crt"), format!("{of}.key"));
        let pair = text(&chain)
            .zip(text(&key))
            .filter(|(chain, _)| !chain.is_empty());
        let read = pair.map(|(chain, key)| read(&chain, &key));
        read.transpose()
            .with_context(|| format!("entries {of}.crt and {of}.key"))
    };
    let current = pair("tls")?.context("it has no entries tls.crt and tls.key")?;
    let next = pair("next")?;
    let mut older = std::collections::BTreeSet::new();
    for pem in split(&text("ca.crt").unwrap_or_default()) {
        older.insert(read_authority(&pem).context("entry ca.crt")?);
    }
    for known in [Some(&current), next.as_ref()].into_iter().flatten() {
        older.remove(&known.authority);
    }
    Ok(Held {
        current,
        next,
        older,
    })
}

/// A new one; with the version of one that was read, an update of that.
pub(super) fn of(
    held: &Held,
    detached_at: Option<Timestamp>,
    (namespace, name): (&str, &str),
    version: Option<String>,
) -> Secret {
    let chain = |of: &Generation| format!("{}{}", of.certificate, of.authority.pem);
    let mut data: BTreeMap<&str, String> = BTreeMap::from([
        ("tls.crt", chain(&held.current)),
        ("tls.key", held.current.key.clone()),
        ("ca.crt", held.bundle()),
    ]);
    if let Some(next) = &held.next {
        data.insert("next.crt", chain(next));
        data.insert("next.key", next.key.clone());
    }
    let labels = [("app.kubernetes.io/name".to_owned(), "gaugeway".to_owned())];
    let annotations = detached_at.map(|at| [(DETACHED_AT.to_owned(), at.to_string())].into());
    let entries = data.into_iter();
    let entries = entries.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.into()),
            annotations,
            resource_version: version,
            ..ObjectMeta::default()
        },
        data: Some(entries.collect()),
        type_: Some("kubernetes.io/tls".to_owned()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::serving::generation::make;

    #[test]
    fn what_is_kept_is_read_back() {
        let names = BTreeSet::from(["a.svc".to_owned()]);
        let make = |now| make(&names, now).unwrap();
        let mut held = Held::first(make(1_800_000_000));
        for detached in [None, Some(Timestamp::UNIX_EPOCH)] {
            let secret = of(&held, detached, ("gaugeway", "apis"), None);
            assert_eq!(detached_at(&secret), detached);
            held = parse(&secret).unwrap();
            let again = of(&held, detached, ("gaugeway", "apis"), None);
            assert_eq!(parse(&again).unwrap(), held);
            held.older.insert(make(1_700_000_000).authority);
            held.next = Some(make(1_800_000_001));
        }
        assert_eq!(split(&held.bundle()).len(), 4);
        let empty = parse(&Secret::default()).unwrap_err();
        assert!(empty.to_string().contains("tls.crt"), "{empty}");
    }
}

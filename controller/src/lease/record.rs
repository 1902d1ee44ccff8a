//! The Lease as Kubernetes writes it down, and what of it counts.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};

use super::machine::{Record, Write};

/// Where the holder takes calls that others forward.
const ADDRESS: &str = "gaugeway.dev/filters-address";
/// Of a Lease that does not say how long it counts.
const UNSAID: Duration = Duration::from_secs(15);

/// Who writes.
#[derive(Clone, Debug)]
pub(super) struct Author {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) lease: Duration,
}

/// What counts of it.
pub(super) fn read(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.map(i32::unsigned_abs);
    let annotations = lease.metadata.annotations.as_ref();
    let address = annotations.and_then(|a| a.get(ADDRESS)?.parse().ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        lease: seconds.map_or(UNSAID, |s| Duration::from_secs(s.into())),
        transitions: spec.lease_transitions.unwrap_or_default().unsigned_abs(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        address,
    }
}

/// The object to write; `last` is what it replaces: what others wrote into it stays.
pub(super) fn written(
    author: &Author,
    write: &Write,
    last: Option<&Lease>,
    now: MicroTime,
) -> Lease {
    let replaces = last.filter(|_| write.over.is_some());
    let (kept, spec) = replaces.map_or_else(Default::default, |last| {
        (last.metadata.clone(), last.spec.clone().unwrap_or_default())
    });
    let mut annotations = kept.annotations.clone().unwrap_or_default();
    annotations.remove(ADDRESS);
    if !write.holder.is_empty() {
        annotations.insert(ADDRESS.to_owned(), author.address.to_string());
    }
    let whole = i32::try_from(author.lease.as_secs()).unwrap_or(i32::MAX);
    let acquired = spec.acquire_time.filter(|_| !write.takes);
    Lease {
        metadata: ObjectMeta {
            name: Some(author.name.clone()),
            namespace: Some(author.namespace.clone()),
            resource_version: write.over.clone(),
            annotations: Some(annotations).filter(|a: &BTreeMap<_, _>| !a.is_empty()),
            managed_fields: None,
            ..kept
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(write.holder.clone()).filter(|holder| !holder.is_empty()),
            lease_duration_seconds: Some(if write.holder.is_empty() { 1 } else { whole }),
            lease_transitions: Some(i32::try_from(write.transitions).unwrap_or(i32::MAX)),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            ..spec
        }),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn author() -> Author {
        Author {
            namespace: "gaugeway".to_owned(),
            name: "gaugeway".to_owned(),
            address: "[2001:db8::1]:7080".parse().unwrap(),
            lease: Duration::from_secs(15),
        }
    }

    fn write(holder: &str, takes: bool) -> Write {
        Write {
            over: Some("7".to_owned()),
            holder: holder.to_owned(),
            transitions: 3,
            takes,
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_what_others_wrote_stays() {
        let mut last = Lease::default();
        last.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
        let at = |s| MicroTime(Timestamp::from_second(s).unwrap());
        let lease = written(&author(), &write("me", true), Some(&last), at(1));
        let record = read(&lease);
        assert_eq!((record.holder.as_str(), record.transitions), ("me", 3));
        assert_eq!(record.address, Some(author().address));
        assert_eq!((record.version.as_str(), record.lease.as_secs()), ("7", 15));
        assert_eq!(lease.metadata.labels, last.metadata.labels);
        let renewed = written(&author(), &write("me", false), Some(&lease), at(9));
        let spec = renewed.spec.clone().unwrap();
        assert_eq!(
            (spec.acquire_time, spec.renew_time),
            (Some(at(1)), Some(at(9)))
        );
        let back = written(&author(), &write("", false), Some(&renewed), at(10));
        assert_eq!(
            (read(&back).holder.as_str(), read(&back).address),
            ("", None)
        );
        assert_eq!(back.spec.unwrap().holder_identity, None);
    }

    #[test]
    fn a_lease_that_says_nothing_is_nobodys() {
        let record = read(&Lease::default());
        assert_eq!((record.holder.as_str(), record.transitions), ("", 0));
        assert_eq!(record.lease, UNSAID);
    }
}

//! Who owns an upstream by what the gateway itself carries, for when no mapping tells: metadata that control planes give
//! to endpoints in Envoy, and names of the form `namespace/service`, which Kong's per-route configuration has.
//!
//! Only namespace and Service are taken: with those alone the target is the same as the mapping's under the default
//! policy. All input is a host's bytes and may be anything; what is not understood is absent.

use gaugeway_wire::{Label, Target, TargetKind, limits::LABEL_VALUE_BYTES, target::names};

/// Metadata of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// Envoy Gateway's `envoy-gateway.resources`: the backend that a route names, as marshalled pairs.
    EnvoyGateway,
    /// Istio's `istio.workload`: workload, namespace, canonical Service, revision and cluster, apart by semicolons.
    Istio,
}

impl Metadata {
    /// All, in the order in which they are asked for.
    pub const ALL: [Self; 2] = [Self::EnvoyGateway, Self::Istio];

    /// Its path, parts joined by NUL. A leaf: asking for whole messages is an error in Envoy.
    #[must_use]
    pub const fn path(self) -> &'static [u8] {
        match self {
            Self::EnvoyGateway => {
                b"xds\0upstream_host_metadata\0filter_metadata\0envoy-gateway\0resources"
            }
            Self::Istio => b"xds\0upstream_host_metadata\0filter_metadata\0istio\0workload",
        }
    }

    /// What it says, if that names a Service.
    #[must_use]
    pub fn read(self, value: &[u8]) -> Option<Target> {
        match self {
            Self::EnvoyGateway => envoy_gateway(value),
            Self::Istio => istio(value),
        }
    }
}

fn target(namespace: &[u8], service: &[u8]) -> Option<Target> {
    let label = |name: &'static str, value: &[u8]| {
        let fits = (1..=LABEL_VALUE_BYTES).contains(&value.len());
        let value = core::str::from_utf8(value).ok().filter(|_| fits)?;
        Some(Label {
            name: name.into(),
            value: value.to_owned(),
        })
    };
    let labels = vec![
        label(names::NAMESPACE, namespace)?,
        label(names::SERVICE, service)?,
    ];
    Target::try_new(TargetKind::Kubernetes, labels).ok()
}

/// `namespace/service`.
pub(crate) fn of_name(name: &[u8]) -> Option<Target> {
    let mut parts = name.split(|&byte| byte == b'/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(service), None) => target(namespace, service),
        _ => None,
    }
}

fn istio(value: &[u8]) -> Option<Target> {
    let mut parts = value.split(|&byte| byte == b';');
    let (workload, namespace) = (parts.next()?, parts.next()?);
    let canonical = parts.next().filter(|name| !name.is_empty());
    target(namespace, canonical.unwrap_or(workload))
}

/// One resource, or a list of which the first counts.
fn envoy_gateway(value: &[u8]) -> Option<Target> {
    let direct = Pairs::of(value)?;
    if let Some(found) = resource(direct) {
        return Some(found);
    }
    // A list has its items as names, without values.
    let (first, _) = Pairs::of(value)?.next()?;
    resource(Pairs::of(first)?)
}

fn resource(pairs: Pairs<'_>) -> Option<Target> {
    let (mut kind, mut namespace, mut name) = (None, None, None);
    for (key, value) in pairs {
        match key {
            b"kind" => kind = Some(value),
            b"namespace" => namespace = Some(value),
            b"name" => name = Some(value),
            _ => {}
        }
    }
    // Other kinds of backends are no Services.
    let is_service = kind.is_none_or(|kind| kind == b"Service");
    target(namespace?, name.filter(|_| is_service)?)
}

/// The ABI's serialisation of pairs: their number, the sizes of all names and values, then these, each ended by NUL;
/// numbers have 32 bits, little endian. Ends where it is cut short.
#[derive(Clone, Debug)]
struct Pairs<'a> {
    sizes: &'a [u8],
    bytes: &'a [u8],
}

/// Most pairs of a resource, or resources, that are looked at.
const PAIRS: usize = 64;

impl<'a> Pairs<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = number(bytes)?;
        let (sizes, bytes) = rest.split_at_checked(count.checked_mul(8)?)?;
        (count <= PAIRS).then_some(Self { sizes, bytes })
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = || {
            let (size, sizes) = number(self.sizes)?;
            let (text, rest) = self.bytes.split_at_checked(size)?;
            let (_nul, rest) = rest.split_first()?;
            (self.sizes, self.bytes) = (sizes, rest);
            Some(text)
        };
        Some((text()?, text()?))
    }
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let number = |n: usize| u32::try_from(n).unwrap().to_le_bytes();
        let mut bytes = number(pairs.len()).to_vec();
        for (name, value) in pairs {
            bytes.extend(number(name.len()));
            bytes.extend(number(value.len()));
        }
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(text);
            bytes.push(0);
        }
        bytes
    }

    fn told(target: Option<Target>) -> Option<String> {
        let target = target?;
        let label = |name: &str| {
            let label = target.labels().iter().find(|label| label.name == name);
            label.unwrap().value.clone()
        };
        Some(format!(
            "{}/{}",
            label(names::NAMESPACE),
            label(names::SERVICE)
        ))
    }

    #[test]
    fn envoy_gateways_resource_or_list_of_resources() {
        let resource = |kind: &[u8]| {
            pairs(&[
                (b"kind", kind),
                (b"name", b"cart"),
                (b"namespace", b"shop"),
                (b"sectionName", b"8080"),
            ])
        };
        let read = |value: &[u8]| told(Metadata::EnvoyGateway.read(value));
        let service = resource(b"Service");
        assert_eq!(read(&service).as_deref(), Some("shop/cart"));
        assert_eq!(
            read(&pairs(&[(&service, b"")])).as_deref(),
            Some("shop/cart")
        );
        let route = resource(b"HTTPRoute");
        assert_eq!(read(&route), None, "no backend");
        assert_eq!(read(&pairs(&[(&route, b""), (&service, b"")])), None);
        for cut in 0..service.len() - 20 {
            assert_eq!(read(&service[..cut]), None);
        }
    }

    #[test]
    fn istios_workload() {
        let read = |value: &[u8]| told(Metadata::Istio.read(value));
        let all = b"details-v1;book;details;v1;Kubernetes";
        assert_eq!(read(all).as_deref(), Some("book/details"));
        assert_eq!(
            read(b"details-v1;book;;;").as_deref(),
            Some("book/details-v1")
        );
        assert_eq!(read(b"details-v1;book").as_deref(), Some("book/details-v1"));
        for bad in [b"".as_slice(), b"a", b";;", b"a;", b"a;\xff;b"] {
            assert_eq!(read(bad), None);
        }
    }

    #[test]
    fn names_of_kongs_configuration() {
        assert_eq!(told(of_name(b"shop/cart")).as_deref(), Some("shop/cart"));
        for bad in [
            b"".as_slice(),
            b"shop",
            b"shop/",
            b"/cart",
            b"a/b/c",
            b"shop.cart.80",
        ] {
            assert_eq!(told(of_name(bad)), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_is_too_odd(value in proptest::collection::vec(any::<u8>(), 0..200), count in 0u32..5) {
            let mut counted = count.to_le_bytes().to_vec();
            counted.extend(&value);
            for value in [value, counted] {
                let _ = (Metadata::EnvoyGateway.read(&value), Metadata::Istio.read(&value), of_name(&value));
            }
        }
    }
}

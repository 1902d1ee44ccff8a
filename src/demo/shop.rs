//! What the demo shows: its manifests (the files in `examples/demo`) and the servers behind them.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use gaugeway_rig::Latency;

/// The gateway's name.
pub(super) const GATEWAY: &str = "shop/edge";
/// Namespace of every Service.
pub(super) const NAMESPACE: &str = "shop";
/// Every Pod's container port.
pub(super) const PORT: u16 = 8080;

const FILES: [(&str, &str); 4] = [
    (
        "gateway.yaml",
        include_str!("../../examples/demo/gateway.yaml"),
    ),
    (
        "checkout.yaml",
        include_str!("../../examples/demo/checkout.yaml"),
    ),
    (
        "checkout-canary.yaml",
        include_str!("../../examples/demo/checkout-canary.yaml"),
    ),
    (
        "search.yaml",
        include_str!("../../examples/demo/search.yaml"),
    ),
];

/// Where the manifests put all Pods: 127.0.10.x.
const NETWORK: &str = "127.0.10.";

/// One Service's servers.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) route: &'static str,
    pub(super) share: &'static str,
    /// Last number of each Pod's address.
    pub(super) pods: &'static [u8],
    pub(super) latency: Latency,
}

pub(super) const SERVICES: [Service; 3] = [
    Service {
        name: "checkout",
        route: "/checkout",
        share: "75 %",
        pods: &[11, 12],
        latency: Latency::LogNormal {
            median: Duration::from_millis(20),
            sigma: 0.35,
        },
    },
    Service {
        name: "checkout-canary",
        route: "/checkout",
        share: "25 %",
        pods: &[21],
        latency: Latency::LogNormal {
            median: Duration::from_millis(35),
            sigma: 0.45,
        },
    },
    Service {
        name: "search",
        route: "/search",
        share: "100 %",
        pods: &[31],
        latency: Latency::UniformWithTail {
            low: Duration::from_millis(5),
            high: Duration::from_millis(15),
            slow: Duration::from_millis(250),
            slow_share: 0.02,
        },
    },
];

/// Path of request `n`: two of three go to the split route.
pub(super) fn path(n: u64) -> &'static str {
    if n % 3 == 2 { "/search" } else { "/checkout" }
}

/// A /24 of loopback addresses, on which one demo's Pods live: `127.0.<number>.x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network(u8);

impl Network {
    /// The manifests' own first, then others for further demos on the same machine.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (10..=250).map(Self)
    }

    /// A Pod's address.
    pub(super) fn pod(self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, self.0, number)
    }

    /// Writes the manifests, moved to this network, into `dir`.
    pub(super) fn write_manifests(self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        for (name, text) in FILES {
            let path = dir.join(name);
            let moved = text.replace(NETWORK, &format!("127.0.{}.", self.0));
            std::fs::write(&path, moved).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_manifests_name_the_same_pods() {
        let text = FILES.map(|(_, text)| text).concat();
        let slices = text.matches("- addresses: [").count();
        assert_eq!(slices, SERVICES.iter().map(|s| s.pods.len()).sum::<usize>());
        for service in SERVICES {
            assert!(text.contains(&format!("kubernetes.io/service-name: {}\n", service.name)));
            for pod in service.pods {
                assert!(text.contains(&format!("- addresses: [{NETWORK}{pod}]")));
            }
        }
    }

    #[test]
    fn manifests_move_to_another_network() {
        let dir = tempfile::tempdir().unwrap();
        Network(77).write_manifests(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("search.yaml")).unwrap();
        assert!(
            text.contains("127.0.77.31") && !text.contains(NETWORK),
            "{text}"
        );
    }
}

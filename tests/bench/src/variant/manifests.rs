//! The Kubernetes objects of the bench: one Gateway, one route, one Service with a Pod per address.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Endpoints in a slice, as Kubernetes bounds them.
const SLICE: usize = 1000;

/// A directory of them.
pub(super) struct Manifests {
    directory: PathBuf,
    namespace: String,
    gateway: String,
    upstreams: Vec<SocketAddr>,
    /// How often they were written.
    written: u32,
}

impl Manifests {
    /// Writes them into `directory`; the Pods are `upstreams`.
    pub(super) fn write(
        directory: PathBuf,
        gateway: &str,
        upstreams: &[SocketAddr],
    ) -> Result<Self> {
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        let (namespace, gateway) = gateway.split_once('/').unwrap_or(("default", gateway));
        let mut manifests = Self {
            directory,
            namespace: namespace.to_owned(),
            gateway: gateway.to_owned(),
            upstreams: upstreams.to_vec(),
            written: 0,
        };
        manifests.give_to_pods("upstream")?;
        Ok(manifests)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether Pods were changed.
    pub(super) fn changed(&self) -> bool {
        self.written > 1
    }

    /// Writes them anew: the Pods are called `PREFIX-NUMBER`.
    pub(super) fn give_to_pods(&mut self, prefix: &str) -> Result<()> {
        let slices = self.upstreams.chunks(SLICE).enumerate();
        let slices = slices.map(|(number, part)| self.slice(prefix, number, part));
        let objects = [self.service(), self.route()].into_iter().chain(slices);
        // JSON is YAML.
        let text: Vec<_> = objects.map(|object| object.to_string()).collect();
        let (new, place) = (
            self.directory.join(".new"),
            self.directory.join("bench.yaml"),
        );
        fs::write(&new, text.join("\n---\n")).context("write the bench's manifests")?;
        fs::rename(new, place).context("put the bench's manifests in place")?;
        self.written += 1;
        Ok(())
    }

    fn metadata(&self, name: &str) -> Value {
        json!({ "namespace": self.namespace, "name": name })
    }

    fn port(&self) -> u16 {
        self.upstreams.first().map_or(0, SocketAddr::port)
    }

    fn service(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": self.metadata("upstream"),
            "spec": {
                "selector": { "app": "upstream" },
                "ports": [{ "name": "http", "port": 80, "targetPort": self.port() }],
            },
        })
    }

    fn slice(&self, prefix: &str, number: usize, part: &[SocketAddr]) -> Value {
        let endpoint = |(at, address): (usize, &SocketAddr)| {
            let pod = format!("{prefix}-{}", number * SLICE + at);
            json!({
                "addresses": [address.ip().to_string()],
                "conditions": { "ready": true },
                "targetRef": { "kind": "Pod", "namespace": self.namespace, "name": pod },
            })
        };
        let endpoints: Vec<_> = part.iter().enumerate().map(endpoint).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": self.namespace, "name": format!("upstream-{number}"),
                "labels": { "kubernetes.io/service-name": "upstream" },
            },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": self.port(), "protocol": "TCP" }],
            "endpoints": endpoints,
        })
    }

    fn route(&self) -> Value {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": self.metadata("all"),
            "spec": {
                "parentRefs": [{ "name": self.gateway }],
                "rules": [{ "backendRefs": [{ "name": "upstream", "port": 80 }] }],
            },
        })
    }
}

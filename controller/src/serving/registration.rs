//! The APIServices that send the metrics API's questions here: both versions or none.
//!
//! Invariants: one that names another Service is left alone, and then ours is taken back too (an autoscaler asks the
//! preferred version only); of one that is ours nothing but its bundle is ever changed.

use std::{collections::BTreeMap, time::Duration};

use gaugeway_operator::deploy::DETACH;
use k8s_openapi::{
    ByteString,
    kube_aggregator::pkg::apis::apiregistration::v1::{
        APIService, APIServiceSpec, ServiceReference,
    },
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions},
    core::ObjectMeta,
};
use tokio::time::timeout;

use crate::{
    custom_metrics::{GROUP, Version},
    source::kubernetes::Failure,
};

/// An API server that is slower than this is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// Among groups, and of the versions: the later one is preferred.
const GROUP_PRIORITY: i32 = 100;
/// Of what is made here.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "gaugeway");

/// The Service whose Pods answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The controller's own.
    pub namespace: String,
    /// The Service's.
    pub service: String,
    /// The Service's.
    pub port: u16,
}

/// What was found, in the order of [`Version::ALL`].
pub(super) struct Found(Vec<Option<APIService>>);

/// How the registration is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Registration {
    /// Both are ours, with this bundle.
    Registered,
    /// One is another's, described here.
    Foreign(String),
    /// Somebody asked for them to be taken away.
    Detached,
    /// The API server does not do it, for this reason.
    Failing(String),
}

/// What answers a version is called.
pub(crate) fn versions_of(version: Version) -> String {
    format!("{}.{GROUP}", version.as_str())
}

/// Whether a controller of that namespace made it.
pub(crate) fn is_of(of: &APIService, namespace: &str) -> bool {
    let ours = of.labels().get(LABEL.0).is_some_and(|name| name == LABEL.1);
    let there = service_of(of).and_then(|service| service.namespace.as_deref());
    ours && there == Some(namespace)
}

impl Registration {
    /// All states, as a metric shows them.
    pub(crate) const STATES: [&str; 4] = ["registered", "foreign", "detached", "failing"];

    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Foreign(_) => "foreign",
            Self::Detached => "detached",
            Self::Failing(_) => "failing",
        }
    }
}

impl Home {
    fn is(&self, service: Option<&ServiceReference>) -> bool {
        service.is_some_and(|service| {
            service.namespace.as_deref() == Some(&self.namespace)
                && service.name.as_deref() == Some(&self.service)
        })
    }

    fn object(&self, version: Version, bundle: &str) -> APIService {
        let labels = [(LABEL.0.to_owned(), LABEL.1.to_owned())];
        APIService {
            metadata: ObjectMeta {
                name: Some(versions_of(version)),
                labels: Some(BTreeMap::from(labels)),
                ..ObjectMeta::default()
            },
            spec: Some(APIServiceSpec {
                ca_bundle: Some(ByteString(bundle.as_bytes().to_vec())),
                group: Some(GROUP.to_owned()),
                group_priority_minimum: GROUP_PRIORITY,
                insecure_skip_tls_verify: None,
                service: Some(ServiceReference {
                    namespace: Some(self.namespace.clone()),
                    name: Some(self.service.clone()),
                    port: Some(self.port.into()),
                }),
                version: Some(version.as_str().to_owned()),
                version_priority: version.priority(),
            }),
            status: None,
        }
    }
}

impl Found {
    pub(super) async fn read(client: &Client) -> Result<Self, Failure> {
        let api: Api<APIService> = Api::all(client.clone());
        let mut found = Vec::new();
        for version in Version::ALL {
            found.push(bounded(api.get_opt(&versions_of(version))).await?);
        }
        Ok(Self(found))
    }

    /// The bundle that both have, if both are there; of two that differ none.
    fn bundle(&self) -> Option<String> {
        let mut bundles = self.0.iter().map(|of| of.as_ref().and_then(bundle_of));
        let first = bundles.next()??;
        bundles
            .all(|of| of.as_ref() == Some(&first))
            .then_some(first)
    }

    /// The bundle that those who verify have, if it is ours to say: empty as long as it is not what it should be.
    pub(super) fn published(&self, home: &Home) -> Option<String> {
        let mut there = self.0.iter().flatten();
        let ours = there.all(|of| home.is(service_of(of)));
        ours.then(|| self.bundle().unwrap_or_default())
    }

    /// Somebody asked for it to be taken away.
    pub(super) fn is_detached(&self, home: &Home) -> bool {
        let mut there = self.0.iter().flatten();
        there.any(|of| home.is(service_of(of)) && of.annotations().contains_key(DETACH))
    }

    /// Makes it so, or takes it back.
    pub(super) async fn settle(
        self,
        client: &Client,
        home: &Home,
        bundle: &str,
    ) -> Result<Registration, Failure> {
        let api: Api<APIService> = Api::all(client.clone());
        if self.is_detached(home) {
            self.take_back(&api, home).await?;
            return Ok(Registration::Detached);
        }
        let mut there = self.0.iter().flatten();
        if let Some(other) = there.find(|of| !home.is(service_of(of))) {
            let text = described(other);
            self.take_back(&api, home).await?;
            return Ok(Registration::Foreign(text));
        }
        for (version, found) in Version::ALL.into_iter().zip(self.0) {
            let params = PostParams::default();
            match found {
                None => {
                    bounded(api.create(&params, &home.object(version, bundle))).await?;
                }
                Some(found) if bundle_of(&found).as_deref() != Some(bundle) => {
                    let mut changed = found;
                    let spec = changed.spec.get_or_insert_default();
                    spec.ca_bundle = Some(ByteString(bundle.as_bytes().to_vec()));
                    // By the version that was read: who was faster wins.
                    bounded(api.replace(&versions_of(version), &params, &changed)).await?;
                }
                Some(_) => {}
            }
        }
        Ok(Registration::Registered)
    }

    async fn take_back(&self, api: &Api<APIService>, home: &Home) -> Result<(), Failure> {
        let ours = self.0.iter().flatten().filter(|of| home.is(service_of(of)));
        for of in ours {
            let params = DeleteParams::default().preconditions(Preconditions {
                uid: of.uid(),
                resource_version: of.resource_version(),
            });
            match bounded(api.delete(&of.name_any(), &params)).await {
                Err(failure) if !failure.is_stale() => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }
}

fn service_of(of: &APIService) -> Option<&ServiceReference> {
    of.spec.as_ref()?.service.as_ref()
}

fn bundle_of(of: &APIService) -> Option<String> {
    let bundle = of.spec.as_ref()?.ca_bundle.as_ref()?;
    Some(String::from_utf8_lossy(&bundle.0).into_owned())
}

fn described(of: &APIService) -> String {
    let name = of.name_any();
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    match service_of(of) {
        Some(service) => format!(
            "APIService {name} names Service {}/{}",
            text(&service.namespace),
            text(&service.name)
        ),
        None => format!("APIService {name} is answered by the API server itself"),
    }
}

async fn bounded<T>(asked: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| Failure::of(&error)),
        Err(_) => Err(Failure::slow(PATIENCE)),
    }
}

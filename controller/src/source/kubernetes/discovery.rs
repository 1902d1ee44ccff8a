//! In which version a cluster serves a kind, if at all: the server is asked once for all who want to know at about the
//! same time.
//!
//! Every account may ask that (`system:discovery`); no right of ours is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{Client, core::ApiResource};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{Failure, kinds::Served};

/// A server that is slower than this is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module's documentation. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Discovery(Arc<Inner>);

struct Inner {
    client: Client,
    /// How long an answer is believed.
    lasts: Duration,
    seen: Mutex<Seen>,
}

/// What the server said lately.
#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    /// Each group that is served, in each of its versions, as in `apiVersion`.
    groups: BTreeSet<String>,
    /// Plurals of those of them that were asked for.
    resources: BTreeMap<String, BTreeSet<String>>,
}

impl Discovery {
    pub(super) fn new(client: Client, lasts: Duration) -> Self {
        Self(Arc::new(Inner {
            client,
            lasts,
            seen: Mutex::default(),
        }))
    }

    /// The best version that we read. `None` only if the server says that it serves none of them.
    ///
    /// # Errors
    /// When the server cannot be asked, or says anything else.
    pub(crate) async fn find(&self, served: &Served) -> Result<Option<ApiResource>, Failure> {
        let look = async {
            let mut seen = self.0.seen.lock().await;
            if seen.at.is_none_or(|at| at.elapsed() >= self.0.lasts) {
                *seen = Seen::look(&self.0.client).await?;
            }
            for version in served.versions {
                let resource = served.resource_in(version);
                if seen.serves(&self.0.client, &resource).await? {
                    return Ok(Some(resource));
                }
            }
            Ok(None)
        };
        match timeout(PATIENCE, look).await {
            Ok(found) => found.map_err(|error| Failure::of_discovery(&error)),
            Err(_) => Err(Failure::slow(PATIENCE)),
        }
    }

    /// The server has just said otherwise.
    pub(crate) async fn forget(&self) {
        self.0.seen.lock().await.at = None;
    }
}

impl Seen {
    async fn look(client: &Client) -> Result<Self, kube::Error> {
        let groups = client.list_api_groups().await?.groups.into_iter();
        let versions = groups.flat_map(|group| group.versions);
        Ok(Self {
            at: Some(Instant::now()),
            groups: versions.map(|version| version.group_version).collect(),
            resources: BTreeMap::new(),
        })
    }

    async fn serves(
        &mut self,
        client: &Client,
        resource: &ApiResource,
    ) -> Result<bool, kube::Error> {
        let of = &resource.api_version;
        if !resource.group.is_empty() && !self.groups.contains(of) {
            return Ok(false);
        }
        if let Some(known) = self.resources.get(of) {
            return Ok(known.contains(&resource.plural));
        }
        let listed = match resource.group.as_str() {
            "" => client.list_core_api_resources(of).await,
            _ => client.list_api_group_resources(of).await,
        };
        let plurals: BTreeSet<String> = match listed {
            Ok(list) => list.resources.into_iter().map(|r| r.name).collect(),
            // It went meanwhile. By the code: a group that is not served is answered without a Status, in plain text.
            Err(kube::Error::Api(status)) if status.code == 404 => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        let serves = plurals.contains(&resource.plural);
        self.resources.insert(of.clone(), plurals);
        Ok(serves)
    }
}

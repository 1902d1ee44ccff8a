//! Statuses into the cluster: on change, seldom, and never over what somebody else wrote meanwhile.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gaugeway_operator::{
    PolicyId,
    crd::{LatencyPolicy, LatencyPolicyStatus},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use crate::{source::kubernetes::Failure, telemetry::Telemetry};

/// An API server that is slower than this is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    client: Client,
    period: Duration,
    /// When each was tried last; of those within the last period only.
    tried: HashMap<PolicyId, Instant>,
    /// What was warned of last, so that it is not said every ten seconds.
    warned: Option<String>,
    telemetry: Arc<Telemetry>,
}

impl Writer {
    pub(super) fn new(client: Client, period: Duration, telemetry: Arc<Telemetry>) -> Self {
        Self {
            client,
            period,
            tried: HashMap::new(),
            warned: None,
            telemetry,
        }
    }

    /// Those that were not tried lately. An API server that fails is left alone until the next round.
    pub(super) async fn write(
        &mut self,
        statuses: Vec<(&LatencyPolicy, LatencyPolicyStatus)>,
        now: Instant,
    ) {
        let period = self.period;
        self.tried.retain(|_, at| now.duration_since(*at) < period);
        for (object, status) in statuses {
            let id = PolicyId::of(object);
            if self.tried.contains_key(&id) {
                continue;
            }
            self.tried.insert(id.clone(), now);
            let result = self.put(&id, object, &status).await;
            let writes = &self.telemetry.policies.status_writes;
            match result {
                Ok(()) => {
                    writes.with_label_values(&["ok"]).inc();
                    self.warned = None;
                }
                // It changed meanwhile, or went: the watch says how, then this is done again.
                Err(failure) if failure.is_stale() => {
                    writes.with_label_values(&["conflict"]).inc();
                    debug!(policy = %id, "the policy has changed; its status is written later");
                }
                Err(failure) => {
                    writes.with_label_values(&["error"]).inc();
                    self.warn(&id, &failure);
                    return;
                }
            }
        }
    }

    async fn put(
        &self,
        id: &PolicyId,
        object: &LatencyPolicy,
        status: &LatencyPolicyStatus,
    ) -> Result<(), Failure> {
        let api: Api<LatencyPolicy> = Api::namespaced(self.client.clone(), &id.namespace);
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": object.metadata.resource_version},
            "status": status,
        }));
        let params = PatchParams::default();
        let done = timeout(PATIENCE, api.patch_status(&id.name, &params, &patch));
        match done.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Failure::of(&error)),
            Err(_) => Err(Failure::slow(PATIENCE)),
        }
    }

    fn warn(&mut self, id: &PolicyId, failure: &Failure) {
        let grant = if failure.is_forbidden() {
            "; grant its account patch on latencypolicies/status of gaugeway.dev"
        } else {
            ""
        };
        let text = format!("{}{grant}", failure.text());
        if self.warned.as_ref() != Some(&text) {
            warn!(policy = %id, "cannot write the policy's status; what it says is in force all the same: {text}");
            self.warned = Some(text);
        }
    }
}

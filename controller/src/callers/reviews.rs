//! What the API server says of callers: TokenReview and SubjectAccessReview.
//!
//! Invariants: so many questions at once and no more; the same question is asked once at a time; an answer stands for a
//! bounded time, and there are so many of them; what could not be asked is not remembered. Tokens are kept as sums only.

use std::{fmt::Display, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, Resource, api::PostParams};
use moka::future::Cache;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, time::timeout};
use tracing::warn;

use super::{Denied, Why};
use crate::{custom_metrics::Attributes, source::kubernetes::Failure, telemetry::Telemetry};

/// Longest wait for an answer. An HPA gives up after 30 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// How answers are kept, and asked for. The defaults are those of Kubernetes' own extension servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    /// How long an answer stands, whatever it is.
    pub ttl: Duration,
    /// Answers kept of each kind.
    pub kept: u64,
    /// Questions at once.
    pub at_once: usize,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(10),
            kept: 4096,
            at_once: 16,
        }
    }
}

type Key = [u8; 32];

/// Asks, and remembers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reviews {
    client: Client,
    users: Cache<Key, Option<Arc<UserInfo>>>,
    rights: Cache<Key, bool>,
    room: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
}

impl std::fmt::Debug for Reviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reviews")
    }
}

impl Reviews {
    pub(crate) fn new(client: Client, answers: Answers, telemetry: Arc<Telemetry>) -> Self {
        Self {
            client,
            users: cache(answers),
            rights: cache(answers),
            room: Arc::new(Semaphore::new(answers.at_once)),
            telemetry,
        }
    }

    /// Whose a token is; `None` if nobody's.
    pub(super) async fn user(&self, token: &str) -> Result<Option<Arc<UserInfo>>, Denied> {
        let key = Sha256::digest(token.as_bytes()).into();
        let asked = async {
            let review = TokenReview {
                spec: TokenReviewSpec {
                    token: token.to_owned(),
                    audiences: None,
                },
                ..TokenReview::default()
            };
            let user = named(self.ask(&review, "token").await?);
            self.count("token", if user.is_some() { "allowed" } else { "denied" });
            Ok(user.map(Arc::new))
        };
        self.users.try_get_with(key, asked).await.map_err(shared)
    }

    /// Whether somebody may do something.
    pub(super) async fn may(&self, user: &UserInfo, asked: &Attributes) -> Result<bool, Denied> {
        let spec = spec(user, asked);
        let key = key(&spec)?;
        let asked = async {
            let review = SubjectAccessReview {
                spec,
                ..SubjectAccessReview::default()
            };
            let status = self
                .ask(&review, "access")
                .await?
                .status
                .unwrap_or_default();
            let allowed = status.allowed && status.denied != Some(true);
            self.count("access", if allowed { "allowed" } else { "denied" });
            Ok(allowed)
        };
        self.rights.try_get_with(key, asked).await.map_err(shared)
    }

    async fn ask<R>(&self, review: &R, kind: &'static str) -> Result<R, Denied>
    where
        R: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        let Ok(_room) = self.room.try_acquire() else {
            self.count(kind, "full");
            return Err(away(
                "the API server is asked about too many callers at once",
            ));
        };
        let api: Api<R> = Api::all(self.client.clone());
        let params = PostParams::default();
        let failure = match timeout(PATIENCE, api.create(&params, review)).await {
            Ok(Ok(answered)) => return Ok(answered),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::slow(PATIENCE),
        };
        self.count(kind, "error");
        let advice = if failure.is_forbidden() {
            "; bind the controller's account to ClusterRole system:auth-delegator"
        } else {
            ""
        };
        warn!(
            "the API server cannot be asked about a caller: {}{advice}",
            failure.text()
        );
        Err(away(
            "the API server cannot be asked who you are and what you may",
        ))
    }

    fn count(&self, review: &str, result: &str) {
        let reviews = &self.telemetry.callers.reviews;
        reviews.with_label_values(&[review, result]).inc();
    }
}

/// Whom an answer names.
pub(crate) fn named(answer: TokenReview) -> Option<UserInfo> {
    let status = answer.status.unwrap_or_default();
    status.user.filter(|_| status.authenticated == Some(true))
}

fn cache<V: Clone + Send + Sync + 'static>(answers: Answers) -> Cache<Key, V> {
    Cache::builder()
        .max_capacity(answers.kept)
        .time_to_live(answers.ttl)
        .build()
}

fn away(text: impl Display) -> Denied {
    Denied {
        why: Why::Away,
        text: format!("{text}; call again later"),
    }
}

fn shared(denied: Arc<Denied>) -> Denied {
    Arc::unwrap_or_clone(denied)
}

/// Names the whole question.
fn key(spec: &SubjectAccessReviewSpec) -> Result<Key, Denied> {
    let text = serde_json::to_vec(spec).map_err(away)?;
    Ok(Sha256::digest(text).into())
}

fn spec(user: &UserInfo, asked: &Attributes) -> SubjectAccessReviewSpec {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut spec = SubjectAccessReviewSpec {
        user: user.username.clone(),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
        ..SubjectAccessReviewSpec::default()
    };
    match asked {
        Attributes::Path { path, verb } => {
            spec.non_resource_attributes = Some(NonResourceAttributes {
                path: some(path),
                verb: some(verb),
            });
        }
        Attributes::Resource {
            group,
            version,
            namespace,
            resource,
            subresource,
            name,
            verb,
        } => {
            spec.resource_attributes = Some(ResourceAttributes {
                group: some(group),
                version: some(version),
                namespace: some(namespace),
                resource: some(resource),
                subresource: some(subresource),
                name: some(name),
                verb: some(verb),
                ..ResourceAttributes::default()
            });
        }
    }
    spec
}

//! The token key in a Secret of the controller's own namespace, made if there is none, and watched by its name.
//!
//! Invariants: a Secret that is there is never written, so that replicas which start together agree on the first one's
//! key, and a key that people put there stays; what cannot be read keeps the keys in force.

use std::{collections::BTreeMap, pin::pin, sync::Arc, time::Duration};

use anyhow::bail;
use futures::StreamExt as _;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams, core::ObjectMeta, runtime::watcher::watch_object};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{error, info};

use super::{Keys, new_key};
use crate::{
    config::{SecretKey, Source},
    source::kubernetes::{self, Failure, Pace, Retry},
    telemetry::Telemetry,
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the keys, and follows them until nobody listens. `None` as long as none could be read.
///
/// # Errors
/// Without a cluster to ask.
pub(super) async fn follow(
    at: &SecretKey,
    source: &Source,
    telemetry: Arc<Telemetry>,
) -> anyhow::Result<watch::Receiver<Option<Keys>>> {
    let Source::Kubernetes(cluster) = source else {
        bail!("a Secret is in a cluster: --token-key-secret needs --kubernetes");
    };
    let client = kubernetes::client(cluster).await?;
    let follower = Follower {
        api: Api::namespaced(client, &at.namespace),
        at: at.clone(),
        told: None,
        telemetry,
    };
    let (keys, receiver) = watch::channel(None);
    tokio::spawn(follower.run(keys));
    Ok(receiver)
}

struct Follower {
    api: Api<Secret>,
    at: SecretKey,
    /// What was said last, so that it is said once: an error, or nothing.
    told: Option<String>,
    telemetry: Arc<Telemetry>,
}

impl Follower {
    async fn run(mut self, keys: watch::Sender<Option<Keys>>) {
        let mut found = pin!(watch_object(self.api.clone(), &self.at.name));
        let mut retry = Retry::new(Pace::default());
        loop {
            let heard = tokio::select! {
                () = keys.closed() => return,
                heard = found.next() => heard,
            };
            let result = match heard {
                None => return,
                Some(Ok(Some(secret))) => self.parse(&secret).map(Some),
                Some(Ok(None)) if keys.borrow().is_some() => {
                    Err("it was removed; the next start makes a new key".to_owned())
                }
                // The watch tells of it then, whoever made it.
                Some(Ok(None)) => self.until_made(&keys, &mut retry).await.map(|()| None),
                Some(Err(error)) => {
                    let failure = Failure::of_watch(&error);
                    if !failure.is_ordinary() {
                        let text = self.advice(&failure, "list and watch");
                        self.say(Some(&text));
                    }
                    sleep(retry.next()).await;
                    continue;
                }
            };
            retry.reset();
            self.say(result.as_ref().err());
            if let Ok(Some(found)) = result {
                self.take(&found, &keys);
            }
        }
    }

    fn take(&self, new: &Keys, keys: &watch::Sender<Option<Keys>>) {
        let changed = keys.send_if_modified(|now| {
            let differs = now.as_ref() != Some(new);
            *now = Some(new.clone());
            differs
        });
        if changed {
            info!(secret = self.at.name, keys = ?new, "token keys were read");
            self.count("ok");
        }
    }

    fn parse(&self, secret: &Secret) -> Result<Keys, String> {
        let name = &self.at.key;
        let text = secret.data.as_ref().and_then(|data| data.get(name));
        let text = text.ok_or_else(|| {
            format!("it has no entry {name}; remove it, so that it is made anew, or put one in")
        })?;
        let text = std::str::from_utf8(&text.0).map_err(|_| format!("{name} is no text"))?;
        Keys::parse(text).map_err(|error| format!("{name}: {error}"))
    }

    /// Of several replicas that find none, one makes it and all are told of it. One that is removed later is not made anew
    /// while its keys are in force: all gateways would have the wrong token at once.
    async fn until_made(
        &mut self,
        keys: &watch::Sender<Option<Keys>>,
        retry: &mut Retry,
    ) -> Result<(), String> {
        while let Err(error) = self.create().await {
            if keys.is_closed() {
                return Err(error);
            }
            self.say(Some(&error));
            sleep(retry.next()).await;
        }
        Ok(())
    }

    async fn create(&self) -> Result<(), String> {
        let key = new_key().map_err(|error| format!("no randomness for a key: {error}"))?;
        let labels = [("app.kubernetes.io/name".to_owned(), "gaugeway".to_owned())];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.at.name.clone()),
                namespace: Some(self.at.namespace.clone()),
                labels: Some(labels.into()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(
                self.at.key.clone(),
                ByteString(key.into_bytes()),
            )])),
            ..Secret::default()
        };
        let params = PostParams::default();
        match timeout(PATIENCE, self.api.create(&params, &secret)).await {
            Ok(Ok(_)) => {
                info!(secret = self.at.name, "made the Secret with the token key");
                Ok(())
            }
            Ok(Err(error)) => match Failure::of(&error) {
                // Another replica was first.
                failure if failure.is_stale() => Ok(()),
                failure => Err(self.advice(&failure, "create")),
            },
            Err(_) => Err(Failure::slow(PATIENCE).text().to_owned()),
        }
    }

    fn advice(&self, failure: &Failure, verb: &str) -> String {
        let text = failure.text();
        if failure.is_forbidden() {
            let namespace = &self.at.namespace;
            format!(
                "{text}; grant its account {verb} on secrets in namespace {namespace}, or name a file with \
                --token-key-file"
            )
        } else {
            text.to_owned()
        }
    }

    fn say(&mut self, error: Option<&String>) {
        if let Some(text) = error
            && self.told.as_ref() != Some(text)
        {
            let SecretKey {
                namespace, name, ..
            } = &self.at;
            error!(
                "the token key in Secret {namespace}/{name} cannot be read, keys in force stay: {text}"
            );
            self.count("error");
        }
        self.told = error.cloned();
    }

    fn count(&self, result: &str) {
        self.telemetry
            .http
            .key_reads
            .with_label_values(&[result])
            .inc();
    }
}

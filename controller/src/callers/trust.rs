//! Follows ConfigMap `kube-system/extension-apiserver-authentication`.
//!
//! Invariants: an API server that is away, and content that cannot be read, leave in force what was; a ConfigMap that is
//! gone, or names no authority, leaves nobody who is believed.

use std::{pin::pin, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, runtime::watcher::watch_object};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::FrontProxy;
use crate::{
    config::Pace,
    source::kubernetes::{Failure, Retry},
    telemetry::Telemetry,
};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "extension-apiserver-authentication";

/// `None` before the first read; in it `None` where nobody is to be believed.
pub(crate) type Trust = watch::Receiver<Option<Option<FrontProxy>>>;

/// Reads it, and goes on until nobody listens.
pub(crate) fn follow(client: Client, pace: Pace, telemetry: Arc<Telemetry>) -> Trust {
    let (tell, trust) = watch::channel(None);
    let follower = Follower {
        tell,
        telemetry,
        told: None,
    };
    tokio::spawn(follower.run(Api::namespaced(client, NAMESPACE), pace));
    trust
}

struct Follower {
    tell: watch::Sender<Option<Option<FrontProxy>>>,
    telemetry: Arc<Telemetry>,
    /// The trouble that was said last, so that it is said once.
    told: Option<String>,
}

impl Follower {
    async fn run(mut self, api: Api<ConfigMap>, pace: Pace) {
        let mut retry = Retry::new(pace);
        let tell = self.tell.clone();
        let mut states = pin!(watch_object(api, NAME));
        loop {
            let state = tokio::select! {
                () = tell.closed() => return,
                state = states.next() => state,
            };
            match state {
                Some(Ok(found)) => {
                    retry.reset();
                    self.read(found.as_ref());
                }
                Some(Err(error)) => {
                    let failure = Failure::of_watch(&error);
                    let advice = if failure.is_forbidden() {
                        "; bind its account to Role extension-apiserver-authentication-reader in kube-system"
                    } else {
                        ""
                    };
                    self.trouble(format!("{}{advice}", failure.text()));
                    sleep(retry.next()).await;
                }
                None => return,
            }
        }
    }

    fn read(&mut self, found: Option<&ConfigMap>) {
        let data = found.and_then(|map| map.data.as_ref());
        match data.map_or(Ok(None), FrontProxy::parse) {
            Ok(proxy) => {
                self.told = None;
                if proxy.is_none() {
                    warn!(
                        "ConfigMap {NAMESPACE}/{NAME} names no authority: nobody comes through the API server"
                    );
                } else {
                    info!("whom the API server's front proxy is known by was read");
                }
                let trusted = i64::from(proxy.is_some());
                self.telemetry.callers.front_proxy.set(trusted);
                self.tell.send_replace(Some(proxy));
            }
            Err(error) => self.trouble(error),
        }
    }

    fn trouble(&mut self, text: String) {
        if self.told.as_ref() != Some(&text) {
            warn!(
                "ConfigMap {NAMESPACE}/{NAME} cannot be used, what was known of it stays in force: {text}"
            );
        }
        self.told = Some(text);
    }
}

//! Keeps the Secret, the certificate in force, and the registration: a round every so often.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, Client, api::PostParams};
use rustls::sign::CertifiedKey;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};

use super::{
    generation::make,
    registration::{Found, Home, Registration},
    rotation::{Held, Seconds},
    secret,
};
use crate::{
    config::Made,
    role::Gate,
    source::kubernetes::Failure,
    telemetry::Telemetry,
    tls::{self, InForce},
};

/// An API server that is slower than this is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The controller's own.
    pub(crate) namespace: String,
    pub(crate) secret: String,
    /// The names that clients call the port by.
    pub(crate) names: BTreeSet<String>,
    /// Where the metrics API is to be answered; `None` leaves it alone.
    pub(crate) registered: Option<Home>,
}

impl From<&Made> for Wanted {
    fn from(made: &Made) -> Self {
        let Home {
            namespace, service, ..
        } = &made.home;
        let svc = format!("{service}.{namespace}.svc");
        let full = format!("{svc}.{}", made.cluster_domain);
        Self {
            namespace: namespace.clone(),
            secret: made.secret.clone(),
            names: BTreeSet::from([svc, full, "localhost".to_owned()]),
            registered: made.metrics_api.then(|| made.home.clone()),
        }
    }
}

/// See the module.
pub(crate) struct Keeper {
    client: Client,
    secrets: Api<Secret>,
    wanted: Wanted,
    gate: Gate,
    telemetry: Arc<Telemetry>,
    tell: watch::Sender<Option<Arc<CertifiedKey>>>,
    /// How the registration was found last, by the leader.
    registration: watch::Sender<Option<Registration>>,
    /// As last read or written.
    held: Option<Held>,
    started: Timestamp,
    /// When somebody had the registration taken away. No replica makes it anew that ran then: one that takes over while all
    /// of them end would leave it behind, and a registration that nobody answers keeps namespaces from being deleted.
    detached_at: Option<Timestamp>,
    /// What was said last, so that it is said once.
    told: Option<String>,
}

impl Keeper {
    /// Starts; ends when nobody has the certificate any more.
    pub(crate) fn start(
        client: Client,
        wanted: Wanted,
        gate: Gate,
        every: Duration,
        registration: watch::Sender<Option<Registration>>,
        telemetry: Arc<Telemetry>,
    ) -> InForce {
        let (tell, in_force) = watch::channel(None);
        let keeper = Self {
            secrets: Api::namespaced(client.clone(), &wanted.namespace),
            client,
            wanted,
            gate,
            telemetry,
            tell,
            registration,
            held: None,
            started: instant(),
            detached_at: None,
            told: None,
        };
        tokio::spawn(keeper.run(every));
        in_force
    }

    async fn run(mut self, every: Duration) {
        let tell = self.tell.clone();
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = tell.closed() => return,
                _ = ticks.tick() => {}
                () = self.gate.changed() => {}
            }
            let trouble = self.round().await.err();
            if let Some(text) = &trouble
                && self.told != trouble
            {
                warn!("the certificate of the apis port, or its registration: {text}");
            }
            self.told = trouble;
        }
    }

    /// In this order: what is published, then the Secret; see [`super::rotation`].
    async fn round(&mut self) -> Result<(), String> {
        // Before the Secret.
        let found = match self.wanted.registered {
            Some(_) => Some(Found::read(&self.client).await),
            None => None,
        };
        let (held, version) = self.read().await?;
        self.show(&held)?;
        let found = found
            .transpose()
            .map_err(|failure| self.failing(&failure))?;
        if !self.gate.is_open() {
            return Ok(());
        }
        let mut registering = found.zip(self.wanted.registered.clone());
        if let Some((found, home)) = registering.take_if(|(found, home)| found.is_detached(home)) {
            return self.take_out(found, &home, &held, version).await;
        }
        if self.is_detached() && registering.take().is_some() {
            self.found(Registration::Detached);
        }
        let published = registering
            .as_ref()
            .and_then(|(found, home)| found.published(home));
        let mut refused = None;
        let fresh = || {
            let made = make(&self.wanted.names, now());
            made.map_err(|error| refused = Some(format!("{error:#}")))
                .ok()
        };
        let new = held.step(now(), &self.wanted.names, published.as_deref(), fresh);
        if let Some(text) = refused {
            return Err(format!("no certificate can be made: {text}"));
        }
        let held = match new {
            Some(new) => {
                if !self.write(&new, Some(version)).await? {
                    return Ok(());
                }
                info!("the certificate of the apis port has gone on in its rotation");
                self.show(&new)?;
                new
            }
            None => held,
        };
        match registering {
            Some((found, home)) => self.register(found, &home, &held.bundle()).await,
            None => Ok(()),
        }
    }

    /// Says so in the Secret before: whoever leads next is to know it.
    async fn take_out(
        &mut self,
        found: Found,
        home: &Home,
        held: &Held,
        version: String,
    ) -> Result<(), String> {
        if !self.is_detached() {
            self.detached_at = Some(instant());
            if !self.write(held, Some(version)).await? {
                return Ok(());
            }
            info!("the metrics API was taken out on demand; it comes back with the next start");
        }
        self.register(found, home, &held.bundle()).await
    }

    fn is_detached(&self) -> bool {
        self.detached_at.is_some_and(|at| at >= self.started)
    }

    async fn register(&self, found: Found, home: &Home, bundle: &str) -> Result<(), String> {
        let registration = match found.settle(&self.client, home, bundle).await {
            Ok(registration) => registration,
            // Another replica was faster: the next round sees what it did.
            Err(failure) if failure.is_conflict() => return Ok(()),
            Err(failure) => return Err(self.failing(&failure)),
        };
        let trouble = match &registration {
            Registration::Foreign(text) => Some(format!(
                "{text}, which is not this controller's: the metrics API is not registered. Remove it, or start \
                 without --metrics-api"
            )),
            _ => None,
        };
        self.found(registration);
        trouble.map_or(Ok(()), Err)
    }

    /// The API server does not tell or do what the registration needs.
    fn failing(&self, failure: &Failure) -> String {
        let rights = "get, create, update and delete on apiservices.apiregistration.k8s.io";
        let text = advice(failure, rights);
        self.found(Registration::Failing(text.clone()));
        text
    }

    fn found(&self, registration: Registration) {
        self.telemetry.callers.registered(&registration);
        self.registration.send_replace(Some(registration));
    }

    /// What the Secret holds. Of several replicas that find none, one makes it; where it was removed, it comes back as it
    /// was.
    async fn read(&mut self) -> Result<(Held, String), String> {
        let found = match self.get().await? {
            Some(found) => Some(found),
            None => {
                let held = match &self.held {
                    Some(held) => held.clone(),
                    None => Held::first(
                        make(&self.wanted.names, now()).map_err(|error| format!("{error:#}"))?,
                    ),
                };
                self.write(&held, None).await?;
                self.get().await?
            }
        };
        let found = found.ok_or("its Secret was removed as soon as it was made")?;
        self.detached_at = secret::detached_at(&found);
        let name = &self.wanted.secret;
        let held = secret::parse(&found).map_err(|error| {
            format!("Secret {name} cannot be used, remove it and it is made anew: {error:#}")
        })?;
        Ok((held, found.metadata.resource_version.unwrap_or_default()))
    }

    async fn get(&self) -> Result<Option<Secret>, String> {
        let asked = timeout(PATIENCE, self.secrets.get_opt(&self.wanted.secret)).await;
        let failure = match asked {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::slow(PATIENCE),
        };
        Err(advice(&failure, "get, create and update on its Secret"))
    }

    /// A new one without a version. False where another replica was faster: the next round sees what it did.
    async fn write(&self, held: &Held, version: Option<String>) -> Result<bool, String> {
        let Wanted {
            namespace, secret, ..
        } = &self.wanted;
        let creating = version.is_none();
        let object = secret::of(held, self.detached_at, (namespace, secret), version);
        let params = PostParams::default();
        let written = async {
            if creating {
                self.secrets.create(&params, &object).await
            } else {
                self.secrets.replace(secret, &params, &object).await
            }
        };
        let failure = match timeout(PATIENCE, written).await {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::slow(PATIENCE),
        };
        if failure.is_conflict() {
            return Ok(false);
        }
        Err(advice(&failure, "get, create and update on its Secret"))
    }

    fn show(&mut self, held: &Held) -> Result<(), String> {
        let shown = self.held.as_ref().map(|held| &held.current);
        if shown != Some(&held.current) {
            let chain = format!("{}{}", held.current.certificate, held.current.authority.pem);
            let certified = tls::certified(&chain, &held.current.key);
            let certified = certified.map_err(|error| format!("{error:#}"))?;
            self.tell.send_replace(Some(Arc::new(certified)));
            self.telemetry.tls.read("apis", "ok");
        }
        self.held = Some(held.clone());
        Ok(())
    }
}

fn advice(failure: &Failure, rights: &str) -> String {
    let text = failure.text();
    if failure.is_forbidden() {
        format!("{text}; grant the controller's account {rights}")
    } else {
        text.to_owned()
    }
}

fn instant() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn now() -> Seconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

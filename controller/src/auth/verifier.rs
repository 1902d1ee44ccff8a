//! Decides by the keys now in force, wherever they come from.

use std::{sync::Arc, time::Duration};

use gaugeway_wire::GatewayName;
use tokio::sync::watch;

use super::{Keys, Token, key_file, secret};
use crate::{
    config::{Source, Tokens},
    telemetry::Telemetry,
};

/// Decides whether a token belongs to a gateway, or to another replica. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Verifier(
    /// `None` when no tokens are asked for; in it, `None` as long as no key could be read.
    Option<watch::Receiver<Option<Keys>>>,
);

impl Verifier {
    /// Follows the keys until the verifier and all its clones are gone.
    ///
    /// # Errors
    /// When there is a file and it cannot be read, or a Secret and no cluster. A cluster that does not answer is no
    /// error: until it does, calls are refused as from a replica that is not ready.
    pub(crate) async fn start(
        tokens: &Tokens,
        source: &Source,
        poll: Duration,
        telemetry: Arc<Telemetry>,
    ) -> anyhow::Result<Self> {
        for result in ["ok", "error"] {
            telemetry.http.key_reads.with_label_values(&[result]);
        }
        Ok(Self(match tokens {
            Tokens::Insecure => None,
            Tokens::KeyFile(path) => Some(key_file::follow(path, poll, telemetry).await?),
            Tokens::Secret(at) => Some(secret::follow(at, source, telemetry).await?),
        }))
    }

    /// Whether there is anything to decide by.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.as_ref().is_none_or(|keys| keys.borrow().is_some())
    }

    /// Whether `token` is the gateway's, or no tokens are asked for.
    pub(crate) fn accepts(&self, gateway: &GatewayName, token: &str) -> bool {
        self.decide(|keys| keys.verify(gateway, token))
    }

    /// Whether `token` is another replica's, or no tokens are asked for.
    pub(crate) fn accepts_replica(&self, token: &str) -> bool {
        self.decide(|keys| keys.verify_replica(token))
    }

    /// By which another replica knows this one; `None` when no tokens are asked for.
    pub(crate) fn replica_token(&self) -> Option<Token> {
        let keys = self.0.as_ref()?.borrow();
        keys.as_ref().map(Keys::replica_token)
    }

    /// A gateway's; `None` when no tokens are asked for.
    pub(crate) fn token(&self, gateway: &GatewayName) -> Option<Token> {
        let keys = self.0.as_ref()?.borrow();
        keys.as_ref().map(|k| k.token(gateway))
    }

    /// What nobody outside can guess of a gateway, the same in every replica; `None` when no tokens are asked for.
    pub(crate) fn secret(&self, gateway: &GatewayName) -> Option<Token> {
        let keys = self.0.as_ref()?.borrow();
        keys.as_ref().map(|k| k.secret(gateway))
    }

    fn decide(&self, by: impl FnOnce(&Keys) -> bool) -> bool {
        match &self.0 {
            Some(keys) => keys.borrow().as_ref().is_some_and(by),
            None => true,
        }
    }
}

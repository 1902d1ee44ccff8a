//! Who calls the `apis` port, and what they may.
//!
//! Invariants:
//! - A header that names a user is believed only beside a certificate of the API server's front proxy: verified against the
//!   authority, and with a name, that ConfigMap `kube-system/extension-apiserver-authentication` says *now*.
//! - Nothing is answered that the API server did not allow ([`Reviews`]): not discovery, not a path that is not served.
//! - What the API server said stands for [`Answers::ttl`]; without it, and without its answer, nobody gets anything.
//!
//! The ConfigMap's other authority (`client-ca-file`) is not read: who has a certificate of the cluster comes through the
//! API server, or brings a token.

mod attributes;
mod front_proxy;
mod reviews;
mod trust;

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, header};
use k8s_openapi::api::authentication::v1::UserInfo;
use rustls::pki_types::{CertificateDer, UnixTime};

pub(crate) use attributes::attributes;
pub(crate) use front_proxy::FrontProxy;
pub use reviews::Answers;
pub(crate) use reviews::Reviews;
#[cfg(feature = "laws")]
pub(crate) use reviews::named as named_by;
pub(crate) use trust::follow as follow_trust;

use crate::custom_metrics::{Attributes, Status, StatusReason};
use trust::Trust;

/// Decides about calls. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    reviews: Reviews,
    trust: Trust,
}

/// What was not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) why: Why,
    pub(crate) text: String,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody that is known.
    Unauthenticated,
    /// Known, and not allowed.
    Forbidden,
    /// Nobody can say now.
    Away,
}

impl Callers {
    pub(crate) fn new(reviews: Reviews, trust: Trust) -> Self {
        Self { reviews, trust }
    }

    /// Lets a call through, or says why not. `shown` is the client's certificate with its chain, its key proven.
    pub(crate) async fn admit(
        &self,
        shown: &[CertificateDer<'_>],
        headers: &HeaderMap,
        asked: &Attributes,
    ) -> Result<(), Denied> {
        let user = self.identify(shown, headers).await?;
        let allowed = self.reviews.may(&user, asked).await?;
        if allowed {
            return Ok(());
        }
        let name = user.username.as_deref().unwrap_or_default();
        Err(Denied {
            why: Why::Forbidden,
            text: attributes::forbidden(name, asked),
        })
    }

    async fn identify(
        &self,
        shown: &[CertificateDer<'_>],
        headers: &HeaderMap,
    ) -> Result<Arc<UserInfo>, Denied> {
        let mut text = NOBODY.to_owned();
        if !shown.is_empty() {
            match self.through_proxy(shown, headers)? {
                Ok(Some(user)) => return Ok(Arc::new(user)),
                Ok(None) => {}
                Err(why) => {
                    text = format!("the client certificate is not the front proxy's: {why}");
                }
            }
        }
        if let Some(token) = bearer(headers) {
            match self.reviews.user(token).await? {
                Some(user) => return Ok(user),
                None => text = "the API server does not know the bearer token".to_owned(),
            }
        }
        Err(Denied {
            why: Why::Unauthenticated,
            text,
        })
    }

    #[allow(clippy::type_complexity, reason = "no answer at all, or one")]
    fn through_proxy(
        &self,
        shown: &[CertificateDer<'_>],
        headers: &HeaderMap,
    ) -> Result<Result<Option<UserInfo>, String>, Denied> {
        let trust = self.trust.borrow();
        let Some(known) = &*trust else {
            return Err(Denied {
                why: Why::Away,
                text: "the controller has not read yet whom the API server's front proxy is to be known by; call again \
                    later"
                    .to_owned(),
            });
        };
        let Some(proxy) = known else {
            return Ok(Err("this cluster names no authority for it".to_owned()));
        };
        Ok(proxy.identify(shown, headers, UnixTime::now()))
    }

    /// Headers that say who calls: not to be passed on.
    pub(crate) fn is_about_the_caller(name: &HeaderName) -> bool {
        name == header::AUTHORIZATION || name.as_str().starts_with("x-remote-")
    }
}

const NOBODY: &str = "who calls? This port takes the API server's front proxy, by its client certificate, and bearer \
    tokens that the API server knows";

/// The token, unless there is none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        let reason = match denied.why {
            Why::Unauthenticated => StatusReason::Unauthorized,
            Why::Forbidden => StatusReason::Forbidden,
            Why::Away => StatusReason::ServiceUnavailable,
        };
        Self::new(reason, denied.text)
    }
}

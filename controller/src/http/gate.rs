//! Who may pass: in front of everything on the `apis` port, and the check of the host's name on the loopback port.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::IntoResponse as _,
};
use tokio::sync::Semaphore;

use super::{
    custom_metrics::refused,
    refusal::{Path, Reason, Refusal},
    server::Shown,
};
use crate::{
    callers::{self, Callers, Why},
    config::HttpLimits,
    custom_metrics::{Status, StatusReason},
    telemetry::Telemetry,
};

/// Asks everybody who they are, and the API server whether they may.
pub(crate) struct Gate {
    callers: Callers,
    slots: Semaphore,
    telemetry: Arc<Telemetry>,
}

impl Gate {
    pub(crate) fn new(callers: Callers, limits: HttpLimits, telemetry: Arc<Telemetry>) -> Self {
        Self {
            callers,
            slots: Semaphore::new(limits.calls),
            telemetry,
        }
    }

    /// Puts it in front of what is served, and of what is not.
    pub(crate) fn before(self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::new(self), ask))
    }

    async fn admit(&self, request: &mut Request) -> Result<(), (Reason, Status)> {
        let uri = request.uri();
        let asked = callers::attributes(request.method().as_str(), uri.path(), uri.query());
        let asked = asked.map_err(|status| (Reason::Query, status))?;
        let shown = request.extensions_mut().remove::<Shown>();
        let shown = shown.as_ref().map_or(&[][..], |shown| &shown.0);
        let admitted = self.callers.admit(shown, request.headers(), &asked).await;
        admitted.map_err(|denied| (reason(denied.why), denied.into()))?;
        // What is passed on from here says nothing of who called.
        let headers = request.headers_mut();
        let about = headers
            .keys()
            .filter(|name| Callers::is_about_the_caller(name));
        for name in about.cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
        Ok(())
    }
}

async fn ask(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response<Body> {
    let of_the_aggregator = ["/apis", "/openapi"];
    let asked = request.uri().path();
    let path = if of_the_aggregator.iter().any(|at| asked.starts_with(at)) {
        Path::CustomMetrics
    } else {
        Path::Api
    };
    let admitted = match gate.slots.try_acquire() {
        Ok(slot) => gate.admit(&mut request).await.map(|()| slot),
        Err(_) => {
            let text = "too many calls at once; call again later";
            let status = Status::new(StatusReason::ServiceUnavailable, text);
            Err((Reason::Busy, status))
        }
    };
    match admitted {
        Ok(_slot) => next.run(request).await.into_response(),
        Err((reason, status)) => {
            gate.telemetry.reject(path, reason);
            refused(&status)
        }
    }
}

const fn reason(why: Why) -> Reason {
    match why {
        Why::Unauthenticated => Reason::Unauthenticated,
        Why::Forbidden => Reason::Forbidden,
        Why::Away => Reason::ReviewsAway,
    }
}

/// Lets through only who says that the host is this machine: a name of somebody's own that points here (DNS rebinding)
/// would else let a web page read what the loopback port shows.
pub(crate) fn of_this_machine(router: Router, telemetry: Arc<Telemetry>) -> Router {
    router.layer(middleware::from_fn_with_state(telemetry, check_host))
}

async fn check_host(
    State(telemetry): State<Arc<Telemetry>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let header = request.headers().get(header::HOST);
    let header = header.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let authority = request.uri().authority().cloned().or(header);
    if authority.is_some_and(|authority| is_loopback(authority.host())) {
        return next.run(request).await.into_response();
    }
    telemetry.reject(Path::Api, Reason::Host);
    let text = "this port answers as localhost, 127.0.0.1 or [::1] only: reach it with kubectl port-forward, or have the \
        proxy before it set the Host header";
    Refusal::new(StatusCode::MISDIRECTED_REQUEST, Reason::Host, text).into_response()
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = bare.parse().ok();
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    address.is_some_and(|a| a.is_loopback()) || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.1.2.3",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "127.0.0.1.evil.example",
            "[::2]",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

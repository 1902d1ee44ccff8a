//! Envoy 1.40: binary attributes, each present only in the phases in which Envoy has it.

use crate::{
    abi::{Status, callback},
    host::{Context, Exchange, Host, Phase},
    request::Ending,
};

/// Everything else is left out where it is missing.
pub(super) const NEEDED: [&str; 2] = [callback::ABI_VERSION, callback::ALLOCATE];

/// Bits of `response.flags`, as in Envoy's `StreamInfo`.
pub(crate) mod flag {
    pub(crate) const NO_HEALTHY_UPSTREAM: i64 = 0x2;
    pub(crate) const UPSTREAM_REQUEST_TIMEOUT: i64 = 0x4;
    pub(crate) const UPSTREAM_REMOTE_RESET: i64 = 0x10;
    pub(crate) const UPSTREAM_CONNECTION_FAILURE: i64 = 0x20;
    pub(crate) const UPSTREAM_CONNECTION_TERMINATION: i64 = 0x40;
    pub(crate) const UPSTREAM_OVERFLOW: i64 = 0x80;
    pub(crate) const UNAUTHORIZED: i64 = 0x1000;
    pub(crate) const DOWNSTREAM_CONNECTION_TERMINATION: i64 = 0x4000;
    pub(crate) const UPSTREAM_RETRY_LIMIT_EXCEEDED: i64 = 0x8000;
}

pub(super) fn property(host: &Host, path: &str) -> Result<Vec<u8>, Status> {
    let parts: Vec<&str> = path.split('\0').collect();
    if let Some(value) = of_node(&parts) {
        return Ok(value);
    }
    let Some(Context::Stream(exchange)) = host.effective() else {
        return Err(Status::NotFound);
    };
    if exchange.phase == Phase::Delete {
        return Err(Status::NotFound);
    }
    of_exchange(exchange, &parts).ok_or(Status::NotFound)
}

fn of_node(parts: &[&str]) -> Option<Vec<u8>> {
    match parts {
        ["xds", "node", "id"] | ["node", "id"] => Some(b"node-1".to_vec()),
        ["plugin_name"] => Some(b"gaugeway".to_vec()),
        _ => None,
    }
}

fn of_exchange(exchange: &Exchange, parts: &[&str]) -> Option<Vec<u8>> {
    let request = &exchange.request;
    let later = exchange.phase > Phase::RequestHeaders;
    match parts {
        ["xds", "cluster_name"] => {
            let routed = !matches!(request.ending, Ending::Local(_));
            routed.then(|| request.cluster.clone().into_bytes())
        }
        ["xds", "route_name"] if later => Some(request.route.clone().into_bytes()),
        ["upstream", "address"] if later && request.ending.has_address() => {
            request.tries.last().map(|t| t.address.clone().into_bytes())
        }
        ["upstream", "request_attempt_count"] => {
            let count = if later && request.ending.has_address() {
                request.tries.len()
            } else {
                0
            };
            Some(
                u64::try_from(count)
                    .unwrap_or(u64::MAX)
                    .to_le_bytes()
                    .to_vec(),
            )
        }
        ["upstream", "cx_pool_ready_duration"] if later && request.ending.has_address() => {
            Some(int(100_000))
        }
        ["request", "time"] => Some(int(
            i64::try_from(exchange.began.minus(request.before).0).unwrap_or(i64::MAX)
        )),
        ["response", "code"] if later => request.ending.code().map(|code| int(code.into())),
        ["response", "flags"] => Some(int(if later { flags(exchange) } else { 0 })),
        ["response", "code_details"] if later => Some(details(request.ending).as_bytes().to_vec()),
        ["response", "backend_latency"] if exchange.phase >= Phase::Log => {
            let whole = request.wait.0.saturating_add(request.stream.0);
            let ended = matches!(request.ending, Ending::Response(_));
            ended.then(|| int(i64::try_from(whole).unwrap_or(i64::MAX)))
        }
        _ => None,
    }
}

fn int(value: i64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn flags(exchange: &Exchange) -> i64 {
    let request = &exchange.request;
    let ended = exchange.phase >= Phase::Log;
    let own = match request.ending {
        Ending::Response(_) | Ending::Local(_) => 0,
        Ending::CutByUpstream(_) if ended => flag::UPSTREAM_REMOTE_RESET,
        Ending::CutByClient(_) if ended => flag::DOWNSTREAM_CONNECTION_TERMINATION,
        Ending::CutByUpstream(_) | Ending::CutByClient(_) => 0,
        Ending::Timeout => flag::UPSTREAM_REQUEST_TIMEOUT,
        Ending::Reset => flag::UPSTREAM_CONNECTION_TERMINATION,
        Ending::ConnectFailure => flag::UPSTREAM_CONNECTION_FAILURE,
        Ending::Overflow => flag::UPSTREAM_OVERFLOW,
        Ending::NoEndpoint => flag::NO_HEALTHY_UPSTREAM,
        Ending::Cancelled => flag::DOWNSTREAM_CONNECTION_TERMINATION,
        Ending::DeniedBefore(_) => flag::UNAUTHORIZED,
    };
    let failed = matches!(request.ending, Ending::Reset | Ending::ConnectFailure);
    if failed && request.tries.len() > 1 {
        own | flag::UPSTREAM_RETRY_LIMIT_EXCEEDED
    } else {
        own
    }
}

fn details(ending: Ending) -> &'static str {
    match ending {
        Ending::Response(_) | Ending::CutByUpstream(_) | Ending::CutByClient(_) => "via_upstream",
        Ending::Timeout => "response_timeout",
        Ending::Reset => "upstream_reset_before_response_started{connection_termination}",
        Ending::ConnectFailure => {
            "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}"
        }
        Ending::Overflow => "upstream_reset_before_response_started{overflow}",
        Ending::NoEndpoint => "no_healthy_upstream",
        Ending::Cancelled => "downstream_remote_disconnect",
        Ending::Local(_) => "direct_response",
        Ending::DeniedBefore(_) => "rbac_access_denied_matched_policy[none]",
    }
}

pub(super) fn set_tick_period(host: &mut Host, period: u32) -> Status {
    let id = host.effective;
    match host.contexts.get_mut(&id) {
        Some(Context::Root(root)) => root.tick_period = period,
        Some(Context::Stream(_)) | None => return Status::BadArgument,
    }
    host.ticks.push((id, period));
    Status::Ok
}

pub(super) fn dispatch(host: &Host, cluster: &str) -> Status {
    if host.clusters.contains(cluster) {
        Status::Ok
    } else {
        Status::BadArgument
    }
}

//! WasmX: string attributes, and the many ways to take the worker down.

use gaugeway_wire::units::Nanos;

use crate::{
    abi::{Status, callback},
    host::{Context, Exchange, Host, Phase},
    personality::{Property, Stop},
    request::{Ending, Request, Try},
};

/// Without one of these Kong starts and serves without the filter.
pub(super) const NEEDED: [&str; 5] = [
    callback::ABI_VERSION,
    callback::ALLOCATE,
    callback::CONTEXT_CREATE,
    callback::VM_START,
    callback::CONFIGURE,
];

/// Callbacks that are called without a look whether they exist.
pub(super) const CALLED_UNCHECKED: [&str; 7] = [
    callback::REQUEST_HEADERS,
    callback::REQUEST_BODY,
    callback::RESPONSE_HEADERS,
    callback::RESPONSE_BODY,
    callback::DONE,
    callback::LOG,
    callback::DELETE,
];

/// Host calls that trap.
pub(super) const TRAPS_WHEN_CALLED: [&str; 13] = [
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_call_foreign_function",
    "proxy_resolve_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
];

/// Absent everywhere; each read writes an error to Kong's log.
const ABSENT: [&str; 5] = [
    "response.flags",
    "response.code_details",
    "response.grpc_status",
    "cluster_name",
    "route_name",
];

pub(super) fn property(host: &mut Host, path: &str) -> Property {
    if matches!(path, "upstream.address" | "upstream.port") {
        return Err(death(path, "can end the worker in every phase"));
    }
    if path == "kong.response.source" {
        return Err(Stop::Trap(format!("reading {path} traps")));
    }
    let id = host.effective;
    match host.contexts.get_mut(&id) {
        Some(Context::Stream(exchange)) => of_exchange(exchange, path),
        _ => of_root(path),
    }
}

fn of_root(path: &str) -> Property {
    match family(path) {
        "request" | "response" | "upstream" => Err(death(path, "read in a root context")),
        "ngx" | "kong" => Ok(Err(Status::InternalFailure)),
        _ => Ok(Err(Status::NotFound)),
    }
}

fn of_exchange(exchange: &mut Exchange, path: &str) -> Property {
    if exchange.phase >= Phase::Done {
        return Err(death(path, "read after the log phase"));
    }
    if path == "kong.service.response.status" && exchange.phase == Phase::RequestHeaders {
        return Err(Stop::Trap(format!(
            "reading {path} in the request phase traps"
        )));
    }
    // Cached or not: whatever Lua does there may collect the plan of an old configuration, and with it the instance that
    // is entered.
    if family(path) == "kong" {
        return Err(death(path, "goes through Lua"));
    }
    if ABSENT.contains(&path) || family(path) == "node" {
        return Ok(Err(Status::NotFound));
    }
    let value = match path {
        "response.code" => Some(code(exchange)),
        "ngx.request_time" => Some(request_time(exchange)),
        _ if exchange.phase == Phase::RequestHeaders => None,
        "ngx.upstream_addr" => addresses(&exchange.request),
        "ngx.upstream_status" => list(&exchange.request, |t, last| {
            let unanswered = last && exchange.request.ending == Ending::Cancelled;
            (!unanswered).then(|| t.status.to_string())
        }),
        "ngx.upstream_header_time" => list(&exchange.request, |t, last| {
            header_time(&exchange.request, t, last).map(seconds)
        }),
        "ngx.upstream_connect_time" => list(&exchange.request, |t, _| {
            t.connected.then(|| "0.000".to_owned())
        }),
        "ngx.upstream_response_time" => list(&exchange.request, |t, last| {
            response_time(exchange, t, last).map(seconds)
        }),
        "ngx.request_completion" => Some(completion(exchange)),
        _ => None,
    };
    Ok(value.map(String::into_bytes).ok_or(Status::NotFound))
}

fn code(exchange: &Exchange) -> String {
    match exchange.phase {
        Phase::RequestHeaders => "000".to_owned(),
        _ => match exchange.request.ending {
            Ending::Cancelled | Ending::CutByClient(_) if exchange.phase >= Phase::Log => {
                "499".to_owned()
            }
            ending => ending
                .code()
                .map_or_else(|| "499".to_owned(), |code| code.to_string()),
        },
    }
}

fn request_time(exchange: &Exchange) -> String {
    let request = &exchange.request;
    seconds(match exchange.phase {
        Phase::RequestHeaders => Nanos(0),
        Phase::ResponseHeaders => request.wait,
        _ => Nanos(request.wait.0.saturating_add(request.stream.0)),
    })
}

fn addresses(request: &Request) -> Option<String> {
    // Without a live peer nginx names its upstream block.
    if request.ending == Ending::NoEndpoint {
        return Some(request.cluster.clone());
    }
    list(request, |t, _| Some(t.address.clone()))
}

/// One place per try, `-` for what there is not. `of` is told whether it is the last one.
fn list(request: &Request, of: impl Fn(&Try, bool) -> Option<String>) -> Option<String> {
    let last = request.tries.len().checked_sub(1)?;
    let place = |(at, t)| of(t, at == last).unwrap_or_else(|| "-".to_owned());
    let all: Vec<String> = request.tries.iter().enumerate().map(place).collect();
    Some(all.join(", "))
}

fn header_time(request: &Request, one: &Try, last: bool) -> Option<Nanos> {
    let answered = last && request.ending.upstream_code().is_some();
    one.header_time
        .or_else(|| answered.then(|| request.last_wait()))
}

fn response_time(exchange: &Exchange, one: &Try, last: bool) -> Option<Nanos> {
    let request = &exchange.request;
    if !last {
        return Some(one.waited);
    }
    let whole = request.last_wait().0.saturating_add(match request.ending {
        Ending::Cancelled => 0,
        _ => request.stream.0,
    });
    (exchange.phase >= Phase::Log).then_some(Nanos(whole))
}

/// nginx says `OK` once it has sent all that there was to send, which is so of a response that the upstream cut, too.
fn completion(exchange: &Exchange) -> String {
    let whole = matches!(
        exchange.request.ending,
        Ending::Response(_) | Ending::CutByUpstream(_)
    );
    let said = if whole && exchange.phase >= Phase::Log {
        "OK"
    } else {
        ""
    };
    said.to_owned()
}

/// Seconds with three decimals, as nginx writes a time.
pub(crate) fn seconds(time: Nanos) -> String {
    let ms = time.as_millis();
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn family(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn death(path: &str, why: &str) -> Stop {
    Stop::Death(format!("{path}: {why}"))
}

pub(super) fn set_tick_period(host: &mut Host, period: u32) -> Result<Status, Stop> {
    let id = host.effective;
    let Some(Context::Root(root)) = host.contexts.get_mut(&id) else {
        // Period 0 traps as well, but only a host more broken than WasmX brings a filter there: it ticks roots alone.
        return match period {
            0 => Ok(Status::BadArgument),
            _ => Err(Stop::Trap("a tick period outside a root".to_owned())),
        };
    };
    if period != 0 && root.tick_period != 0 {
        return Err(Stop::Trap("a second tick period".to_owned()));
    }
    root.tick_period = period;
    host.ticks.push((id, period));
    Ok(Status::Ok)
}

pub(super) fn dispatch(host: &Host, upstream: &str) -> Result<Status, Stop> {
    if let Some(Context::Stream(_)) = host.effective() {
        return Err(Stop::Death(
            "a call dispatched from a request's context".to_owned(),
        ));
    }
    // Its connection is the answered call's, which WasmX has freed and then clears.
    if host.answer.is_some() {
        return Err(Stop::Death(
            "a call dispatched in the answer to another one".to_owned(),
        ));
    }
    let known = upstream.starts_with("unix:/") || port(upstream).is_some();
    Ok(if known {
        Status::Ok
    } else {
        Status::BadArgument
    })
}

fn port(upstream: &str) -> Option<u16> {
    upstream.rsplit_once(':')?.1.parse().ok()
}

//! Answers one request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full, channel::Channel};
use hyper::{Request, Response, body::Incoming, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    faults::Effect,
    outcome::{Outcome, Refusal},
    request::{Asked, Verb},
    resource::Resource,
    server::Shared,
    store::{Store, Write},
    watch::{Scope, list, shown},
};

/// A whole answer, or a watch.
pub(crate) type Body = Either<Full<Bytes>, Channel<Bytes, Broken>>;

/// A watch was dropped by the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped by the test")
    }
}

impl std::error::Error for Broken {}

/// An error ends the connection without an answer.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Broken> {
    let path = request.uri().path().to_owned();
    let asked = match Asked::parse(&request) {
        Ok(asked) => asked,
        Err(refusal) => return Ok(refused(&refusal)),
    };
    let mut hang_up = false;
    match shared.note(&asked) {
        Some(Effect::Status(code)) => {
            return Ok(refused(&Refusal::new(code, "as the test wants it")));
        }
        Some(Effect::Hangup { done: false }) => return Err(Broken),
        Some(Effect::Hangup { done: true }) => hang_up = true,
        // Stimulus: a slow server.
        Some(Effect::Latency(latency)) => tokio::time::sleep(latency).await,
        None => {}
    }
    if asked.verb == Verb::Watch {
        return Ok(match watch(shared, asked) {
            Ok(body) => json_response(200, Either::Right(body)),
            Err(refusal) => refused(&refusal),
        });
    }
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(|_| Broken)?
        .to_bytes();
    let done = answer(&shared, &path, &asked, &body);
    if hang_up {
        return Err(Broken);
    }
    Ok(match done {
        Ok((code, value)) => whole(code, &value),
        Err(refusal) => refused(&refusal),
    })
}

fn answer(shared: &Shared, path: &str, asked: &Asked, body: &[u8]) -> Outcome<(u16, Value)> {
    if asked.verb == Verb::Discover {
        return discover(&shared.store(), path, asked).map(|found| (200, found));
    }
    let sent = match body {
        [] => Value::Null,
        body => {
            serde_json::from_slice(body).map_err(|e| Refusal::new(400, format!("body: {e}")))?
        }
    };
    let (place, dry_run) = (&asked.place, asked.dry_run());
    if asked.verb == Verb::Create
        && let Some(reviewed) = shared.review(place, &sent)
    {
        return Ok((201, reviewed));
    }
    let (code, object) = match asked.verb {
        Verb::List => return list(&shared.store(), asked).map(|found| (200, found)),
        Verb::Get => (200, shared.store().get(place)?),
        Verb::Create => (201, shared.write(place, Write::Create(sent), dry_run)?),
        Verb::Update => (200, shared.write(place, Write::Replace(sent), dry_run)?),
        Verb::Patch => (200, shared.write(place, patch(asked, &sent)?, dry_run)?),
        Verb::Delete => (200, shared.delete(place, &sent, dry_run)?),
        Verb::Watch | Verb::Discover => return Err(Refusal::new(500, "answered elsewhere")),
    };
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    Ok((code, shown(&object, asked.metadata_only, api_version)))
}

fn patch<'a>(asked: &Asked, patch: &'a Value) -> Outcome<Write<'a>> {
    let create = match asked.content_type.as_str() {
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => false,
        "application/apply-patch+yaml" if asked.param("fieldManager").is_empty() => {
            return Err(Refusal::new(422, "fieldManager: Required value"));
        }
        "application/apply-patch+yaml" => true,
        other => {
            return Err(Refusal::new(
                415,
                format!("this double does not patch by {other}"),
            ));
        }
    };
    Ok(Write::Merge { patch, create })
}

fn discover(store: &Store, path: &str, asked: &Asked) -> Outcome<Value> {
    let resources = || store.tables.values().map(|t| &t.resource);
    match path.trim_end_matches('/') {
        "/version" => Ok(json!({
            "major": "1", "minor": "37", "gitVersion": "v1.37.0", "gitCommit": "", "gitTreeState": "",
            "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "",
        })),
        "/api" => Ok(json!({
            "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [],
        })),
        "/apis" => {
            let mut groups: Vec<&str> = resources().map(|r| r.group.as_str()).collect();
            groups.retain(|g| !g.is_empty());
            groups.sort_unstable();
            groups.dedup();
            let groups: Vec<_> = groups.iter().map(|g| group(g, resources())).collect();
            Ok(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        _ if asked.place.version.is_empty() => {
            let name = &asked.place.group;
            if resources().any(|r| r.group == *name) {
                Ok(group(name, resources()))
            } else {
                Err(Refusal::not_served())
            }
        }
        _ => {
            let (name, version) = (&asked.place.group, &asked.place.version);
            let of = resources().filter(|r| r.group == *name && r.versions.contains(version));
            let rows: Vec<_> = of.flat_map(Resource::discovered).collect();
            if rows.is_empty() {
                return Err(Refusal::not_served());
            }
            let group_version = if name.is_empty() {
                version.clone()
            } else {
                format!("{name}/{version}")
            };
            Ok(json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows,
            }))
        }
    }
}

fn group<'a>(name: &str, resources: impl Iterator<Item = &'a Resource>) -> Value {
    let mut versions: Vec<&str> = Vec::new();
    for version in resources
        .filter(|r| r.group == name)
        .flat_map(|r| &r.versions)
    {
        if !versions.contains(&version.as_str()) {
            versions.push(version);
        }
    }
    let versions: Vec<_> = versions
        .iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": versions,
        "preferredVersion": versions.first(),
    })
}

/// Ends at its time, when the test drops it, or when its kind goes.
fn watch(shared: Arc<Shared>, asked: Asked) -> Outcome<Channel<Bytes, Broken>> {
    let (scope, mut from, mut lines) = {
        let store = shared.store();
        let table = store.table(&asked.place)?;
        let scope = Scope::new(&asked, table)?;
        let mut lines = Vec::new();
        let from = match asked.param("resourceVersion") {
            "" | "0" => {
                let all = table.objects.values().filter(|o| scope.has(o));
                lines.extend(all.map(|o| json!({"type": "ADDED", "object": scope.shown(o)})));
                store.version
            }
            version => version
                .parse()
                .map_err(|_| Refusal::new(400, "resourceVersion"))?,
        };
        let from = if from < table.forgotten { 0 } else { from };
        (scope, from, lines)
    };
    let seconds: u64 = asked.param("timeoutSeconds").parse().unwrap_or(300);
    let end = Instant::now() + Duration::from_secs(seconds);
    let bookmarks = asked.flag("allowWatchBookmarks");
    let (mut sender, body) = Channel::new(16);
    let mut signals = shared.signals();
    tokio::spawn(async move {
        loop {
            // First: what happens after this look is another signal.
            let bookmark = signals.bookmark() && bookmarks;
            match shared.news(&asked.place, &scope, &mut from) {
                None => return,
                Some(Ok(news)) => lines.extend(news),
                Some(Err(expired)) => {
                    let error = json!({"type": "ERROR", "object": expired.status()});
                    let _ = sender.send_data(line(&error)).await;
                    return;
                }
            }
            if bookmark {
                lines.extend(shared.bookmark(&asked.place, &scope, from));
            }
            for value in lines.drain(..) {
                if sender.send_data(line(&value)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = signals.dropped() => return sender.abort(Broken),
                () = signals.changed() => {}
                () = tokio::time::sleep_until(end) => return,
            }
        }
    });
    Ok(body)
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

fn refused(refusal: &Refusal) -> Response<Body> {
    let Some(text) = refusal.plain() else {
        return whole(refusal.code, &refusal.status());
    };
    let body = Either::Left(Full::new(format!("{text}\n").into()));
    response(refusal.code, "text/plain; charset=utf-8", body)
}

fn whole(code: u16, value: &Value) -> Response<Body> {
    json_response(code, Either::Left(Full::new(value.to_string().into())))
}

fn json_response(code: u16, body: Body) -> Response<Body> {
    response(code, "application/json", body)
}

fn response(code: u16, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    let content_type = header::HeaderValue::from_static(content_type);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}

//! Answers one request as its script says.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Channel, channel::Sender};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};

use super::{
    Shared,
    script::{Act, SCRIPT_HEADER, Script},
};
use crate::client::{RequestBody, full};

type Answered = Result<Response<RequestBody>, io::Error>;
type Body = Sender<Bytes, io::Error>;

pub(super) async fn answer(mut request: Request<Incoming>, shared: Arc<Shared>) -> Answered {
    let Some(script) = script_of(request.headers()) else {
        let begin = Instant::now();
        drain(&mut request).await;
        sleep(shared.draw()).await;
        shared.delayed(begin.elapsed());
        return respond(StatusCode::OK);
    };
    if attempt_of(request.headers()) <= script.fail_attempts {
        return respond(StatusCode::SERVICE_UNAVAILABLE);
    }
    if !matches!(script.act, Act::Upgrade) {
        drain(&mut request).await;
    }
    if script.delay_ms > 0 {
        sleep(Duration::from_millis(script.delay_ms)).await;
    }
    perform(script.act, request).await
}

async fn perform(act: Act, request: Request<Incoming>) -> Answered {
    match act {
        Act::Respond => respond(StatusCode::OK),
        Act::Status(code) => {
            respond(StatusCode::from_u16(code).unwrap_or(StatusCode::NOT_IMPLEMENTED))
        }
        Act::ManyHeaders(more) => {
            let mut response = typed("text/plain", full(Bytes::from_static(b"served\n")));
            for n in 0..more {
                let name = HeaderName::from_bytes(format!("x-more-{n}").as_bytes())
                    .map_err(io::Error::other)?;
                response.headers_mut().insert(name, HeaderValue::from(n));
            }
            Ok(response)
        }
        Act::SlowBody { chunks, every_ms } => {
            Ok(stream("text/plain", move |mut body| async move {
                for _ in 0..chunks {
                    if body
                        .send_data(Bytes::from_static(b"chunk\n"))
                        .await
                        .is_err()
                    {
                        return;
                    }
                    sleep(Duration::from_millis(every_ms)).await;
                }
            }))
        }
        Act::Events { every_ms } => Ok(stream("text/event-stream", move |mut body| async move {
            while body
                .send_data(Bytes::from_static(b"data: tick\n\n"))
                .await
                .is_ok()
            {
                sleep(Duration::from_millis(every_ms)).await;
            }
        })),
        Act::Hang => std::future::pending().await,
        Act::ResetBeforeHeaders => Err(reset()),
        Act::ResetAfterHeaders => Ok(stream("text/plain", |mut body| async move {
            let _ = body.send_data(Bytes::from_static(b"half of")).await;
            // The chunk has to leave before the reset overtakes it.
            sleep(Duration::from_millis(50)).await;
            body.abort(reset());
        })),
        Act::Upgrade => upgrade(request),
        Act::Grpc(status) => Ok(stream("application/grpc", move |mut body| async move {
            let _ = body
                .send(Frame::data(Bytes::from_static(&[0, 0, 0, 0, 0])))
                .await;
            let _ = body.send_trailers(grpc_status(status)).await;
        })),
        Act::GrpcTrailersOnly(status) => {
            let mut response = typed("application/grpc", full(Bytes::new()));
            response.headers_mut().extend(grpc_status(status));
            Ok(response)
        }
    }
}

fn script_of(headers: &HeaderMap) -> Option<Script> {
    serde_json::from_slice(headers.get(SCRIPT_HEADER)?.as_bytes()).ok()
}

/// Which attempt Envoy says this is; over any bound when it does not say.
fn attempt_of(headers: &HeaderMap) -> u64 {
    let attempt = headers
        .get("x-envoy-attempt-count")
        .and_then(|v| v.to_str().ok());
    attempt
        .and_then(|text| text.parse().ok())
        .unwrap_or(u64::MAX)
}

async fn drain(request: &mut Request<Incoming>) {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
}

fn respond(status: StatusCode) -> Answered {
    let mut response = typed("text/plain", full(Bytes::from_static(b"served\n")));
    *response.status_mut() = status;
    Ok(response)
}

fn typed(content: &'static str, body: RequestBody) -> Response<RequestBody> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

fn stream<F>(content: &'static str, write: impl FnOnce(Body) -> F) -> Response<RequestBody>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, body) = Channel::new(1);
    tokio::spawn(write(sender));
    typed(content, body.boxed())
}

fn upgrade(request: Request<Incoming>) -> Answered {
    let protocol = request.headers().get(UPGRADE).cloned();
    tokio::spawn(async move {
        if let Ok(stream) = hyper::upgrade::on(request).await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(stream));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(
        UPGRADE,
        protocol.unwrap_or(HeaderValue::from_static("echo")),
    );
    Ok(response)
}

fn grpc_status(status: u32) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), status.into())])
}

fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the script says so")
}

//! Reading a body within a size and a time.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use bytes::Bytes;
use gaugeway_wire::limits::REQUEST_BYTES;
use http_body_util::BodyExt as _;

use super::refusal::{Reason, Refusal};

/// The whole body, if it fits [`REQUEST_BYTES`] and comes within `timeout`. A body that announces its size is refused
/// before a byte of it is read; others as soon as they pass the bound.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    timeout: Duration,
) -> Result<Bytes, Refusal> {
    let announced = announced(headers);
    if announced.is_some_and(|length| length > REQUEST_BYTES) {
        return Err(too_large());
    }
    match tokio::time::timeout(timeout, collect(body, announced.unwrap_or(0))).await {
        Ok(result) => result,
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            Reason::SlowBody,
            format!("the body did not come within {} s", timeout.as_secs_f32()),
        )),
    }
}

/// `usize::MAX` for a length that does not fit one.
fn announced(headers: &HeaderMap) -> Option<usize> {
    let value = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    Some(value.parse().unwrap_or(usize::MAX))
}

async fn collect(mut body: Body, announced: usize) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                Reason::BrokenBody,
                "the body ended before its announced end",
            )
        })?;
        let Some(data) = frame.data_ref() else {
            continue; // Trailers say nothing to us.
        };
        if bytes.len() + data.len() > REQUEST_BYTES {
            return Err(too_large());
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.into())
}

fn too_large() -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        Reason::TooLarge,
        format!("a body has at most {REQUEST_BYTES} bytes; split the report"),
    )
}

//! The `apis` port: what is asked there, who asks, and what the API server says of them. The laws stand with the code.

use gaugeway_controller::laws;

pub(crate) fn selector(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(laws::selector)
}

pub(crate) fn selectors() -> Vec<Vec<u8>> {
    let texts = [
        "app.kubernetes.io/name == cart, tier in (a,,b) ,!old,weight>10",
        "x notin (a, b),y!=z,in,notin in (in),w<007,v=",
    ];
    texts.map(Vec::from).into()
}

/// `/path?query`.
pub(crate) fn question(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(laws::question)
}

pub(crate) fn questions() -> Vec<Vec<u8>> {
    const VALUES: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop";
    let texts = [
        format!(
            "{VALUES}/services/c%61rt/gaugeway_upstream_requests_per_second?metricLabelSelector=window%3D30s"
        ),
        format!("{VALUES}/pods/*/gaugeway_upstream_concurrency/?labelSelector=app+in+(a,b)"),
        format!("{VALUES}/deployments.apps/%2A/kong_upstream_latency_ms_60s_average"),
        "/api/v1/services?namespace=a&window=30s&namespace=b".to_owned(),
        "/api/v1/services/shop/cart?window=5m".to_owned(),
        "/api/v1/workloads/shop/Deployment/cart".to_owned(),
        "/api/v1/explain/pod/shop/cart-1".to_owned(),
        "/api/v1/explain/address/[::1]:80?gateway=a/b".to_owned(),
    ];
    texts.map(String::into_bytes).into()
}

/// The first byte says which of what there is to be read.
pub(crate) fn callers(bytes: &[u8]) -> bool {
    let Some((kind, rest)) = bytes.split_first() else {
        return false;
    };
    match kind % 4 {
        0 => laws::front_proxy_headers(rest),
        1 => laws::front_proxy_certificate(rest),
        2 => str::from_utf8(rest).is_ok_and(laws::front_proxy_trust),
        _ => str::from_utf8(rest).is_ok_and(laws::token_answer),
    }
}

pub(crate) fn said_of_callers() -> Vec<Vec<u8>> {
    let headers = "x-remote-user: jane\nx-remote-group: dev\nx-remote-group: system:authenticated\nx-remote-uid: 7\n\
        x-remote-extra-example.com%2fscopes: a\nx-remote-extra-: b\nauthorization: Bearer t";
    let trust = r#"{"requestheader-client-ca-file":"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
        "requestheader-allowed-names":"[\"a\"]","requestheader-username-headers":"[\"X-Remote-User\"]"}"#;
    let answer = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","metadata":{},"spec":{},
        "status":{"authenticated":true,"user":{"username":"jane","groups":["dev"],"extra":{"a":["b"]}}}}"#;
    let certificate: &[u8] = &[
        0x30, 0x0e, 0x30, 0x07, 0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x00, 0x30, 0x00, 0x03, 0x01,
        0x00,
    ];
    let seed = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
    vec![
        seed(0, headers.as_bytes()),
        seed(1, certificate),
        seed(2, trust.as_bytes()),
        seed(3, answer.as_bytes()),
    ]
}

pub(crate) fn quantity(bytes: &[u8]) -> bool {
    let bytes = bytes.first_chunk().copied().unwrap_or_default();
    laws::quantity(f64::from_le_bytes(bytes))
}

pub(crate) fn quantities() -> Vec<Vec<u8>> {
    let numbers = [0.0, 0.000_123_4, 1.5, 1234.5, 9e15];
    numbers
        .map(|number: f64| number.to_le_bytes().to_vec())
        .into()
}

//! Laws of what callers send to the `apis` port, and the API server says of them; `fuzz/` feeds them.
//!
//! Each says whether the input got past the first checks.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a law that is broken is to be noticed"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, RawPathParams, RawQuery},
    http::{HeaderMap, HeaderName, HeaderValue, Request, Uri},
    routing::get,
};
use futures::FutureExt as _;
use k8s_openapi::api::authentication::v1::{TokenReview, UserInfo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::{
    callers::{self, FrontProxy},
    custom_metrics::{Attributes, GROUP, Is, Quantity, Question, Selector, Term, Which},
    http, openapi,
};

/// A selector keeps its bounds, and means the same after being written and read again; what is none says why, briefly.
pub fn selector(text: &str) -> bool {
    match Selector::parse(text) {
        Ok(selector) => {
            assert!(selector.terms().len() <= 64);
            let again = written(&selector);
            assert!(again.len() <= text.len(), "{text:?} {again:?}");
            assert_eq!(Selector::parse(&again), Ok(selector), "{again:?}");
            true
        }
        Err(error) => {
            assert!((1..=1024).contains(&error.to_string().len()));
            false
        }
    }
}

/// In the shortest form.
fn written(selector: &Selector) -> String {
    let term = |of: &Term| {
        let key = &of.key;
        let one_or_more = |values: &[String], one: &str, more: &str| match values {
            [value] => format!("{key}{one}{value}"),
            values => {
                assert!((1..=256).contains(&values.len()));
                format!("{key} {more}({})", values.join(","))
            }
        };
        match &of.is {
            Is::In(values) => one_or_more(values, "=", "in"),
            Is::NotIn(values) => one_or_more(values, "!=", "notin"),
            Is::Present => key.clone(),
            Is::Absent => format!("!{key}"),
            Is::Above(bound) => format!("{key}>{bound}"),
            Is::Below(bound) => format!("{key}<{bound}"),
        }
    };
    let terms: Vec<String> = selector.terms().iter().map(term).collect();
    terms.join(",")
}

/// What is answered is what was granted: whoever takes a request apart to serve it sees the same objects in it as who
/// asks the API server about it.
pub fn question(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let Ok(granted) = callers::attributes("GET", uri.path(), uri.query()) else {
        return false;
    };
    let Some(served) = served(uri.clone()) else {
        return false;
    };
    let Attributes::Resource {
        group,
        namespace,
        resource,
        subresource,
        name,
        verb,
        ..
    } = &granted
    else {
        panic!("{uri}: served as {served:?}, granted as {granted:?}");
    };
    let told = [group, verb, namespace, resource, name, subresource];
    assert_eq!(told.map(String::as_str), served.as_strs(), "{uri}");
    true
}

/// What a handler takes out of a request, in the words of authorisation.
#[derive(Debug, Default)]
struct Served {
    group: &'static str,
    verb: &'static str,
    namespace: String,
    resource: String,
    name: String,
    subresource: String,
}

impl Served {
    fn as_strs(&self) -> [&str; 6] {
        let Self {
            group,
            verb,
            namespace,
            resource,
            name,
            subresource,
        } = self;
        [group, verb, namespace, resource, name, subresource]
    }

    /// As the handlers of `/apis` do it.
    fn value(path: &str, query: &[(String, String)]) -> Option<Self> {
        let path: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let query = query.iter().map(|(key, value)| (&**key, &**value));
        let question = Question::parse(&path, query).ok()?;
        Some(Self {
            group: GROUP,
            verb: "get",
            namespace: question.namespace,
            resource: question.resource.as_str().to_owned(),
            name: match question.which {
                Which::One(name) => name,
                Which::All(_) => "*".to_owned(),
            },
            subresource: question.metric.name().to_owned(),
        })
    }

    /// As the handlers of `/api` do it.
    fn signals(pattern: &str, params: &RawPathParams, query: Option<&str>) -> Option<Self> {
        let of: BTreeMap<&str, &str> = params.iter().collect();
        let part = |name: &str| of.get(name).copied().unwrap_or_default().to_owned();
        let resource = match pattern.split('/').nth(3)? {
            "explain" => "explanations",
            resource => resource,
        };
        let is_list = of.is_empty();
        let namespace = match resource {
            "explanations" => part("namespace"),
            _ if is_list => http::narrowed_to(query, resource != "gateways")?,

            _ => part("namespace"),
        };
        Some(Self {
            group: "signals.gaugeway.dev",
            verb: if is_list { "list" } else { "get" },
            namespace,
            resource: resource.to_owned(),
            name: [part("name"), part("address")].concat(),
            subresource: String::new(),
        })
    }
}

type Seen = Arc<Mutex<Option<Served>>>;

/// The paths of both APIs, with handlers that only tell what they were asked.
fn served(uri: Uri) -> Option<Served> {
    let seen = Seen::default();
    let request = Request::builder().uri(uri).body(Body::empty()).ok()?;
    let answered = router(&seen).oneshot(request).now_or_never();
    assert!(answered.is_some(), "nothing is awaited");
    seen.lock().unwrap().take()
}

fn router(seen: &Seen) -> Router {
    let to = Arc::clone(seen);
    let value = async move |Path((_, path)): Path<(String, String)>,
                            Query(query): Query<Vec<(String, String)>>| {
        *to.lock().unwrap() = Served::value(&path, &query);
    };
    let pattern = format!("/apis/{GROUP}/{{version}}/{{*rest}}");
    let mut router = Router::new().route(&pattern, get(value));
    for pattern in patterns() {
        if pattern.ends_with("openapi.json") {
            continue;
        }
        let to = Arc::clone(seen);
        let signals = async move |params: RawPathParams, RawQuery(query): RawQuery| {
            *to.lock().unwrap() = Served::signals(pattern, &params, query.as_deref());
        };
        router = router.route(pattern, get(signals));
    }
    router
}

fn patterns() -> impl Iterator<Item = &'static str> {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    let description = DESCRIPTION.get_or_init(|| {
        let text = openapi().unwrap();
        serde_json::from_str(&text).unwrap()
    });
    let paths = description["paths"].as_object().unwrap();
    paths.keys().map(String::as_str)
}

/// Lines `name: value` beside the front proxy's certificate: who is named stands in the headers for it, whole, and
/// nowhere else.
pub fn front_proxy_headers(bytes: &[u8]) -> bool {
    let headers = headers(bytes);
    let all = |name: &str| {
        let values = headers.get_all(name).iter();
        values.map(|value| value.as_bytes().to_vec()).collect()
    };
    let texts = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
    let (users, groups, uids): (Vec<_>, Vec<_>, Vec<_>) = (
        all("x-remote-user"),
        all("x-remote-group"),
        all("x-remote-uid"),
    );
    match proxy().named(&headers) {
        Ok(Some(UserInfo {
            username,
            groups: named,
            uid,
            extra,
        })) => {
            let username = username.unwrap();
            assert!(!username.is_empty());
            assert_eq!(users.first(), Some(&username.as_bytes().to_vec()));
            assert_eq!(
                uid.as_deref().map(str::as_bytes),
                uids.first()
                    .filter(|uid| !uid.is_empty())
                    .map(Vec::as_slice)
            );
            let mut named: Vec<Vec<u8>> = texts(named.unwrap());
            if named.len() > groups.len() {
                assert_ne!(username, "system:anonymous");
                assert_eq!(named.pop().as_deref(), Some(&b"system:authenticated"[..]));
            }
            assert_eq!(named, groups);
            let values: usize = extra.unwrap().values().map(Vec::len).sum();
            let names = headers.iter().map(|(name, _)| name.as_str());
            let said = names.filter(|name| name.starts_with("x-remote-extra-"));
            assert_eq!(values, said.count());
            true
        }
        Ok(None) => {
            assert!(users.first().is_none_or(Vec::is_empty));
            false
        }
        Err(text) => {
            assert!(!text.is_empty());
            false
        }
    }
}

fn headers(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n').take(100) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// No bytes are the front proxy's certificate: nobody has its authority's key.
pub fn front_proxy_certificate(bytes: &[u8]) -> bool {
    let leaf = CertificateDer::from(bytes);
    let jane = headers(b"x-remote-user: jane");
    let believed = proxy().identify(&[leaf], &jane, UnixTime::now());
    assert!(!believed.unwrap_err().is_empty());
    true
}

/// What a ConfigMap says, as JSON: without an authority nobody is believed, and an entry that cannot be read is named.
pub fn front_proxy_trust(text: &str) -> bool {
    let Ok(data) = serde_json::from_str::<BTreeMap<String, String>>(text) else {
        return false;
    };
    match FrontProxy::parse(&data) {
        Ok(proxy) => {
            let pem = data.get("requestheader-client-ca-file");
            assert_eq!(
                proxy.is_some(),
                pem.is_some_and(|pem| !pem.trim().is_empty())
            );
        }
        Err(error) => assert!(error.starts_with("requestheader-"), "{error}"),
    }
    true
}

/// A token is somebody's only where the API server says so in as many words.
pub fn token_answer(text: &str) -> bool {
    let Ok(answer) = serde_json::from_str::<TokenReview>(text) else {
        return false;
    };
    let status = answer.status.clone().unwrap_or_default();
    let named = callers::named_by(answer);
    let known = status.authenticated == Some(true);
    assert_eq!(named, status.user.filter(|_| known));
    true
}

fn proxy() -> &'static FrontProxy {
    static PROXY: OnceLock<FrontProxy> = OnceLock::new();
    PROXY.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let data = [
            ("requestheader-client-ca-file", issuer.pem().as_str()),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
            (
                "requestheader-extra-headers-prefix",
                r#"["X-Remote-Extra-"]"#,
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        FrontProxy::parse(&data.into()).unwrap().unwrap()
    })
}

/// A number is written in one form, which reads back as near as thousandths are, and is then written the same.
pub fn quantity(number: f64) -> bool {
    let Some(text) = Quantity::of(number).map(|quantity| quantity.to_string()) else {
        assert!(!(0.0..=9.1e15).contains(&number), "{number}");
        return false;
    };
    let again = read(&text);
    let step = if number < 1.0 { 1e-6 } else { 1e-3 };
    assert!(
        (again - number).abs() <= step * 0.6 + number * 1e-15,
        "{number} {text}"
    );
    assert_eq!(Quantity::of(again).map(|q| q.to_string()), Some(text));
    true
}

fn read(text: &str) -> f64 {
    let (digits, suffix) = text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    );
    let power = match suffix {
        "u" => -6,
        "m" => -3,
        "" => 0,
        "k" => 3,
        "M" => 6,
        "G" => 9,
        "T" => 12,
        "P" => 15,
        other => panic!("{text}: {other:?} is no suffix that is used"),
    };
    // Written out, so that it is rounded once.
    format!("{digits}e{power}").parse().unwrap()
}

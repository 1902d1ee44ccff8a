//! Whom the API server's front proxy is known by, and whom it speaks for: pure.
//!
//! As ConfigMap `extension-apiserver-authentication` says it (`k8s.io/apiserver`, `requestheader`).

use std::{collections::BTreeMap, sync::Arc};

use axum::http::HeaderMap;
use k8s_openapi::api::authentication::v1::UserInfo;
use percent_encoding::percent_decode_str;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::tls;

/// Checks client certificates, and reads the headers beside a good one.
#[derive(Clone, Debug)]
pub(crate) struct FrontProxy {
    authority: Arc<dyn ClientCertVerifier>,
    /// Common names; any if empty.
    names: Vec<String>,
    user: Vec<String>,
    uid: Vec<String>,
    groups: Vec<String>,
    /// Beginnings of headers' names, lowercase.
    extra: Vec<String>,
}

impl FrontProxy {
    /// `None` where the API server has no front proxy.
    ///
    /// # Errors
    /// When an entry is not what it should be; the text names it.
    pub(crate) fn parse(data: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        const AUTHORITY: &str = "requestheader-client-ca-file";
        let Some(pem) = data.get(AUTHORITY).filter(|pem| !pem.trim().is_empty()) else {
            return Ok(None);
        };
        let headers = |name: &str| headers(data, name);
        Ok(Some(Self {
            authority: authority(pem).map_err(|error| format!("{AUTHORITY}: {error}"))?,
            names: list(data, "requestheader-allowed-names")?,
            user: headers("requestheader-username-headers")?,
            uid: headers("requestheader-uid-headers")?,
            groups: headers("requestheader-group-headers")?,
            extra: headers("requestheader-extra-headers-prefix")?,
        }))
    }

    /// Whom the proxy speaks for; `None` if it names nobody.
    ///
    /// # Errors
    /// When the certificate is not the proxy's, or a header cannot be read; the text says why.
    pub(crate) fn identify(
        &self,
        shown: &[CertificateDer<'_>],
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Option<UserInfo>, String> {
        self.verify(shown, now)?;
        self.named(headers)
    }

    /// Whom the headers beside a good certificate name.
    pub(crate) fn named(&self, headers: &HeaderMap) -> Result<Option<UserInfo>, String> {
        let Some(username) = first(headers, &self.user)? else {
            return Ok(None);
        };
        let groups = self.groups.iter().flat_map(|name| headers.get_all(name));
        let groups: Result<Vec<_>, _> = groups.map(text).collect();
        Ok(Some(UserInfo {
            groups: Some(with_everybody(groups?, &username)),
            username: Some(username),
            uid: first(headers, &self.uid)?,
            extra: Some(self.extra(headers)?),
        }))
    }

    fn verify(&self, shown: &[CertificateDer<'_>], now: UnixTime) -> Result<(), String> {
        let (leaf, chain) = shown.split_first().ok_or("there is none")?;
        let verified = self.authority.verify_client_cert(leaf, chain, now);
        verified.map_err(|error| error.to_string())?;
        let name = common_name(leaf).ok_or("it has no common name")?;
        if self.names.is_empty() || self.names.contains(&name) {
            return Ok(());
        }
        Err(format!(
            "its common name {name:?} is none of requestheader-allowed-names"
        ))
    }

    fn extra(&self, headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            let mut keys = self.extra.iter();
            let Some(key) = keys.find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()))
            else {
                continue;
            };
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            extra.entry(key).or_default().push(text(value)?);
        }
        Ok(extra)
    }
}

/// Who is known is in the group of all who are, said or not (`AuthenticatedGroupAdder` there). The aggregator itself, who
/// looks for what is served, says no group: refused, it calls the API stale, and no autoscaler finds it.
fn with_everybody(mut groups: Vec<String>, username: &str) -> Vec<String> {
    const KNOWN: &str = "system:authenticated";
    let said = |group: &String| group == KNOWN || group == "system:unauthenticated";
    if username != "system:anonymous" && !groups.iter().any(said) {
        groups.push(KNOWN.to_owned());
    }
    groups
}

fn authority(pem: &str) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in tls::certificates(pem).map_err(|error| format!("{error:#}"))? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build();
    verifier.map_err(|error| error.to_string())
}

/// A list in JSON; empty where there is none.
fn list(data: &BTreeMap<String, String>, name: &str) -> Result<Vec<String>, String> {
    let Some(json) = data.get(name).filter(|json| !json.is_empty()) else {
        return Ok(Vec::new());
    };
    serde_json::from_str(json).map_err(|_| format!("{name} is no list of texts in JSON"))
}

/// Names of headers, or beginnings of them: lowercase, as they are in a request here.
fn headers(data: &BTreeMap<String, String>, name: &str) -> Result<Vec<String>, String> {
    let names = list(data, name)?;
    Ok(names.iter().map(|name| name.to_ascii_lowercase()).collect())
}

/// As Go takes it: the last, if there are several.
fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().last()?;
    Some(name.as_str().ok()?.to_owned())
}

/// The first of the headers that says anything.
fn first(headers: &HeaderMap, names: &[String]) -> Result<Option<String>, String> {
    let values = names.iter().filter_map(|name| headers.get(name));
    let mut said = values.filter(|value| !value.is_empty());
    said.next().map(text).transpose()
}

fn text(value: &axum::http::HeaderValue) -> Result<String, String> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned)
        .map_err(|_| "a header that names the user is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests;

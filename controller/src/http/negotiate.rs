//! What a scraper takes, out of its `accept` and `accept-encoding` headers.
//!
//! An odd header never costs a scrape: what is not understood is passed over, and classic text is the answer to a
//! scraper that names nothing we have.

use axum::http::{HeaderMap, HeaderName, header};
use gaugeway_aggregate::{Encoding, Format};

/// Elements of a header that are looked at; further ones are passed over.
const ELEMENTS: usize = 32;

/// The format that the scraper likes best; of those it likes equally the first it names.
pub(super) fn format(headers: &HeaderMap) -> Format {
    best(headers, &header::ACCEPT, |element| {
        let precise = element.name != "*/*" && element.name != "text/*";
        Some((format_of(element)?, precise))
    })
    .unwrap_or_default()
}

/// Gzip if the scraper takes it.
pub(super) fn encoding(headers: &HeaderMap) -> Encoding {
    best(headers, &header::ACCEPT_ENCODING, |element| {
        match element.name.as_str() {
            "gzip" | "x-gzip" => Some((Encoding::Gzip, true)),
            "identity" => Some((Encoding::Identity, true)),
            _ => None,
        }
    })
    .unwrap_or_default()
}

/// `name;parameter=value;…`, lowercase.
struct Element {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Element {
    fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_owned();
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            Some((name.trim().to_owned(), value.to_owned()))
        };
        Self {
            name,
            parameters: parts.filter_map(parameter).collect(),
        }
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(of, _)| of == name);
        found.map(|(_, value)| value.as_str())
    }

    /// In thousandths, as finely as it can be written; `None` when it is no weight.
    fn weight(&self) -> Option<u16> {
        let Some(text) = self.parameter("q") else {
            return Some(1000);
        };
        let weight: f64 = text.parse().ok()?;
        (0..=1000_u16).rfind(|&of| f64::from(of) <= weight * 1000.0 && weight <= 1.0)
    }
}

fn format_of(element: &Element) -> Option<Format> {
    let is = |name: &str, wanted: &str| element.parameter(name).is_none_or(|of| of == wanted);
    match element.name.as_str() {
        "application/vnd.google.protobuf" => (element.parameter("proto")
            == Some("io.prometheus.client.metricfamily")
            && element.parameter("encoding") == Some("delimited"))
        .then_some(Format::Protobuf),
        "application/openmetrics-text" => is("version", "1.0.0").then_some(Format::OpenMetrics),
        "text/plain" => is("version", "0.0.4").then_some(Format::Text),
        "text/*" | "*/*" => Some(Format::Text),
        _ => None,
    }
}

/// The value with the highest weight, the precise before the wild, the earlier before the later.
fn best<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    value: impl Fn(&Element) -> Option<(T, bool)>,
) -> Option<T> {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut best: Option<((u16, bool), T)> = None;
    for text in lines.flat_map(|line| line.split(',')).take(ELEMENTS) {
        let element = Element::parse(text);
        let weight = element.weight().unwrap_or(0);
        let Some((value, precise)) = value(&element).filter(|_| weight > 0) else {
            continue;
        };
        let rank = (weight, precise);
        if best.as_ref().is_none_or(|(so_far, _)| rank > *so_far) {
            best = Some((rank, value));
        }
    }
    best.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: HeaderName, value: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
        headers
    }

    fn format_for(accept: &str) -> Format {
        format(&headers(header::ACCEPT, accept.as_bytes()))
    }

    #[test]
    fn what_real_scrapers_send() {
        // Prometheus 2.42, without and with native histograms.
        let text = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format_for(text), Format::OpenMetrics);
        let native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
            application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format_for(native), Format::Protobuf);
        // Prometheus 3.
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,\
            text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        assert_eq!(format_for(three), Format::OpenMetrics);
        // curl, a browser, Datadog's default, nothing at all.
        assert_eq!(format_for("*/*"), Format::Text);
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        assert_eq!(format_for(browser), Format::Text);
        assert_eq!(format_for("text/plain"), Format::Text);
        assert_eq!(format_for(""), Format::Text);
    }

    #[test]
    fn weights_decide_then_precision_then_order() {
        let om = "application/openmetrics-text";
        assert_eq!(
            format_for(&format!("{om};q=0.1, text/plain;q=0.2")),
            Format::Text
        );
        assert_eq!(format_for(&format!("*/*, {om}")), Format::OpenMetrics);
        assert_eq!(format_for(&format!("text/plain, {om}")), Format::Text);
        assert_eq!(format_for(&format!("{om};q=0")), Format::Text);
        assert_eq!(format_for(&format!("{om};q=x")), Format::Text);
        assert_eq!(format_for(&format!("{om};version=0.0.1")), Format::Text);
        let text =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text";
        assert_eq!(format_for(text), Format::Text);
    }

    #[test]
    fn gzip_is_used_where_it_is_taken() {
        let encoding = |value: &str| encoding(&headers(header::ACCEPT_ENCODING, value.as_bytes()));
        assert_eq!(encoding("gzip"), Encoding::Gzip);
        assert_eq!(encoding("deflate, GZIP;q=1.0, *;q=0.5"), Encoding::Gzip);
        assert_eq!(encoding("gzip;q=0"), Encoding::Identity);
        assert_eq!(encoding("identity, gzip;q=0.5"), Encoding::Identity);
        assert_eq!(encoding("br, zstd"), Encoding::Identity);
        assert_eq!(encoding(""), Encoding::Identity);
    }

    proptest! {
        #[test]
        fn no_header_breaks_it(value: Vec<u8>) {
            format(&headers(header::ACCEPT, &value));
            encoding(&headers(header::ACCEPT_ENCODING, &value));
        }
    }
}

//! The filter that one would write first, with the SDK alone and with care: latency from headers to headers, the
//! attributes that Gaugeway reads, one Envoy histogram per combination, its name built as Envoy asks for labels
//! (`stats_tags` cut them out of it), metrics defined once and kept.
//!
//! What it lacks beside Gaugeway is what the comparison is not about: Kubernetes names, outcomes, bounds, and
//! freeing of what is gone.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}

/// Metrics by name, for all requests of the VM.
type Metrics = Rc<RefCell<HashMap<String, u32>>>;

#[derive(Default)]
struct Root {
    metrics: Metrics,
}

struct Request {
    metrics: Metrics,
    begin: Option<SystemTime>,
    latency: Option<Duration>,
}

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request {
            metrics: Rc::clone(&self.metrics),
            begin: None,
            latency: None,
        }))
    }
}

impl Context for Request {}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.begin = Some(self.get_current_time());
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.latency = self
            .begin
            .and_then(|begin| self.get_current_time().duration_since(begin).ok());
        Action::Continue
    }

    fn on_log(&mut self) {
        let Some(latency) = self.latency else { return };
        let address = self.text(&["upstream", "address"]);
        let cluster = self.text(&["xds", "cluster_name"]);
        let code = self.number(&["response", "code"]);
        let flags = self.number(&["response", "flags"]);
        let attempts = self.number(&["upstream", "request_attempt_count"]);
        let class = code / 100;
        let name = format!(
            "upstream_latency_us.cluster.{cluster}.address.{address}.class.{class}xx.flags.{flags}.attempts.{attempts}"
        );
        if let Some(metric) = self.metric(name) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            let _ = hostcalls::record_metric(metric, micros);
        }
    }
}

impl Request {
    fn text(&self, path: &[&str]) -> String {
        let value = self.get_property(path.to_vec()).unwrap_or_default();
        String::from_utf8(value).unwrap_or_default()
    }

    fn number(&self, path: &[&str]) -> u64 {
        let value = self.get_property(path.to_vec());
        value
            .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
            .unwrap_or_default()
    }

    fn metric(&self, name: String) -> Option<u32> {
        let mut metrics = self.metrics.borrow_mut();
        if let Some(metric) = metrics.get(&name) {
            return Some(*metric);
        }
        let metric = hostcalls::define_metric(MetricType::Histogram, &name).ok()?;
        metrics.insert(name, metric);
        Some(metric)
    }
}

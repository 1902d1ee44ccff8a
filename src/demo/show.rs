//! The demo's words.

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL};
use serde_json::json;

use super::{
    measure::{Measured, Quantile, Requests, Row},
    scene::Scene,
};

/// The result for people.
pub(super) fn table(measured: &Measured) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL).set_header([
        "Service", "route", "share", "", "requests", "p50 ms", "p95 ms", "p99 ms",
    ]);
    for row in &measured.services {
        table.add_row(service(row));
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let verdict = if measured.passed() {
        "Every request is counted once, on the Service that served it; every quantile agrees with Envoy's own log."
    } else {
        "FAILED: what is marked ✗ differs."
    };
    format!(
        "{table}\nsent {}, failed {}, counted {}. {verdict}\n{NEXT}",
        measured.sent, measured.failed, measured.counted
    )
}

/// One row; its last cells have a line for each witness.
fn service(row: &Row) -> Vec<String> {
    let mark = |ok: bool| if ok { "" } else { "✗ " };
    let quantile = |q: &Quantile| {
        let mark = mark(q.agrees());
        format!(
            "{mark}{:.1}\n{:.1}\n{:.1}",
            q.gaugeway_ms, q.envoy_log_ms, q.injected_ms
        )
    };
    let Requests {
        gaugeway,
        envoy_log,
        server,
    } = row.requests;
    let requests = format!(
        "{}{gaugeway}\n{envoy_log}\n{server}",
        mark(row.requests.agree())
    );
    let witnesses = "Gaugeway\nEnvoy's log\nthe server".to_owned();
    [row.service, row.route, row.share]
        .map(str::to_owned)
        .into_iter()
        .chain([witnesses, requests])
        .chain(row.quantiles.iter().map(quantile))
        .collect()
}

/// The result for machines.
pub(super) fn json(measured: &Measured, scene: &Scene) -> Result<String> {
    let mut value = serde_json::to_value(measured).context("encode the result")?;
    if let Some(object) = value.as_object_mut() {
        object.insert("passed".into(), measured.passed().into());
        object.insert("urls".into(), urls(scene));
    }
    Ok(value.to_string())
}

fn urls(scene: &Scene) -> serde_json::Value {
    json!({
        "gateway": format!("http://{}/checkout", scene.listen()),
        "metrics": format!("http://{}/metrics", scene.ports().metrics),
        "envoy_admin": format!("http://{}/", scene.admin()),
    })
}

/// Where to look once it runs on.
pub(super) fn kept(scene: &Scene) -> String {
    format!(
        "\nStill running; Ctrl-C ends it.\n  \
         curl http://{gateway}/checkout          through Envoy to a Service\n  \
         curl http://{metrics}/metrics           what Prometheus scrapes\n  \
         curl http://{admin}/                    Envoy's admin interface\n  \
         {dir}   manifests (change one!), Envoy's configuration, logs",
        gateway = scene.listen(),
        metrics = scene.ports().metrics,
        admin = scene.admin(),
        dir = scene.dir().display(),
    )
}

const NEXT: &str = "
Where to look next:
  gaugeway demo --keep            leaves it running: metrics, Envoy and manifests to play with
  examples/demo/                  the Kubernetes objects behind it
  gaugeway render envoy --help    the filter for an Envoy of yours
  docs/metrics.md                 every metric and label";

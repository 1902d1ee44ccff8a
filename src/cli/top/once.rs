//! `--once`: a table, or the API's answer as it is.

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{
    answer::{List, State, Window},
    app::{Sort, sorted},
    feed::{self, Feed},
    format,
};
use crate::cli::output::out;

pub(super) async fn print(feed: &Feed, window: Window, sort: Sort, json: bool) -> Result<()> {
    let answer = feed.list(window).await?;
    if json {
        out(&answer)?;
        return out(b"\n");
    }
    out(table(feed::read(&answer)?, sort).as_bytes())
}

fn table(list: List, sort: Sort) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "SERVICE",
            "STATE",
            "RATE",
            "P50",
            "P95",
            "P99",
            "ERRORS",
            "CONCURRENCY",
            "",
        ]);
    for service in sorted(list.services, sort) {
        let signals = &service.signals;
        table.add_row([
            format!("{}/{}", service.namespace, service.name),
            signals.state.as_str().to_owned(),
            format::rate(signals.requests_per_second),
            format::latency(signals.p50()),
            format::latency(signals.p95()),
            format::latency(signals.p99()),
            format::share(signals.error_ratio),
            format::number(signals.concurrency),
            signals.reason.clone().unwrap_or_default(),
        ]);
    }
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.join("\n") + "\n"
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_has_zeros_and_unknown_has_none() {
        let list = r#"{"window": "60s", "services": [
            {"namespace": "shop", "name": "cart", "state": "active", "requestsPerSecond": 12.5, "concurrency": 0.04,
             "errorRatio": 0.01, "latencySeconds": {"average": 0.003, "p50": 0.002, "p90": 0.004, "p95": 0.005, "p99": 1.25}},
            {"namespace": "shop", "name": "pay", "state": "idle", "requestsPerSecond": 0, "concurrency": 0, "errorRatio": 0},
            {"namespace": "bank", "name": "vault", "state": "unknown", "reason": "no policy selects it"}]}"#;
        let shown = table(feed::read(list.as_bytes()).unwrap(), Sort::Rate);
        let lines: Vec<_> = shown
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "SERVICE STATE RATE P50 P95 P99 ERRORS CONCURRENCY",
                "shop/cart active 12.5/s 2.00 ms 5.00 ms 1.25 s 1.00 % 0.04",
                "shop/pay idle 0/s - - - 0 % 0",
                "bank/vault unknown - - - - - - no policy selects it",
            ]
        );
    }
}

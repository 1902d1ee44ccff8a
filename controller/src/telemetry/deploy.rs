//! Metrics of a controller that puts the filter into gateways. Only the leader does: standbys show none of it.

use std::collections::{BTreeMap, BTreeSet};

use gaugeway_operator::deploy::Deployment;
use gaugeway_wire::GatewayName;
use prometheus::{IntCounterVec, IntGaugeVec};

use super::{
    gateways::{MAX_GATEWAYS, OVERFLOW},
    register::Register,
};

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct DeployMetrics {
    /// Rounds, by result.
    rounds: IntCounterVec,
    /// Rounds in which a gateway could not be brought to what is wanted, by reason.
    failures: IntCounterVec,
    /// Writes that succeeded, by kind and what was done.
    pub writes: IntCounterVec,
    /// How each gateway came to its filter.
    gateways: IntGaugeVec,
}

impl DeployMetrics {
    pub(super) fn register(r: &mut Register) -> Result<Self, prometheus::Error> {
        Ok(Self {
            rounds: r.int_counter_vec(
                "gaugeway_deploy_rounds_total",
                "Looks at all gateways whether they carry what policies want, by result (ok, failed: the API server did not say what is there, and nothing was changed).",
                &["result"],
            )?,
            failures: r.int_counter_vec(
                "gaugeway_deploy_failures_total",
                "Rounds in which a gateway with a policy stayed without the filter, per gateway and by the reason in its policies' status.",
                &["reason"],
            )?,
            writes: r.int_counter_vec(
                "gaugeway_deploy_writes_total",
                "Objects written for gateways, by kind and what was done (apply, delete; attach, detach: a plugin's name in a route's annotation).",
                &["kind", "write"],
            )?,
            gateways: r.int_gauge_vec(
                "gaugeway_gateway_deployment",
                "1 for the state of each gateway with a policy: Deployed, PartiallyDeployed, or the reason in its policies' status why it is not. Only the leader shows it.",
                &["gateway", "state"],
            )?,
        })
    }

    /// Counts a round and shows what it came to; `None` when it failed.
    pub fn round(&self, told: Option<&BTreeMap<GatewayName, Deployment>>) {
        let result = if told.is_some() { "ok" } else { "failed" };
        self.rounds.with_label_values(&[result]).inc();
        let Some(told) = told else {
            return;
        };
        for deployment in told.values() {
            if let Deployment::Not { reason, .. } = deployment {
                let failures = self.failures.with_label_values(&[reason.as_str()]);
                failures.inc();
            }
        }
        self.show(told);
    }

    fn show(&self, told: &BTreeMap<GatewayName, Deployment>) {
        let states = told.iter().enumerate().filter_map(|(at, (gateway, d))| {
            let name = if at < MAX_GATEWAYS {
                gateway.as_str()
            } else {
                OVERFLOW
            };
            Some((name, d.state()?))
        });
        self.gateways.reset();
        let shown: BTreeSet<_> = states.collect();
        for (gateway, state) in shown {
            self.gateways.with_label_values(&[gateway, state]).set(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use gaugeway_aggregate::Format;
    use gaugeway_operator::deploy::Reason;

    use super::*;
    use crate::telemetry::Telemetry;

    fn told(of: impl Iterator<Item = (String, Deployment)>) -> BTreeMap<GatewayName, Deployment> {
        of.map(|(name, d)| (GatewayName::try_new(&name).unwrap(), d))
            .collect()
    }

    fn deployed() -> Deployment {
        Deployment::Deployed {
            partly: Vec::new(),
            refused: None,
        }
    }

    #[test]
    fn a_gateway_shows_its_state_only() {
        let t = Telemetry::try_new("0.0.0").unwrap();
        let not = Deployment::Not {
            reason: Reason::NotOurs,
            text: String::new(),
        };
        let of = |d: Deployment| told([("ns/gw".to_owned(), d)].into_iter());
        t.deploy.round(Some(&of(not)));
        t.deploy.round(Some(&of(deployed())));
        t.deploy.round(None);
        let text = String::from_utf8(t.encode(Format::Text).unwrap()).unwrap();
        for line in [
            r#"gaugeway_gateway_deployment{gateway="ns/gw",state="Deployed"} 1"#,
            r#"gaugeway_deploy_failures_total{reason="NotOurs"} 1"#,
            r#"gaugeway_deploy_rounds_total{result="ok"} 2"#,
            r#"gaugeway_deploy_rounds_total{result="failed"} 1"#,
        ] {
            assert!(text.contains(line), "{line}");
        }
        assert!(!text.contains(r#"state="NotOurs""#));
    }

    #[test]
    fn gateways_past_the_bound_share_one_name() {
        let t = Telemetry::try_new("0.0.0").unwrap();
        let many = (0..MAX_GATEWAYS + 10).map(|n| (format!("ns/gw-{n}"), deployed()));
        t.deploy.round(Some(&told(many)));
        let text = String::from_utf8(t.encode(Format::Text).unwrap()).unwrap();
        let lines = text
            .lines()
            .filter(|l| l.starts_with("gaugeway_gateway_deployment{"));
        assert_eq!(lines.count(), MAX_GATEWAYS + 1);
    }
}

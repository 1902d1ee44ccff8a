//! Explanations by table, and what people read of them.

mod gateways;
mod pods_and_addresses;
mod services;

use gaugeway_index::{
    EndpointState, Worker, WorkerFacts,
    explain::{
        AddressFacts, CandidateFacts, EndpointFacts, Form, Owner, PodFacts, RouteUse, Selected,
        ServiceFacts,
    },
};
use gaugeway_operator::deploy::{Deployment, Reason};
use gaugeway_wire::{Nanos, VmId};

use super::{
    Explanation, StepState, Verdict, extension,
    facts::{AddressCase, CountsCase, GatewayCase, PodCase, ReachCase, ReportCase, ServiceCase},
    gateway, pods, service,
};

fn seconds(n: u64) -> Nanos {
    Nanos::from_millis(n * 1000)
}

fn endpoint(address: &str, pod: &str) -> EndpointFacts {
    EndpointFacts {
        address: address.to_owned(),
        pod: Some(pod.to_owned()),
        state: EndpointState::Ready,
        shared_with: Vec::new(),
    }
}

fn used(route: &str, gateway: &str) -> RouteUse {
    RouteUse {
        route: route.to_owned(),
        rule: 0,
        port: Some("80".to_owned()),
        port_exists: true,
        weight: 1,
        gateways: vec![gateway.to_owned()],
        granted: true,
    }
}

fn worker(silent: u64, behind: usize) -> Worker {
    Worker {
        id: VmId([7; 16]),
        silent: seconds(silent),
        behind,
        keys: 3,
    }
}

fn edge() -> GatewayCase {
    GatewayCase {
        name: "shop/edge".to_owned(),
        exists: Some(true),
        policies: Some(vec!["LatencyPolicy shop/all".to_owned()]),
        unusable: Vec::new(),
        deployment: Deployment::Unmanaged,
        workers: WorkerFacts {
            workers: vec![worker(0, 0), worker(1, 0)],
            seen: vec!["10.0.0.1:8080".to_owned()],
        },
        report: Some(ReportCase {
            age: seconds(2),
            overdue: false,
        }),
    }
}

fn by(policies: &[&str]) -> Selected {
    Selected::By(
        policies
            .iter()
            .map(|p| format!("LatencyPolicy {p}"))
            .collect(),
    )
}

/// Everything is in place.
fn cart() -> ServiceCase {
    ServiceCase {
        namespace: "shop".to_owned(),
        name: "cart".to_owned(),
        facts: Some(ServiceFacts {
            is_scraped: false,
            form: Form::ClusterIp,
            ports: vec!["http:80".to_owned()],
        }),
        uses: vec![used("HTTPRoute shop/web", "shop/edge")],
        endpoints: vec![
            endpoint("10.0.0.1:8080", "cart-a"),
            EndpointFacts {
                state: EndpointState::Terminating,
                shared_with: vec!["shop/cart-canary".to_owned()],
                ..endpoint("10.0.0.2:8080", "cart-b")
            },
        ],
        gateways: vec![(edge(), by(&["shop/all", "shop/late"]))],
        counts: CountsCase {
            minute: Some(Ok(1234)),
            series: 3,
            requests: 99_000,
            full: false,
            refusing: Vec::new(),
        },
        only: None,
    }
}

fn changed(change: impl FnOnce(&mut ServiceCase)) -> Explanation {
    let mut case = cart();
    change(&mut case);
    service::explain(&case)
}

#[test]
fn an_extension_is_explained_by_what_became_of_it() {
    use gaugeway_operator::dropin::{Measure, Place, Standing};
    let of = |measure, text: &str, scraped: Option<&str>| Standing {
        id: gaugeway_operator::PolicyId {
            namespace: "shop".to_owned(),
            name: "e".to_owned(),
        },
        control_planes: vec!["shop/cp".to_owned()],
        measure,
        places: vec![Place {
            measure,
            text: text.to_owned(),
        }],
        scraped: scraped.map(str::to_owned),
        ignored: vec!["bandwidth"],
    };
    let told = |standings: &[Standing]| extension::explain("shop", "e", Some(standings));
    for measure in Measure::ALL {
        let explained = told(&[of(measure, "so it is", None)]);
        let good = matches!(measure, Measure::Measured | Measure::Partly);
        assert_eq!(explained.verdict == Verdict::Measured, good, "{explained}");
        assert_eq!(explained.advice.is_none(), good);
        assert!(explained.to_string().contains("so it is"));
    }
    let expected = "\
extension shop/e: measured

✓ named by  ControlPlane shop/cp
✓ measured  Gateway shop/edge: measured
· metric    kong_upstream_latency_ms is off: Service shop/cart has its plugin; two sources would add up
            detach the extension, wait until Kong's operator has taken its KongPlugins away, switch its scraper off, attach the extension again
· config    config.bandwidth is not Gaugeway's: see docs: From DataPlaneMetricsExtension
";
    let both = of(
        Measure::Measured,
        "Gateway shop/edge: measured",
        Some("Service shop/cart has its plugin"),
    );
    assert_eq!(told(&[both]).to_string(), expected);
    assert!(told(&[]).summary.contains("there is no"));
    assert!(
        extension::explain("shop", "e", None)
            .advice
            .unwrap()
            .contains("--kong-metrics-extensions")
    );
}

#[test]
fn an_explanation_survives_json() {
    let explained = changed(|c| c.uses.clear());
    let text = serde_json::to_string(&explained).unwrap();
    assert_eq!(
        serde_json::from_str::<Explanation>(&text).unwrap(),
        explained
    );
    assert!(text.contains(r#""verdict":"notMeasured""#), "{text}");
}

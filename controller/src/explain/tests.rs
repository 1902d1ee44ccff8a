//! Explanations by table, and what people read of them.

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
fn a_measured_service_reads_like_this() {
    let expected = "\
service shop/cart: measured, 1234 requests in the last minute

✓ service    shop/cart, ClusterIP, port http:80
✓ route      reached by shop/edge
             HTTPRoute shop/web rule 0, port 80: of shop/edge
✓ policy     LatencyPolicy shop/all selects it at shop/edge
             LatencyPolicy shop/late selects it too and is younger: overridden
✓ addresses  2 addresses: 1 ready, 1 terminating; 1 shared with other Services, told apart by cluster
             10.0.0.1:8080 cart-a
             10.0.0.2:8080 cart-b, terminating, also of shop/cart-canary
✓ filter     2 workers of shop/edge ask for the mapping and hold it as it is; they have seen 1 address of 2
✓ reports    shop/edge reported 2 s ago
✓ counts     1234 requests in the last minute; 3 series, 99000 requests in all
";
    assert_eq!(service::explain(&cart()).to_string(), expected);
}

#[test]
fn a_refused_route_reads_like_this() {
    let explained = changed(|case| {
        case.uses = vec![RouteUse {
            granted: false,
            ..used("HTTPRoute far/web", "far/edge")
        }];
        case.gateways.clear();
        case.counts = CountsCase {
            minute: Some(Err("no gateway routes to it".to_owned())),
            ..CountsCase::default()
        };
    });
    let expected = "\
service shop/cart: not measured: HTTPRoute far/web is in another namespace and may not send to it
→ create a ReferenceGrant in namespace shop: from kind HTTPRoute of namespace far, to Service cart

✓ service    shop/cart, ClusterIP, port http:80
✗ route      HTTPRoute far/web is in another namespace and may not send to it
             HTTPRoute far/web rule 0, port 80: of far/edge; refused, no ReferenceGrant in namespace shop allows it
✓ addresses  2 addresses: 1 ready, 1 terminating; 1 shared with other Services, told apart by cluster
             10.0.0.1:8080 cart-a
             10.0.0.2:8080 cart-b, terminating, also of shop/cart-canary
";
    assert_eq!(explained.to_string(), expected);
}

#[test]
fn what_is_worth_knowing_is_said_and_breaks_nothing() {
    type Change = fn(&mut ServiceCase);
    let not = |reason| Deployment::Not {
        reason,
        text: "the text".to_owned(),
    };
    let behind = changed(|c| c.gateways[0].0.workers.workers[0] = worker(20, 2));
    assert!(
        behind
            .to_string()
            .contains("; 1 wait for the newest answer"),
        "{behind}"
    );
    for reason in [Reason::Detached, Reason::NotDeployed, Reason::Unsupported] {
        let by_hand = changed(|c| c.gateways[0].0.deployment = not(reason));
        assert_eq!(by_hand.verdict, Verdict::Measured, "{by_hand}");
        assert!(
            by_hand
                .to_string()
                .contains("· deployment  not by the controller: the text"),
            "{by_hand}"
        );
    }
    let table: [(Change, &str); 5] = [
        (
            |c| c.uses[0].weight = 0,
            "· route      reached by shop/edge, with weight 0: no request is sent",
        ),
        (
            |c| c.endpoints[0].state = EndpointState::NotReady,
            "1 not ready, 1 terminating; 1 shared with other Services, told apart by cluster: no request is sent to it",
        ),
        (
            |c| c.facts.as_mut().unwrap().form = Form::Headless,
            "shop/cart, headless, port http:80",
        ),
        (
            |c| {
                c.endpoints.clear();
                c.facts.as_mut().unwrap().form = Form::ExternalName;
            },
            "· addresses  an ExternalName has none",
        ),
        (
            |c| c.gateways[0].1 = Selected::ByDefault,
            "✓ policy     shop/edge has no policy of its own",
        ),
    ];
    for (change, text) in table {
        let explained = changed(change);
        assert_eq!(explained.verdict, Verdict::Measured, "{explained}");
        assert!(explained.to_string().contains(text), "{explained}");
    }
}

/// Each first broken link: what is changed, the verdict's line, what its advice has.
#[test]
fn the_first_broken_link_is_the_verdict() {
    type Change = fn(&mut ServiceCase);
    let table: [(Change, &str, &str); 14] = [
        (
            |c| c.facts = None,
            "not measured: there is no Service shop/cart",
            "spelling",
        ),
        (
            |c| c.uses.clear(),
            "not measured: no route that the controller reads names it",
            "HTTPRoute",
        ),
        (
            |c| c.uses[0].gateways.clear(),
            "not measured: HTTPRoute shop/web names it, and is attached to no gateway",
            "parentRefs",
        ),
        (
            |c| c.uses[0].port_exists = false,
            "not measured: HTTPRoute shop/web sends to port 80, which the Service does not have",
            "http:80",
        ),
        (
            |c| c.gateways[0].1 = by(&[]),
            "not measured: no policy of shop/edge selects it",
            "LatencyPolicy shop/all",
        ),
        (
            |c| c.endpoints.clear(),
            "not measured: no EndpointSlice lists an address of it",
            "kubernetes.io/service-name=cart",
        ),
        (
            |c| c.gateways[0].0.workers = WorkerFacts::default(),
            "not measured: no worker of shop/edge has called: no filter, or no request through it yet",
            "gaugeway render",
        ),
        (
            |c| {
                c.gateways[0].0.workers = WorkerFacts::default();
                c.gateways[0].0.exists = Some(false);
            },
            "not measured: no worker of shop/edge has called: no filter, or no request through it yet",
            "create Gateway shop/edge",
        ),
        (
            |c| {
                c.gateways[0].0.workers = WorkerFacts::default();
                c.gateways[0].0.deployment = Deployment::Not {
                    reason: Reason::WasmNotProven,
                    text: "Pod kong-1 has Kong 3.11".to_owned(),
                };
            },
            "not measured: the filter is not in shop/edge, or not as it should be: WasmNotProven",
            "Pod kong-1 has Kong 3.11",
        ),
        (
            |c| {
                c.gateways[0].0.workers = WorkerFacts::default();
                c.gateways[0].0.deployment = Deployment::Deployed {
                    partly: Vec::new(),
                    refused: None,
                };
            },
            "not measured: no worker of shop/edge has called: no filter, or no request through it yet",
            "its own control plane has not taken the filter",
        ),
        (
            |c| {
                c.gateways[0].0.workers = WorkerFacts::default();
                c.gateways[0].0.deployment = Deployment::Not {
                    reason: Reason::Detached,
                    text: "it comes back without the annotation".to_owned(),
                };
            },
            "not measured: no worker of shop/edge has called: no filter, or no request through it yet",
            "it comes back without the annotation",
        ),
        (
            |c| {
                c.uses.clear();
                c.gateways.clear();
                c.only = Some("shop/inner".to_owned());
            },
            "not measured: no route leads from shop/inner to it",
            "without --gateway",
        ),
        (
            |c| c.gateways[0].0.report = None,
            "not measured: shop/edge has not reported yet",
            "rejected",
        ),
        (
            |c| {
                c.gateways[0].0.report = Some(ReportCase {
                    age: seconds(130),
                    overdue: true,
                });
            },
            "not measured: shop/edge stopped reporting 2 min ago",
            "filters port",
        ),
    ];
    for (change, summary, advice) in table {
        let explained = changed(change);
        assert_eq!(explained.verdict, Verdict::NotMeasured, "{explained}");
        assert_eq!(explained.summary, summary);
        let said = explained.advice.as_deref().unwrap_or_default();
        assert!(said.contains(advice), "{said}");
        let broken = explained
            .steps
            .iter()
            .find(|s| s.state == StepState::Broken);
        assert_eq!(broken.unwrap().advice, explained.advice);
    }
}

#[test]
fn what_is_no_fault_is_none() {
    type Change = fn(&mut ServiceCase);
    let table: [(Change, &str); 7] = [
        (
            |c| c.counts.minute = Some(Ok(0)),
            "measured, idle in the last minute",
        ),
        (
            |c| {
                c.counts = CountsCase {
                    minute: Some(Ok(0)),
                    ..CountsCase::default()
                };
            },
            "measured, as soon as there is a request: none was counted yet",
        ),
        (
            |c| c.counts.minute = Some(Err("not for the whole window yet".to_owned())),
            "measured, 99000 requests so far",
        ),
        (
            |c| c.gateways[0].1 = Selected::ByDefault,
            "measured, 1234 requests in the last minute",
        ),
        (
            |c| c.uses[0].weight = 0,
            "measured, 1234 requests in the last minute",
        ),
        (
            |c| c.endpoints[0].state = EndpointState::NotReady,
            "measured, 1234 requests in the last minute",
        ),
        (
            |c| {
                c.endpoints.clear();
                c.facts.as_mut().unwrap().form = Form::ExternalName;
            },
            "measured, 1234 requests in the last minute",
        ),
    ];
    for (change, summary) in table {
        let explained = changed(change);
        assert_eq!(explained.verdict, Verdict::Measured, "{explained}");
        assert_eq!(
            (explained.summary.as_str(), explained.advice),
            (summary, None)
        );
    }
}

#[test]
fn what_is_not_known_has_no_verdict() {
    let busy = changed(|c| {
        c.counts = CountsCase {
            minute: None,
            ..c.counts.clone()
        }
    });
    assert_eq!(busy.verdict, Verdict::CannotTell);
    assert_eq!(busy.summary, "cannot tell: the ledger did not answer");
    let silent = changed(|c| c.gateways[0].0.workers.workers[0] = worker(50, 2));
    assert_eq!(silent.verdict, Verdict::CannotTell, "{silent}");
    let slow = changed(|c| c.gateways[0].0.workers.workers[0] = worker(20, 2));
    assert_eq!(slow.verdict, Verdict::Measured, "{slow}");
}

#[test]
fn a_full_ledger_breaks_what_has_no_series_yet() {
    let full = |series| {
        changed(move |c| {
            c.counts.full = true;
            c.counts.series = series;
        })
    };
    assert_eq!(full(3).verdict, Verdict::Measured);
    assert_eq!(full(0).verdict, Verdict::NotMeasured);
    assert!(full(0).advice.unwrap().contains("--max-series"));
}

#[test]
fn kongs_operator_beside_us_is_said() {
    let scraped = changed(|c| c.facts.as_mut().unwrap().is_scraped = true);
    assert_eq!(scraped.verdict, Verdict::Measured);
    assert!(
        scraped
            .to_string()
            .contains("kong_upstream_latency_ms is off")
    );
    let by_extension = changed(|c| {
        let (gateway, selected) = &mut c.gateways[0];
        gateway.policies = Some(vec!["DataPlaneMetricsExtension shop/e".to_owned()]);
        gateway.workers.workers.clear();
        *selected = Selected::By(vec![
            "LatencyPolicy shop/all".to_owned(),
            "DataPlaneMetricsExtension shop/e".to_owned(),
        ]);
    });
    assert_eq!(by_extension.verdict, Verdict::NotMeasured);
    let text = by_extension.to_string();
    assert!(text.contains("gaugeway explain extension shop/e"), "{text}");
    assert!(!text.contains("younger"), "{text}");
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
fn a_policy_that_may_make_no_more_series_is_named() {
    let refusing = |series| {
        changed(move |c| {
            c.counts.refusing = vec!["LatencyPolicy shop/all".to_owned()];
            c.counts.series = series;
        })
    };
    let some = refusing(3);
    assert_eq!(some.verdict, Verdict::Measured);
    assert!(some.to_string().contains("has reached its maxSeries"));
    let none = refusing(0);
    assert_eq!(none.verdict, Verdict::NotMeasured);
    assert!(none.summary.contains("LatencyPolicy shop/all"), "{none}");
    assert!(none.advice.unwrap().contains("maxSeries"));
}

#[test]
fn one_of_two_gateways_is_a_part() {
    let explained = changed(|c| {
        let inner = GatewayCase {
            name: "shop/inner".to_owned(),
            workers: WorkerFacts::default(),
            report: None,
            ..edge()
        };
        c.gateways.push((inner, by(&["shop/all"])));
    });
    assert_eq!(explained.verdict, Verdict::NotMeasured);
    assert_eq!(
        explained.summary,
        "measured in part, at 1 of 2 gateways: no worker of shop/inner has called: no filter, or no request through it yet"
    );
}

#[test]
fn a_policy_that_cannot_be_used_is_named_with_why() {
    let explained = changed(|c| {
        let why = "histogram.schema is 9; it is 0 to 5".to_owned();
        c.gateways[0].0.unusable = vec![("LatencyPolicy shop/bad".to_owned(), why)];
    });
    let text = explained.to_string();
    assert!(
        text.contains("LatencyPolicy shop/bad cannot be used: histogram.schema is 9"),
        "{text}"
    );
}

fn pod(services: Vec<ServiceCase>) -> PodCase {
    let name = |c: &ServiceCase| (c.namespace.clone(), c.name.clone());
    PodCase {
        kind: "Pod".to_owned(),
        namespace: "shop".to_owned(),
        name: "cart-a".to_owned(),
        facts: PodFacts {
            exists: true,
            pods: vec!["cart-a".to_owned()],
            workload: Some("Deployment/cart".to_owned()),
            services: services.iter().map(name).collect(),
        },
        services,
    }
}

#[test]
fn a_pod_is_measured_as_one_of_its_services_is() {
    let headless = ServiceCase {
        name: "cart-headless".to_owned(),
        uses: Vec::new(),
        gateways: Vec::new(),
        counts: CountsCase::default(),
        ..cart()
    };
    let explained = pods::explain(&pod(vec![headless.clone(), cart()]));
    assert_eq!(explained.verdict, Verdict::Measured, "{explained}");
    assert_eq!(
        explained.summary,
        "measured, 1234 requests in the last minute, as service shop/cart"
    );
    let text = explained.to_string();
    assert!(text.starts_with("pod shop/cart-a: measured"), "{text}");
    assert!(
        text.contains("· service    service shop/cart-headless: not measured: no route"),
        "{text}"
    );
    assert!(text.contains("shop/cart-a, of Deployment/cart"), "{text}");
    assert_eq!(
        pods::explain(&pod(vec![headless])).verdict,
        Verdict::NotMeasured
    );
}

#[test]
fn a_pod_of_no_service_and_a_workload_without_pods_are_not_measured() {
    let lonely = pods::explain(&pod(Vec::new()));
    assert_eq!(
        lonely.summary,
        "not measured: no Service's EndpointSlice lists it"
    );
    let gone = PodCase {
        kind: "Deployment".to_owned(),
        name: "cart".to_owned(),
        facts: PodFacts::default(),
        ..pod(Vec::new())
    };
    let gone = pods::explain(&gone);
    assert_eq!(
        gone.summary,
        "not measured: there is no Pod of a Deployment shop/cart"
    );
    assert_eq!(gone.subject, "deployment shop/cart");
}

fn address(owners: &[&str], candidates: Vec<CandidateFacts>) -> AddressCase {
    let owner = |name: &&str| Owner {
        namespace: "shop".to_owned(),
        name: (*name).to_owned(),
        port: Some("http".to_owned()),
        pod: Some("cart-a".to_owned()),
    };
    AddressCase {
        address: "10.0.0.1:8080".to_owned(),
        facts: AddressFacts {
            is_address: true,
            owners: owners.iter().map(owner).collect(),
            former: vec!["shop/old".to_owned()],
        },
        told: vec![(edge(), candidates)],
        services: owners.iter().map(|_| cart()).collect(),
    }
}

fn candidate(service: &str, hints: &[&str]) -> CandidateFacts {
    CandidateFacts {
        labels: vec![format!("kubernetes_service={service}")],
        hints: hints.iter().map(|h| (*h).to_owned()).collect(),
    }
}

#[test]
fn an_address_says_who_has_it_and_what_workers_are_told() {
    let one = address(&["cart"], vec![candidate("cart", &[])]);
    let text = pods::explain_address(&one).to_string();
    assert!(
        text.starts_with("address 10.0.0.1:8080: measured, 1234"),
        "{text}"
    );
    assert!(text.contains("shop/cart port http, Pod cart-a\n"), "{text}");
    assert!(text.contains("shop/old had it until lately"), "{text}");
    assert!(
        text.contains("✓ mapping    shop/edge: its workers have seen it\n"),
        "{text}"
    );
    let two = address(
        &["cart", "cart-canary"],
        vec![
            candidate("cart", &["shop/cart", "shop/cart/80"]),
            candidate("cart-canary", &[]),
        ],
    );
    let text = pods::explain_address(&two).to_string();
    assert!(text.contains("by cluster shop/cart and 1 more"), "{text}");
    assert!(text.contains("ambiguous"), "{text}");
    let mut none = address(&[], Vec::new());
    none.services.clear();
    let explained = pods::explain_address(&none);
    assert_eq!(explained.verdict, Verdict::NotMeasured);
    assert_eq!(
        explained.summary,
        "not measured: no Service has the address 10.0.0.1:8080"
    );
}

#[test]
fn a_gateway_says_what_it_reaches_and_selects() {
    let mut case = ReachCase {
        gateway: edge(),
        routes: vec!["HTTPRoute shop/web".to_owned()],
        services: vec![
            ("shop".to_owned(), "cart".to_owned(), by(&["shop/all"])),
            ("shop".to_owned(), "pay".to_owned(), by(&[])),
        ],
    };
    let expected = "\
gateway shop/edge: measured

✓ gateway  shop/edge
✓ routes   1 route to 2 Services
           HTTPRoute shop/web
✓ policy   1 of 2 Services selected by LatencyPolicy shop/all
           shop/cart: LatencyPolicy shop/all
           shop/pay: no policy
✓ filter   2 workers of shop/edge ask for the mapping and hold it as it is
✓ reports  shop/edge reported 2 s ago
";
    assert_eq!(gateway::explain(&case).to_string(), expected);
    case.gateway.exists = Some(false);
    assert_eq!(
        gateway::explain(&case).summary,
        "not measured: there is no gateway shop/edge"
    );
    case.gateway.exists = None;
    case.services.clear();
    assert_eq!(
        gateway::explain(&case).summary,
        "not measured: named by 1 route, none of which leads to a Service"
    );
}

#[test]
fn a_gateway_says_how_it_came_to_its_filter() {
    let explained = |deployment: &Deployment, calls: bool| {
        let mut gateway = edge();
        gateway.deployment = deployment.clone();
        if !calls {
            gateway.workers.workers.clear();
        }
        gateway::explain(&ReachCase {
            gateway,
            routes: vec!["HTTPRoute shop/web".to_owned()],
            services: vec![("shop".to_owned(), "cart".to_owned(), by(&["shop/all"]))],
        })
    };
    let deployed = |partly: &[&str], refused: Option<&str>| Deployment::Deployed {
        partly: partly.iter().map(|p| (*p).to_owned()).collect(),
        refused: refused.map(str::to_owned),
    };
    let whole = explained(&deployed(&["HTTPRoute shop/a is left out"], None), true).to_string();
    assert!(
        whole.contains("✓ deployment  the controller put"),
        "{whole}"
    );
    assert!(whole.contains("HTTPRoute shop/a is left out"), "{whole}");
    let refused = explained(&deployed(&[], Some("is off")), false);
    assert_eq!(refused.advice.as_deref(), Some("is off"));
    let unproven = Deployment::Not {
        reason: Reason::WasmNotProven,
        text: "Pod kong-1: KONG_WASM is not \"on\"".to_owned(),
    };
    let why = explained(&unproven, false);
    assert!(why.summary.contains("WasmNotProven"), "{}", why.summary);
    assert!(why.advice.unwrap().contains("KONG_WASM"));
    // Put there by hand: it is measured all the same.
    assert_eq!(explained(&unproven, true).summary, "measured");
    let off = Deployment::Not {
        reason: Reason::NotDeployed,
        text: "off".to_owned(),
    };
    let off = explained(&off, false);
    assert!(off.summary.contains("no worker"), "{}", off.summary);
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

//! Services.

use super::*;

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

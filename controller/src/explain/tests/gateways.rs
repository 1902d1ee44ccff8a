//! Gateways, and their policies.

use super::*;

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

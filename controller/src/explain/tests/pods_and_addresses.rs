//! Pods, workloads and addresses.

use super::*;

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

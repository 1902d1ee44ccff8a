//! Tests of `parse`.
use super::*;

fn ids(text: &str) -> Vec<String> {
    let parsed = parse(text, Format::Yaml).unwrap();
    parsed.objects.iter().map(|o| o.id().to_string()).collect()
}

fn problem(text: &str) -> Problem {
    let problems = parse(text, Format::Yaml).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].clone()
}

const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: cart
  namespace: shop
spec:
  clusterIP: None
  ports:
  - name: http
    port: 80
    targetPort: web
  - port: 81
    targetPort: 8081
";

const SLICE: &str = "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: cart-1
  labels: {kubernetes.io/service-name: cart}
addressType: IPv4
ports:
- {name: http, port: 8080, protocol: TCP}
endpoints:
- addresses: [10.0.0.1]
  conditions: {ready: true}
  targetRef: {kind: Pod, name: cart-x}
";

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: cart-x
  creationTimestamp: 2026-01-02T03:04:05Z
  ownerReferences:
  - {apiVersion: apps/v1, kind: ReplicaSet, name: cart-1, uid: u, controller: true}
spec:
  containers: []
";

const ROUTE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
spec:
  parentRefs:
  - name: edge
  rules:
  - matches:
    - path: {type: PathPrefix, value: /}
    backendRefs:
    - {name: cart, port: 80, weight: 75}
";

#[test]
fn documents_of_every_kind() {
    let grant = "\
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]
  to: [{group: '', kind: Service}]
";
    let text = format!(
        "# a comment\n---\n{SERVICE}---\n{SLICE}---\n{POD}--- # more\n{ROUTE}---\n{grant}---\n"
    );
    assert_eq!(
        ids(&text),
        [
            "Service shop/cart",
            "EndpointSlice default/cart-1",
            "Pod default/cart-x",
            "HTTPRoute default/web",
            "ReferenceGrant default/g",
        ]
    );
}

#[test]
fn other_kinds_are_ignored_and_counted() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cart}\n---\n\
                apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: cart}\n";
    let parsed = parse(text, Format::Yaml).unwrap();
    assert_eq!((parsed.objects.len(), parsed.ignored), (0, 2));
}

#[test]
fn nothing_is_fine() {
    for text in [
        "",
        "\n",
        "# only a comment\n",
        "---\n",
        "---\n---\n",
        "null\n",
    ] {
        assert_eq!(
            parse(text, Format::Yaml).unwrap(),
            Parsed::default(),
            "{text:?}"
        );
    }
}

#[test]
fn lists_of_both_kinds() {
    let list = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: b}
---
apiVersion: v1
kind: ServiceList
items:
- metadata: {name: c}
";
    assert_eq!(ids(list), ["Service default/a", "Service default/c"]);
}

#[test]
fn json_files() {
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}]}"#;
    let parsed = parse(json, Format::Json).unwrap();
    assert_eq!(parsed.objects[0].id().to_string(), "Pod default/p");
    let problems = parse("{\n\n  \"kind\": }", Format::Json).unwrap_err();
    assert_eq!(problems[0].line, 3);
}

#[test]
fn a_problem_is_told_with_document_and_line() {
    let wrong_type = format!("{POD}---\n{}", SERVICE.replace("port: 81", "port: http"));
    let found = problem(&wrong_type);
    assert_eq!((found.document, found.line), (2, 10 + 12), "{found:?}");
    assert!(!found.message.contains('\n'), "{found:?}");

    let syntax = format!("{POD}---\napiVersion: v1\nkind: Service\nmetadata: [unclosed\n");
    let found = problem(&syntax);
    assert_eq!(found.document, 2);
    assert!((11..=14).contains(&found.line), "{found:?}");

    let no_kind = format!("{POD}---\nname: values\n");
    let found = problem(&no_kind);
    assert_eq!((found.document, found.line), (2, 10));
    assert!(found.message.contains("apiVersion or kind is missing"));

    let in_list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  \
                   metadata: {name: a}\n- apiVersion: v1\n  kind: Service\n  metadata: 7\n";
    assert_eq!(problem(in_list).line, 7);
}

#[test]
fn every_problem_of_a_file_is_told_at_once() {
    let bad = "kind: Service\n---\n".repeat(30);
    assert_eq!(parse(&bad, Format::Yaml).unwrap_err().len(), MAX_PROBLEMS);
}

#[test]
fn which_files_are_read() {
    let of = |name: &str| Format::of(Path::new(name));
    assert_eq!(of("a/b.yaml"), Some(Format::Yaml));
    assert_eq!(of("b.yml"), Some(Format::Yaml));
    assert_eq!(of("b.json"), Some(Format::Json));
    assert_eq!(of("b.yaml~"), None);
    assert_eq!(of("README.md"), None);
}

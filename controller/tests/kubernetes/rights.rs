//! The chart grants what the controller asks for, and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use gaugeway_apiserver::Verb;
use gaugeway_rig::wait::{PATIENCE, until};
use serde::Deserialize;
use serde_json::json;

use crate::{
    cluster::story_with_faults,
    objects::{gateway, policy, service},
    replicas::keeper,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

type Right = (String, String, String);

/// The rules of a helper template: plain YAML between its `define` and its `end`.
fn granted(helper: &str) -> BTreeSet<Right> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/gaugeway");
    let text = fs::read_to_string(chart.join("templates/_helpers.tpl")).unwrap();
    let begin = format!("{{{{- define \"{helper}\" -}}}}\n");
    let (_, rest) = text.split_once(&begin).unwrap();
    let (rules, _) = rest.split_once("{{- end }}").unwrap();
    // Names do not matter to what is counted here.
    let rules: String = rules
        .lines()
        .filter(|l| !l.contains("resourceNames"))
        .map(|l| format!("{l}\n"))
        .collect();
    let rules = rules.as_str();
    let rules: Vec<Granted> = serde_saphyr::from_str(rules).unwrap();
    let each = |rule: Granted| {
        let mut rights = Vec::new();
        for group in &rule.api_groups {
            for resource in &rule.resources {
                for verb in &rule.verbs {
                    rights.push((verb.clone(), group.clone(), resource.clone()));
                }
            }
        }
        rights
    };
    rules.into_iter().flat_map(each).collect()
}

#[tokio::test]
async fn every_right_that_is_used_is_granted_and_every_grant_is_used() {
    story_with_faults(async |cluster| {
        cluster.define_routes().await;
        cluster.define_policies().await;
        cluster.apply(&gateway("edge")).await;
        cluster.apply(&service("cart")).await;
        cluster.apply(&policy("p", "edge", &json!({}))).await;
        let set_up = cluster.double().requests().len();
        let mut expected = granted("gaugeway.rules");
        for helper in [
            "gaugeway.clusterRules",
            "gaugeway.leaseRules",
            "gaugeway.secretRules",
        ] {
            expected.extend(granted(helper));
        }
        let stage = keeper(&cluster, "a").await;
        until("every right is used", PATIENCE, || async {
            let used: BTreeSet<Right> = cluster
                .double()
                .requests()
                .split_off(set_up)
                .into_iter()
                // What there is may be asked by whoever can log in.
                .filter(|r| r.verb != Verb::Discover)
                .map(|r| {
                    let resource = match r.subresource.as_str() {
                        "" => r.resource,
                        part => format!("{}/{part}", r.resource),
                    };
                    (r.verb.as_str().to_owned(), r.group, resource)
                })
                .collect();
            let missing: Vec<_> = used.difference(&expected).collect();
            assert!(missing.is_empty(), "used and not granted: {missing:?}");
            let idle: Vec<_> = expected.difference(&used).collect();
            anyhow::ensure!(idle.is_empty(), "granted and not used: {idle:?}");
            Ok(())
        })
        .await
        .unwrap();
        stage.stop().await;
    })
    .await;
}

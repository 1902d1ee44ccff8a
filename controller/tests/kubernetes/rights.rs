//! The chart grants what the controller asks for, and nothing else.

use std::{collections::BTreeSet, fs, path::Path};

use gaugeway_apiserver::Verb;
use gaugeway_rig::wait::{PATIENCE, until};
use serde_json::{Value, json};

use crate::{
    cluster::story_with_faults,
    objects::{gateway, policy, service},
    replicas::keeper,
};

/// Verb, group, resource with its subresource.
type Right = (String, String, String);

/// What the chart's Roles and ClusterRoles grant, by its reviewed renders: `tests/chart/golden.rs` holds them to what the
/// chart renders. Names of objects do not matter to what is counted here.
fn granted() -> BTreeSet<Right> {
    let renders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/chart/golden");
    let mut rights = BTreeSet::new();
    for file in fs::read_dir(renders).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let rules = objects
            .iter()
            .filter(|o| o["kind"] == "Role" || o["kind"] == "ClusterRole")
            .flat_map(|role| role["rules"].as_array().unwrap());
        rules.for_each(|rule| rights.extend(of_rule(rule)));
    }
    rights
}

fn of_rule(rule: &Value) -> Vec<Right> {
    let words = |name: &str| -> Vec<String> {
        let all = rule[name].as_array().unwrap().iter();
        all.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in words("verbs") {
                rights.push((verb, group.clone(), resource.clone()));
            }
        }
    }
    rights
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
        let expected = granted();
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

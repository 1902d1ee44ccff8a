//! Keys rotate without a restart.

use std::fs;

use gaugeway_controller::auth::{Keys, new_key};
use gaugeway_wire::GatewayName;

use crate::scene::{GATEWAY, Scene};

async fn status(scene: &Scene, token: &str) -> u16 {
    let answer = scene
        .call_as(GATEWAY, token, "/v1/report", Vec::new())
        .await;
    answer.unwrap().status
}

#[tokio::test]
async fn a_rotation_refuses_nobody_who_keeps_up() {
    let scene = Scene::start().await;
    let file = scene.dir.path().join("key");
    let old_key = fs::read_to_string(&file).unwrap();
    let new_key = new_key().unwrap();
    let old = scene.token(GATEWAY);
    let gateway = GatewayName::try_new(GATEWAY).unwrap();
    let new = Keys::parse(&new_key)
        .unwrap()
        .token(&gateway)
        .as_str()
        .to_owned();
    let reads = "gaugeway_token_key_reads_total";
    assert_eq!(
        (status(&scene, &old).await, status(&scene, &new).await),
        (200, 401)
    );

    fs::write(&file, format!("{new_key}\n{old_key}\n")).unwrap();
    scene.until_metric(reads, &[("result", "ok")], 2.0).await;
    assert_eq!(
        (status(&scene, &old).await, status(&scene, &new).await),
        (200, 200)
    );

    // Half a key: the last good keys stay in force.
    fs::write(&file, &new_key[..10]).unwrap();
    scene.until_metric(reads, &[("result", "error")], 1.0).await;
    assert_eq!(
        (status(&scene, &old).await, status(&scene, &new).await),
        (200, 200)
    );

    fs::write(&file, &new_key).unwrap();
    scene.until_metric(reads, &[("result", "ok")], 3.0).await;
    assert_eq!(
        (status(&scene, &old).await, status(&scene, &new).await),
        (401, 200)
    );
}

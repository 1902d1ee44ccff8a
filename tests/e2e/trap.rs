//! A VM that traps: the filter is gone from one worker, its gateway's traffic is not.
//!
//! The module is the one that ships, with one thing added after the build: a response of more headers than any other
//! here runs into an `unreachable`.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Act, Client, Cluster, EnvoyOptions, Gateway, GatewayConfig, Load, Route, Script, Upstream,
    client::Request,
};
use walrus::{InstrSeqBuilder, Module, ir};

use crate::{
    counts::Counts,
    manifests::{Manifests, cluster_name},
    stage::Stage,
};

const SERVICE: &str = "backend";
/// An answer with this many headers, or more, traps.
const DEADLY: i32 = 32;

/// `wasm` with a trap in front of its entry point for response headers.
fn with_trap(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::from_buffer(wasm)?;
    let entry = module.exports.get_func("proxy_on_response_headers")?;
    let function = module.funcs.get_mut(entry).kind.unwrap_local_mut();
    let local = *function.args.get(1).context("the count of headers")?;
    let mut body = function.builder_mut().func_body();
    body.instr_at(0, ir::LocalGet { local });
    let value = ir::Value::I32(DEADLY);
    body.instr_at(1, ir::Const { value });
    let op = ir::BinaryOp::I32GeS;
    body.instr_at(2, ir::Binop { op });
    let trap = |then: &mut InstrSeqBuilder<'_>| {
        then.unreachable();
    };
    body.if_else_at(3, None, trap, |_| {});
    Ok(module.emit_wasm())
}

#[tokio::test]
async fn a_trap_ends_the_filter_and_no_traffic() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let pods = [("backend-1", upstream.address())];
    let Some(stage) = Stage::start(|m: &Manifests| m.service(SERVICE, &pods)).await? else {
        return Ok(());
    };
    stage.rewrite_module(with_trap)?;
    let config = stage.with_filter(GatewayConfig {
        clusters: vec![Cluster::new(&cluster_name(SERVICE), [upstream.address()])],
        routes: vec![Route::to("/", &cluster_name(SERVICE))],
        ..GatewayConfig::default()
    });
    let mut gateway = Gateway::start(&config, &EnvoyOptions::default()).await?;
    let address = gateway.address();
    let load = |total| Load {
        client: Client::unpooled(address),
        total,
        concurrency: 8,
        rate: None,
        request: Arc::new(|_| Request::get("/")),
    };
    let before = load(200).start().finish().await?;
    assert_eq!(before.status(200), 200, "{before:?}");
    // All of it is acknowledged before the VM dies.
    let counted = Counts::responses("2xx", 200);
    stage.expect_all(&[(SERVICE, counted.clone())]).await?;

    let deadly = Request::get("/").script(&Script::act(Act::ManyHeaders(64)));
    let killed = gateway.client().send(deadly).await;
    ensure!(
        killed.as_ref().map_or(true, |answer| answer.status >= 500),
        "the VM did not trap: {killed:?}"
    );
    let after = load(200).start().finish().await?;
    assert_eq!((after.status(200), after.failed), (200, 0), "{after:?}");
    // What was counted stays, what no filter saw is not made up.
    let page = stage.controller.scrape().await?;
    Counts::of(&page, SERVICE).must_be(&counted)?;

    // Configured anew (another VM), it counts again, and the totals go on.
    let mut config = config;
    for filter in &mut config.filters {
        filter.vm_id = "another".into();
    }
    gateway.apply(&config).await?;
    let again = load(100).start().finish().await?;
    assert_eq!((again.status(200), again.failed), (100, 0), "{again:?}");
    stage
        .expect_all(&[(SERVICE, Counts::responses("2xx", 300))])
        .await?;
    Ok(())
}

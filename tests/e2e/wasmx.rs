//! Kong's module in a real WasmX: nginx with ngx_wasm_module, which is what Kong's workers are underneath.
//!
//! No package brings such an nginx, so these stories run where `NGINX_WASM_BIN` names one, and are skipped, loudly,
//! elsewhere. What Kong itself adds is not in them: `kong.*` attributes, plans made and collected by Lua, its error pages
//! but for a location that stands for them.

use std::{
    env, fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Act, Client, Controller, ControllerOptions, Exposition, Load, LoadReport, ReservedPort, Script,
    Upstream,
    client::Request,
    controller,
    process::{Process, Signal},
    wait::{PATIENCE, until},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::timeout,
};

use crate::{
    counts::{Counts, whole},
    manifests::{GATEWAY, Manifests, NAMESPACE},
    stage::gaugeway,
};

/// Names the program.
const VARIABLE: &str = "NGINX_WASM_BIN";
const WORKERS: u64 = 2;
/// Two report intervals, and the pauses after calls that failed.
const LATE: Duration = Duration::from_secs(120);
/// Filter configurations beside the named ones.
const ROUTES: u64 = 50;
/// After which nginx gives up on an upstream.
const TIMEOUT_MS: u64 = 300;

/// One nginx with the filter, before one controller.
struct Play {
    controller: Controller,
    nginx: Nginx,
    client: Client,
    _app: Upstream,
    _ports: [ReservedPort; 4],
    _dir: TempDir,
}

/// Ends with its workers: those of a master that was killed would live on.
struct Nginx {
    process: Process,
    log: PathBuf,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master passes it on, and ends after them.
        let _ = self.process.signal(Signal::TERM);
        while self.process.check_alive().is_ok() {
            std::thread::yield_now();
        }
    }
}

impl Nginx {
    async fn start(program: &Path, dir: &Path, config: &str) -> Result<Self> {
        let file = dir.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(program);
        command
            .args(["-e", "stderr", "-p"])
            .arg(dir)
            .arg("-c")
            .arg(&file);
        let log = dir.join("nginx.log");
        let process = Process::spawn("nginx", command, &log)?;
        let mut nginx = Self { process, log };
        let ready = || async { modules_loaded(&nginx.log, WORKERS) };
        nginx
            .process
            .until("the workers have the module", PATIENCE, ready)
            .await?;
        Ok(nginx)
    }

    /// Errs when a worker has died, or a root has trapped.
    fn is_well(&mut self) -> Result<()> {
        self.process.check_alive()?;
        let log = fs::read_to_string(&self.log)?;
        for sign in ["exited on signal", "trap", "[emerg]", "[alert]"] {
            ensure!(!log.contains(sign), "{sign}: {}", self.process.log_tail());
        }
        Ok(())
    }
}

fn modules_loaded(log: &Path, times: u64) -> Result<()> {
    let log = fs::read_to_string(log)?;
    let loaded = log
        .matches("successfully loaded \"gaugeway\" module")
        .count();
    ensure!(loaded as u64 >= times, "{loaded} of {times}");
    Ok(())
}

impl Play {
    /// `None` where there is no nginx to test with.
    async fn start() -> Result<Option<Self>> {
        let Some(program) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
            // Straight to stderr: the test harness would keep what is printed to itself.
            writeln!(
                std::io::stderr(),
                "SKIPPED a test: set {VARIABLE} to an nginx with ngx_wasm_module"
            )?;
            return Ok(None);
        };
        let dir = tempfile::Builder::new().prefix("gaugeway-e2e-").tempdir()?;
        let app = Upstream::instant().await?;
        let ports = [
            ReservedPort::new()?,
            ReservedPort::new()?,
            ReservedPort::new()?,
            ReservedPort::new()?,
        ];
        let [listen, dead @ ..] = ports.each_ref().map(ReservedPort::address);
        let manifests = Manifests::new(&dir.path().join("manifests"));
        manifests.service("app", &[("app-1", app.address())]);
        manifests.service("retried", &[("retried-1", dead[0])]);
        manifests.service("down", &[("down-1", dead[1]), ("down-2", dead[2])]);
        let controller = Controller::start(
            dir.path(),
            ControllerOptions {
                kubeconfig: None,
                binary: gaugeway(),
                manifests: manifests.dir().to_owned(),
                keep_state: true,
                arguments: vec!["--log-format".to_owned(), "text".to_owned()],
            },
        )
        .await?;
        write_module(dir.path()).await?;
        let filters = controller.ports().filters;
        let config = nginx_config(dir.path(), listen, filters, app.address(), dead);
        let nginx = Nginx::start(Path::new(&program), dir.path(), &config).await?;
        Ok(Some(Self {
            controller,
            nginx,
            client: Client::unpooled(listen),
            _app: app,
            _ports: ports,
            _dir: dir,
        }))
    }

    async fn send(&self, times: u64, path: &str, act: Act, status: u16) -> Result<()> {
        for _ in 0..times {
            let request = Request::get(path).script(&Script::act(act.clone()));
            let answer = self.client.send(request).await?;
            ensure!(answer.status == status, "{path}: {}", answer.status);
        }
        Ok(())
    }

    /// Waits until these Services have exactly these counts and nothing else is counted.
    async fn expect(&mut self, expected: &[(&str, Counts)]) -> Result<Exposition> {
        let check = |page: &Exposition| -> Result<()> {
            for (service, counts) in expected {
                let seen = Counts::of(page, service);
                seen.must_be(counts)
                    .with_context(|| (*service).to_owned())?;
            }
            let all = Counts::read(page, &[]).total();
            let named: u64 = expected.iter().map(|(_, counts)| counts.total()).sum();
            ensure!(all == named, "{all} requests in all, {named} expected");
            Ok(())
        };
        let look = || async {
            let page = self.controller.scrape().await?;
            check(&page)?;
            Ok(page)
        };
        let page = until("the expected counts", LATE, look).await;
        self.nginx.is_well()?;
        page
    }
}

async fn write_module(to: &Path) -> Result<()> {
    let output = Command::new(gaugeway())
        .args(["filter", "--host", "kong", "--output"])
        .arg(to)
        .output()
        .await?;
    ensure!(output.status.success(), "gaugeway filter: {output:?}");
    Ok(())
}

fn nginx_config(
    dir: &Path,
    listen: SocketAddr,
    filters: SocketAddr,
    app: SocketAddr,
    [retried, first, second]: [SocketAddr; 3],
) -> String {
    let configured = |more: Value| {
        let mut filter = json!({
            "gateway": GATEWAY,
            "controller": filters.to_string(),
            "token": controller::token(GATEWAY),
        });
        let (Some(all), Value::Object(more)) = (filter.as_object_mut(), more) else {
            return String::new();
        };
        all.extend(more);
        format!("proxy_wasm gaugeway '{filter}';")
    };
    let of = |service: &str| {
        configured(
            json!({"identity": {"namespace": NAMESPACE, "service": service}, "timeout_ms": TIMEOUT_MS}),
        )
    };
    let location = |path: &str, filter: &str, more: &str, upstream: &str| {
        format!("location /{path} {{ {filter} {more} proxy_pass http://{upstream}; }}\n")
    };
    let kong = "error_page 502 503 504 /kong_error_handler;";
    let mut locations = [
        location("app", &of("app"), "", "app"),
        location("retried", &of("retried"), "", "retried"),
        location("down", &of("down"), "", "down"),
        location("kong/app", &of("app"), kong, "app"),
        location("kong/down", &of("down"), kong, "down"),
    ]
    .concat();
    for n in 0..ROUTES {
        let route = configured(json!({
            "identity": {"namespace": NAMESPACE, "service": "app", "route": format!("route-{n}")},
        }));
        locations += &location(&format!("route-{n}/"), &route, "", "app");
    }
    let dir = dir.display();
    format!(
        "daemon off; user root root; worker_processes {WORKERS}; pid {dir}/nginx.pid; error_log stderr info;
events {{ worker_connections 1024; }}
wasm {{ module gaugeway {dir}/gaugeway.wasm; }}
http {{
access_log off; client_body_temp_path {dir}/bodies; proxy_temp_path {dir}/answers; client_max_body_size 16m;
proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_read_timeout {TIMEOUT_MS}ms;
upstream app {{ server {app}; keepalive 8; }}
upstream retried {{ server {retried} max_fails=0; server {app} backup max_fails=0; }}
upstream down {{ server {first} max_fails=0; server {second} backup max_fails=0; }}
server {{ listen {listen} reuseport;
location = /kong_error_handler {{ internal; return 200; }}
{locations} }}
}}"
    )
}

macro_rules! play {
    () => {
        match Play::start().await? {
            Some(play) => play,
            None => return Ok(()),
        }
    };
}

#[tokio::test]
async fn every_try_counts_once_at_its_own_address() -> Result<()> {
    let mut play = play!();
    play.send(200, "/app", Act::Respond, 200).await?;
    play.send(4, "/app", Act::Status(503), 503).await?;
    play.send(3, "/app", Act::Hang, 504).await?;
    play.send(2, "/app", Act::ResetBeforeHeaders, 502).await?;
    play.send(20, "/retried", Act::Respond, 200).await?;
    play.send(10, "/down", Act::Respond, 502).await?;
    // As in Kong, whose own errors never come to the filter but for their end.
    play.send(3, "/kong/app", Act::Hang, 504).await?;
    play.send(2, "/kong/app", Act::ResetBeforeHeaders, 502)
        .await?;
    play.send(5, "/kong/down", Act::Respond, 502).await?;
    play.send(4, "/kong/app", Act::Status(503), 503).await?;
    for n in 0..ROUTES {
        play.send(1, &format!("/route-{n}/"), Act::Respond, 200)
            .await?;
    }
    let large = Request::post("/app", vec![b'x'; 8 << 20]);
    ensure!(play.client.send(large).await?.status == 200);
    old_client(play.client.address()).await?;
    leave_before_headers(&play.client).await?;
    leave_in_the_body(&play.client).await?;
    // The Pod of `app` answers those of `retried`, too.
    let app = Counts::default()
        .and("response", "2xx", 200 + 20 + ROUTES + 3)
        .and("response", "5xx", 8)
        .and("timeout", "5xx", 6)
        .and("reset", "5xx", 4)
        .and("cancelled", "none", 1);
    let latencies = 200 + ROUTES + 3 + 20 + 8 + 6;
    let down = Counts::only("connect_failure", "none", 10)
        .and("connect_failure", "5xx", 10)
        .and("reset", "5xx", 5);
    let page = play
        .expect(&[
            ("app", app.latencies(latencies).retries(20).aborted(1)),
            ("retried", Counts::only("connect_failure", "none", 20)),
            ("down", down.retries(10)),
        ])
        .await?;
    let vms = page.sum("gaugeway_worker_vms", &[]);
    ensure!(whole(vms) == WORKERS, "{vms} workers report");
    Ok(())
}

/// HTTP/1.0, without a `Host`.
async fn old_client(at: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(at).await?;
    stream.write_all(b"GET /app HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}

async fn leave_before_headers(client: &Client) -> Result<()> {
    let slow = Script::delay(Duration::from_millis(TIMEOUT_MS / 2));
    let waiting = client.open(Request::get("/app").script(&slow));
    ensure!(
        timeout(Duration::from_millis(TIMEOUT_MS / 6), waiting)
            .await
            .is_err()
    );
    Ok(())
}

async fn leave_in_the_body(client: &Client) -> Result<()> {
    let events = Script::act(Act::Events { every_ms: 20 });
    let mut response = client.open(Request::get("/app").script(&events)).await?;
    response.body_mut().frame().await.context("no event")??;
    Ok(())
}

/// More than one report waits for a controller that comes back. In WasmX a call that leaves in the answer to another one
/// ends the worker.
#[tokio::test]
async fn a_controller_that_was_away_gets_all_that_was_counted() -> Result<()> {
    let mut play = play!();
    play.send(10, "/app", Act::Respond, 200).await?;
    play.expect(&[("app", Counts::responses("2xx", 10))])
        .await?;
    play.controller.kill().await?;
    let running = Load {
        client: play.client.clone(),
        total: u64::MAX,
        concurrency: 4,
        rate: Some(200.0),
        request: std::sync::Arc::new(|_| Request::get("/app")),
    }
    .start();
    let log = play.nginx.log.clone();
    until("calls fail", LATE, || async {
        let complaints = fs::read_to_string(&log)?
            .matches("gaugeway: gateway")
            .count();
        ensure!(complaints >= 1, "none yet");
        Ok(())
    })
    .await?;
    play.controller.restart().await?;
    until("calls are answered", LATE, || async {
        ensure!(
            fs::read_to_string(&log)?.contains("the controller answers"),
            "not yet"
        );
        Ok(())
    })
    .await?;
    running.stop();
    let LoadReport { sent, failed, .. } = running.finish().await?;
    ensure!(failed == 0, "{failed} requests failed");
    play.expect(&[("app", Counts::responses("2xx", 10 + sent))])
        .await?;
    Ok(())
}

#[tokio::test]
async fn after_a_reload_new_workers_go_on() -> Result<()> {
    let mut play = play!();
    play.send(100, "/app", Act::Respond, 200).await?;
    play.expect(&[("app", Counts::responses("2xx", 100))])
        .await?;
    play.nginx.process.signal(Signal::HUP)?;
    let log = play.nginx.log.clone();
    let loaded = || async { modules_loaded(&log, 2 * WORKERS) };
    until("new workers have the module", PATIENCE, loaded).await?;
    play.send(100, "/app", Act::Respond, 200).await?;
    play.expect(&[("app", Counts::responses("2xx", 200))])
        .await?;
    Ok(())
}

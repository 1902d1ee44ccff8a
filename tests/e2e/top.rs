//! `gaugeway top` in a terminal, against a running controller: what it shows, and that it leaves the terminal as it was.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result, ensure};
use gaugeway_rig::{
    Cluster, GatewayConfig, Load, Route, Upstream,
    client::Request,
    wait::{PATIENCE, until},
};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::{
    manifests::{GATEWAY, cluster_name},
    stage::{Stage, gaugeway},
};

/// Leaves what full-screen programs draw on.
const LEAVES: &str = "\x1b[?1049l";

const fn size_of(columns: u16) -> Winsize {
    Winsize {
        ws_row: 30,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// A program in a terminal of 100 columns.
struct InTerminal {
    program: Child,
    keys: File,
    written: Arc<Mutex<Vec<u8>>>,
}

impl InTerminal {
    fn start(mut command: Command) -> Result<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        tcsetwinsize(&terminal, size_of(100))?;
        let path = ptsname(&terminal, Vec::new())?.into_string()?;
        let open = || File::options().read(true).write(true).open(&path);
        let program = command
            .stdin(Stdio::from(open()?))
            .stdout(Stdio::from(open()?))
            .stderr(Stdio::from(open()?))
            .kill_on_drop(true)
            .spawn()?;
        let mut screen = File::from(terminal);
        let keys = screen.try_clone()?;
        let written = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&written);
        // Ends with the terminal.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Self {
            program,
            keys,
            written,
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    async fn until_shown(&self, words: &str) -> Result<()> {
        until(words, PATIENCE, || async {
            ensure!(self.text().contains(words), "{:?}", self.text());
            Ok(())
        })
        .await
    }

    /// Forgets what was written so far.
    fn forget(&self) {
        self.written.lock().unwrap().clear();
    }

    /// Gives the terminal so many columns, as a window that is drawn smaller.
    fn resize(&self, columns: u16) -> Result<()> {
        tcsetwinsize(&self.keys, size_of(columns))?;
        self.signal(Signal::WINCH)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.program.id().context("it has ended")?;
        let pid = Pid::from_raw(i32::try_from(pid)?).context("pid")?;
        Ok(kill_process(pid, signal)?)
    }

    async fn ended(&mut self) -> Result<()> {
        let status = tokio::time::timeout(PATIENCE, self.program.wait()).await??;
        ensure!(status.success(), "{status}");
        self.until_shown(LEAVES).await
    }
}

fn top(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(gaugeway());
    command.arg("top").args(["--url", url]).args(arguments);
    command.env("TERM", "xterm-256color");
    command
}

#[tokio::test]
async fn traffic_is_shown_and_opened_in_any_size() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let address = upstream.address();
    let Some(stage) = Stage::start(|m| m.service("cart", &[("cart-1", address)])).await? else {
        return Ok(());
    };
    let config = GatewayConfig {
        clusters: vec![Cluster::new(&cluster_name("cart"), [address])],
        routes: vec![Route::to("/", &cluster_name("cart"))],
        ..GatewayConfig::default()
    };
    let gateway = stage.gateway(config).await?;
    let load = Load {
        client: gateway.client(),
        total: u64::MAX,
        concurrency: 1,
        rate: Some(50.0),
        request: Arc::new(|_| Request::get("/")),
    };
    let load = load.start();
    let url = format!("http://{}", stage.controller.ports().api);
    let mut shown = InTerminal::start(top(&url, &["--interval", "500ms", "--window", "15s"]))?;
    // Only what changes is written, word by word: no longer "unknown".
    for word in ["active", "/s"] {
        shown.until_shown(word).await?;
    }
    shown.keys.write_all(b"\r")?;
    for inside in ["cart-1", GATEWAY] {
        shown.until_shown(inside).await?;
    }
    shown.forget();
    shown.resize(60)?;
    shown.until_shown("SERVICE").await?;
    ensure!(!shown.text().contains("P50"), "{:?}", shown.text());
    load.stop();
    load.finish().await?;
    shown.keys.write_all(b"q")?;
    shown.ended().await
}

#[tokio::test]
async fn a_terminal_shows_services_and_is_left_as_it_was() -> Result<()> {
    let upstream = Upstream::instant().await?;
    let address = upstream.address();
    let Some(mut stage) = Stage::start(|m| m.service("cart", &[("cart-1", address)])).await? else {
        return Ok(());
    };
    let url = format!("http://{}", stage.controller.ports().api);
    let top = |arguments: &[&str]| top(&url, arguments);
    let mut shown = InTerminal::start(top(&["--interval", "500ms"]))?;
    shown.until_shown("shop/cart").await?;
    // Only what changes is written, word by word.
    shown.until_shown("unknown:").await?;
    shown.keys.write_all(b"w")?;
    shown.until_shown("5m").await?;
    shown.keys.write_all(b"q")?;
    shown.ended().await?;

    let mut told = InTerminal::start(top(&[]))?;
    told.until_shown("shop/cart").await?;
    told.signal(Signal::TERM)?;
    told.ended().await?;
    let mut interrupted = InTerminal::start(top(&[]))?;
    interrupted.until_shown("shop/cart").await?;
    interrupted.signal(Signal::INT)?;
    interrupted.ended().await?;

    let once = top(&["--once", "--json"]).output().await?;
    let answer: Value = serde_json::from_slice(&once.stdout)?;
    ensure!(answer["services"][0]["name"] == "cart", "{answer}");
    let table = String::from_utf8(top(&["--once"]).output().await?.stdout)?;
    ensure!(
        table.contains("shop/cart") && table.contains("unknown"),
        "{table}"
    );
    let piped = top(&[]).stdin(Stdio::null()).output().await?;
    let said = String::from_utf8(piped.stderr)?;
    ensure!(
        piped.status.code() == Some(1) && said.contains("--once"),
        "{said}"
    );

    let mut lost = InTerminal::start(top(&["--interval", "500ms"]))?;
    lost.until_shown("shop/cart").await?;
    stage.controller.kill().await?;
    lost.until_shown("ANSWER").await?;
    stage.controller.restart().await?;
    let columns = AtomicU16::new(100);
    until("the answer is back", PATIENCE, || async {
        // In another size everything is written anew, the title first.
        lost.forget();
        lost.resize(columns.fetch_xor(1, Ordering::Relaxed) ^ 1)?;
        lost.until_shown("SERVICE").await?;
        ensure!(!lost.text().contains("ANSWER"), "{:?}", lost.text());
        Ok(())
    })
    .await?;
    lost.keys.write_all(&[3])?;
    lost.ended().await
}

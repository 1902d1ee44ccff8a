//! `gaugeway top`: what Services do now, in a terminal or as a table.

mod answer;
mod app;
mod feed;
mod format;
mod once;
mod view;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ratatui::{DefaultTerminal, crossterm::event};
use tokio::sync::mpsc;

use self::{
    app::{App, Event, Next},
    feed::Feed,
    view::Paint,
};
use super::{
    api::DEFAULT_URL,
    runtime,
    values::{duration_within, object_name},
};

const EXAMPLES: &str = "\
Examples:
  kubectl -n gaugeway port-forward gaugeway-0 7083 &
  gaugeway top
  gaugeway top -n shop --window 15s --sort concurrency
  gaugeway top --once
  gaugeway top --once --json | jq '.services[] | select(.state == \"active\")'

Keys: arrows or j/k move; Enter opens a Service with its ports, Pods and gateways, and closes it; w next window; s next \
order; / filter by name, Esc ends it; q ends.

active had requests; idle had none, and its gateways said so; unknown is not known, the line below says why.

Exit codes: 0 ended; 1 the controller does not answer (with --once), or there is no terminal; 2 the command line is wrong.";

/// Show what Services do now: rate, latency, errors, concurrency.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TopArgs {
    /// Only Services of this namespace.
    #[arg(short, long, env = "GAUGEWAY_NAMESPACE", value_name = "NAMESPACE", value_parser = object_name)]
    namespace: Option<String>,
    /// How far back.
    #[arg(long, default_value = "60s", value_enum, value_name = "WINDOW")]
    window: answer::Window,
    /// What comes first: the highest of this; names rise.
    #[arg(long, default_value = "rate", value_enum, value_name = "SIGNAL")]
    sort: app::Sort,
    /// Time between two questions.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = pause)]
    interval: Duration,
    /// Where the controller's API port is.
    #[arg(long, env = "GAUGEWAY_URL", default_value = DEFAULT_URL, value_name = "URL")]
    url: String,
    /// Print a table once and end.
    #[arg(long)]
    once: bool,
    /// With --once: print JSON, the API's answer as it is.
    #[arg(long, requires = "once")]
    json: bool,
}

impl TopArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let feed = Feed {
            url: self.url.clone(),
            namespace: self.namespace.clone(),
        };
        if self.once {
            runtime()?.block_on(once::print(&feed, self.window, self.sort, self.json))?;
            return Ok(ExitCode::SUCCESS);
        }
        if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
            bail!("this is no terminal; print a table with --once, or JSON with --once --json");
        }
        let paint = Paint::of_environment();
        let app = App::new(self.window, self.sort);
        let runtime = runtime()?;
        // Also restores the terminal when something panics.
        let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
        let result = runtime.block_on(show(&mut terminal, app, &feed, &paint, self.interval));
        ratatui::restore();
        // A thread waits for a key; nobody waits for it.
        runtime.shutdown_background();
        result.map(|()| ExitCode::SUCCESS)
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    duration_within(text, Duration::from_millis(500), Duration::from_secs(3600))
}

/// Until the person, or a signal, ends it.
async fn show(
    terminal: &mut DefaultTerminal,
    mut app: App,
    feed: &Feed,
    paint: &Paint,
    interval: Duration,
) -> Result<()> {
    let (events, mut heard) = mpsc::channel(64);
    let keys = events.clone();
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if keys.blocking_send(Event::Terminal(event)).is_err() {
                return;
            }
        }
    });
    let (asks, asked) = mpsc::channel(1);
    tokio::spawn(feed.clone().run(asked, events));
    let mut clock = tokio::time::interval(interval);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ends = ends()?;
    loop {
        terminal
            .draw(|frame| view::draw(frame, &app, paint, Instant::now()))
            .context("the terminal cannot be written")?;
        let next = tokio::select! {
            event = heard.recv() => match event {
                Some(event) => app.hear(event),
                None => Next::End,
            },
            _ = clock.tick() => Next::Ask,
            () = &mut ends => Next::End,
        };
        match next {
            // While one question is under way, and one waits, a third would say nothing new.
            Next::Ask => drop(asks.try_send(app.question())),
            Next::Draw => {}
            Next::End => return Ok(()),
        }
    }
}

/// Resolves when the process is to end.
fn ends() -> Result<std::pin::Pin<Box<dyn Future<Output = ()>>>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(Box::pin(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            _ = interrupt.recv() => {}
        }
    }))
}

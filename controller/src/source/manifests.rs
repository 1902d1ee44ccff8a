//! A directory of Kubernetes manifests, read again when it changes.
//!
//! Invariants: a file that cannot be read or parsed keeps what it gave last; an object is in the index exactly as long
//! as a good file (or the last good state of one) holds it. The system's notices of changes only say *when* to look:
//! what changed is found by reading, and every `POLL` without any notice, so a missed notice costs time only.
//! A file is best replaced by renaming; one written in place may be read half, which makes it bad for a moment.

mod parse;
mod scan;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use gaugeway_index::Object;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{
    sync::Notify,
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    mapping::{Event, Feed},
    telemetry::Telemetry,
};
use parse::Format;
use scan::{Scan, Scanner};

/// Between two looks without any notice.
const POLL: Duration = Duration::from_secs(10);
/// Quiet time after a notice before the directory is read: an editor's or a deployment's many writes are one change.
const QUIET: Duration = Duration::from_millis(20);
/// Longest wait for quiet.
const IMPATIENT: Duration = Duration::from_millis(200);
/// Problems logged per change, at most.
const LOGGED: usize = 50;

/// The running source. Dropping it ends it.
#[derive(Debug)]
pub struct ManifestSource {
    task: AbortHandle,
}

impl Drop for ManifestSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a file with this text would give: its objects, or one line for each problem.
///
/// # Errors
/// The problems.
pub fn read(text: &str, is_json: bool) -> Result<Vec<Object>, Vec<String>> {
    let format = if is_json { Format::Json } else { Format::Yaml };
    match parse::parse(text, format) {
        Ok(parsed) => Ok(parsed.objects),
        Err(problems) => Err(problems
            .into_iter()
            .map(|p| format!("{} (document {}): {}", p.line, p.document, p.message))
            .collect()),
    }
}

/// Starts to read and watch `directory` on the current runtime. Problems of single files are logged and counted.
///
/// # Errors
/// When the directory does not exist.
pub fn start(
    directory: PathBuf,
    feed: Feed,
    telemetry: Arc<Telemetry>,
) -> anyhow::Result<ManifestSource> {
    let found = std::fs::metadata(&directory).with_context(|| {
        let directory = directory.display();
        format!("{directory}: name an existing directory of manifests with --manifests")
    })?;
    if !found.is_dir() {
        bail!("{}: not a directory", directory.display());
    }
    let changed = Arc::new(Notify::new());
    let watcher = watch(&directory, &changed);
    let source = Source {
        directory,
        feed,
        telemetry,
        changed,
        _watcher: watcher,
    };
    let task = tokio::spawn(source.run());
    Ok(ManifestSource {
        task: task.abort_handle(),
    })
}

struct Source {
    directory: PathBuf,
    feed: Feed,
    telemetry: Arc<Telemetry>,
    changed: Arc<Notify>,
    /// `None` where the system gives no notices.
    _watcher: Option<RecommendedWatcher>,
}

impl Source {
    async fn run(self) {
        let mut scanner = Scanner::new(self.directory.clone());
        let mut first = true;
        loop {
            // Reading blocks; it gets a thread that may.
            let reading = tokio::task::spawn_blocking(move || {
                let scan = scanner.scan();
                (scanner, scan)
            });
            let Ok((back, scan)) = reading.await else {
                // Only when the runtime shuts down.
                return;
            };
            scanner = back;
            self.tell(&scan, first);
            let mut events = scan.events;
            if first {
                events.push(Event::Synced);
            }
            first = false;
            if !events.is_empty() && self.feed.send(events).await.is_err() {
                return;
            }
            self.until_changed().await;
        }
    }

    async fn until_changed(&self) {
        if timeout(POLL, self.changed.notified()).await.is_err() {
            return;
        }
        let impatient = Instant::now() + IMPATIENT;
        let quiet = async { while timeout(QUIET, self.changed.notified()).await.is_ok() {} };
        tokio::select! {
            () = quiet => {}
            () = sleep_until(impatient) => {}
        }
    }

    fn tell(&self, scan: &Scan, first: bool) {
        self.count(scan);
        if first || !scan.events.is_empty() {
            info!(
                directory = %self.directory.display(),
                files = scan.files.ok,
                objects = scan.objects,
                changes = scan.events.len(),
                ignored = scan.ignored,
                "manifests read"
            );
        }
        if !scan.news {
            return;
        }
        for problem in scan.problems.iter().take(LOGGED) {
            warn!("{problem}");
        }
        if scan.problems.len() > LOGGED {
            warn!(more = scan.problems.len() - LOGGED, "more problems");
        }
        if scan.problems.is_empty() && !first {
            info!("all manifests are good again");
        }
    }

    fn count(&self, scan: &Scan) {
        let metrics = &self.telemetry.source;
        for (state, count) in [
            ("ok", scan.files.ok),
            ("stale", scan.files.stale),
            ("bad", scan.files.bad),
        ] {
            let gauge = metrics.files.with_label_values(&[state]);
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        if scan.news || !scan.events.is_empty() {
            let bad = !scan.problems.is_empty();
            let result = if bad { "error" } else { "ok" };
            metrics.reloads.with_label_values(&[result]).inc();
        }
    }
}

/// Reading the files must not look like a change of them.
fn is_change(kind: EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode};
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn watch(directory: &std::path::Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let changed = Arc::clone(changed);
    let heard = move |event: notify::Result<notify::Event>| match event {
        Ok(event) if !is_change(event.kind) => {}
        Ok(_) => changed.notify_one(),
        Err(error) => {
            debug!(%error, "a notice of a change was lost");
            changed.notify_one();
        }
    };
    let watching = notify::recommended_watcher(heard).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            warn!(
                %error,
                "the system does not tell of changes in the manifests; they are read every {} s",
                POLL.as_secs()
            );
            None
        }
    }
}

#[cfg(test)]
mod tests;

//! How far a source is, in words for whoever asks why the controller is not ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGaugeVec;

use crate::telemetry::Telemetry;

/// One list and watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchState {
    /// Nothing is known yet.
    Starting,
    /// The cluster does not serve the kind; looked for again from time to time.
    Absent,
    /// Its objects are being listed.
    Listing,
    /// Its objects are known and changes arrive.
    Watching,
    /// The API server cannot be asked; what was known stays in force.
    Failing(String),
}

impl WatchState {
    /// Names of all.
    pub(crate) const NAMES: [&'static str; 5] =
        ["starting", "absent", "listing", "watching", "failing"];

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Absent => "absent",
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Failing(_) => "failing",
        }
    }
}

/// A source's watches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SourceState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What the objects come from, for people.
    origin: String,
    watches: Mutex<Vec<Watch>>,
    gauge: IntGaugeVec,
}

#[derive(Debug)]
struct Watch {
    kind: &'static str,
    namespace: Option<String>,
    state: WatchState,
    /// Was once watching, or absent.
    complete: bool,
}

/// One watch's place in its [`SourceState`].
#[derive(Clone, Debug)]
pub(crate) struct WatchHandle {
    source: SourceState,
    at: usize,
    kind: &'static str,
}

impl SourceState {
    pub(crate) fn new(origin: String, telemetry: &Telemetry) -> Self {
        Self(Arc::new(Inner {
            origin,
            watches: Mutex::default(),
            gauge: telemetry.source.watches.clone(),
        }))
    }

    pub(crate) fn watch(&self, kind: &'static str, namespace: Option<String>) -> WatchHandle {
        let mut watches = self.watches();
        watches.push(Watch {
            kind,
            namespace,
            state: WatchState::Starting,
            complete: false,
        });
        self.0.count(&watches, kind);
        WatchHandle {
            source: self.clone(),
            at: watches.len() - 1,
            kind,
        }
    }

    /// One that does not count for whether the source has been read.
    pub(crate) fn watch_aside(&self, kind: &'static str, namespace: Option<String>) -> WatchHandle {
        let handle = self.watch(kind, namespace);
        if let Some(watch) = self.watches().get_mut(handle.at) {
            watch.complete = true;
        }
        handle
    }

    /// Why the source has not been read completely; names every watch that is behind.
    #[must_use]
    pub fn missing(&self) -> String {
        let watches = self.watches();
        let behind = watches.iter().filter(|w| !w.complete).map(|w| {
            let everywhere = String::new();
            let place = w
                .namespace
                .as_ref()
                .map_or(everywhere, |n| format!(" in {n}"));
            match &w.state {
                WatchState::Failing(why) => format!("{}{place}: {why}", w.kind),
                state => format!("{}{place}: {}", w.kind, state.as_str()),
            }
        });
        let behind: Vec<_> = behind.collect();
        let origin = &self.0.origin;
        if behind.is_empty() {
            format!("{origin} has not been read completely")
        } else {
            format!(
                "{origin} has not been read completely; {}",
                behind.join("; ")
            )
        }
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Watch>> {
        let watches = self.0.watches.lock();
        watches.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count(&self, watches: &[Watch], kind: &str) {
        for name in WatchState::NAMES {
            let count = watches
                .iter()
                .filter(|w| w.kind == kind && w.state.as_str() == name);
            let count = i64::try_from(count.count()).unwrap_or(i64::MAX);
            self.gauge.with_label_values(&[kind, name]).set(count);
        }
    }
}

impl WatchHandle {
    pub(crate) fn is_watching(&self) -> bool {
        let watches = self.source.watches();
        let watch = watches.get(self.at);
        watch.is_some_and(|watch| watch.state == WatchState::Watching)
    }

    /// It fails, for this reason. True unless it failed so before, and nothing else was since.
    pub(crate) fn fail(&self, why: &str) -> bool {
        let state = WatchState::Failing(why.to_owned());
        let before = self.source.watches().get(self.at).map(|w| w.state.clone());
        self.set(state.clone());
        before != Some(state)
    }

    /// True when this completed the last of all watches.
    pub(crate) fn set(&self, state: WatchState) -> bool {
        let mut watches = self.source.watches();
        let mut completed = false;
        if let Some(watch) = watches.get_mut(self.at) {
            let now = matches!(state, WatchState::Watching | WatchState::Absent);
            completed = now && !watch.complete;
            watch.complete |= now;
            watch.state = state;
        }
        self.source.0.count(&watches, self.kind);
        completed && watches.iter().all(|w| w.complete)
    }
}

#[cfg(test)]
mod tests {
    use gaugeway_aggregate::Format;

    use super::*;

    #[test]
    fn a_failure_is_news_once() {
        let telemetry = Telemetry::try_new("0.0.0").unwrap();
        let state = SourceState::new("the cluster".to_owned(), &telemetry);
        let services = state.watch("Service", None);
        assert!(services.fail("403"));
        assert!(!services.fail("403"));
        assert!(services.fail("500"), "another reason");
        services.set(WatchState::Watching);
        assert!(services.fail("500"), "again");
    }

    #[test]
    fn what_is_behind_is_named() {
        let telemetry = Telemetry::try_new("0.0.0").unwrap();
        let state = SourceState::new("the cluster".to_owned(), &telemetry);
        let services = state.watch("Service", None);
        let routes = state.watch("HTTPRoute", Some("shop".to_owned()));
        assert!(!services.set(WatchState::Watching));
        routes.set(WatchState::Failing("403".to_owned()));
        let missing = state.missing();
        assert!(missing.contains("HTTPRoute in shop: 403"), "{missing}");
        assert!(!missing.contains("Service"), "{missing}");
        let aside = state.watch_aside("KongPlugin", None);
        assert!(!aside.set(WatchState::Failing("403".to_owned())));
        assert!(!state.missing().contains("KongPlugin"), "it may be behind");
        assert!(routes.set(WatchState::Absent), "the last");
        assert!(!aside.set(WatchState::Watching));
        assert!(!routes.set(WatchState::Watching), "once only");
        let text = String::from_utf8(telemetry.encode(Format::Text).unwrap()).unwrap();
        let line = "gaugeway_source_watches{kind=\"Service\",state=\"watching\"} 1\n";
        assert!(text.contains(line), "{text}");
    }
}

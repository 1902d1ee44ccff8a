//! What is shown, and what keys and answers make of it. Pure: time comes in, nothing goes out but what to do next.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    answer::{Detail, Service, Signals, Window},
    feed::{Question, Told},
};

/// Namespace and name.
pub(super) type Key = (String, String);

/// Points of a trend, and most Services that have one.
pub(super) const POINTS: usize = 60;
const TRENDS: usize = 10_000;
/// Longest filter, in characters.
const FILTER: usize = 64;

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sort {
    Rate,
    P50,
    P95,
    P99,
    Errors,
    Concurrency,
    Name,
}

/// What happens.
pub(super) enum Event {
    Terminal(Input),
    Told(Box<Told>),
    /// The API was asked and did not answer.
    Failed(String),
}

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Draw,
    /// Draw, and ask at once.
    Ask,
    End,
}

/// See the module's documentation.
pub(super) struct App {
    window: Window,
    sort: Sort,
    filter: String,
    /// Keys go into the filter.
    filtering: bool,
    /// In the order that is shown.
    services: Vec<Service>,
    trends: HashMap<Key, VecDeque<Option<f64>>>,
    selected: Option<Key>,
    open: Option<Key>,
    detail: Option<Detail>,
    last: Option<Instant>,
    failure: Option<String>,
}

impl Sort {
    const ALL: [Self; 7] = [
        Self::Rate,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Errors,
        Self::Concurrency,
        Self::Name,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
            Self::Errors => "errors",
            Self::Concurrency => "concurrency",
            Self::Name => "name",
        }
    }

    fn next(self) -> Self {
        let mut all = Self::ALL.into_iter().cycle().skip_while(|s| *s != self);
        all.nth(1).unwrap_or(self)
    }

    /// What is compared; of names the rate, for their trend.
    fn of(self, signals: &Signals) -> Option<f64> {
        match self {
            Self::Rate | Self::Name => signals.requests_per_second,
            Self::P50 => signals.p50(),
            Self::P95 => signals.p95(),
            Self::P99 => signals.p99(),
            Self::Errors => signals.error_ratio,
            Self::Concurrency => signals.concurrency,
        }
    }
}

/// The highest first, what is not known last; equal ones by their names.
pub(super) fn sorted(mut services: Vec<Service>, sort: Sort) -> Vec<Service> {
    let rank = |s: &Service| sort.of(&s.signals).unwrap_or(f64::NEG_INFINITY);
    services.sort_by(|a, b| {
        let names = (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name));
        match sort {
            Sort::Name => names,
            _ => rank(b).total_cmp(&rank(a)).then(names),
        }
    });
    services
}

impl App {
    pub(super) fn new(window: Window, sort: Sort) -> Self {
        Self {
            window,
            sort,
            filter: String::new(),
            filtering: false,
            services: Vec::new(),
            trends: HashMap::new(),
            selected: None,
            open: None,
            detail: None,
            last: None,
            failure: None,
        }
    }

    pub(super) fn question(&self) -> Question {
        Question {
            window: self.window,
            open: self.open.clone(),
        }
    }

    pub(super) fn hear(&mut self, event: Event) -> Next {
        match event {
            Event::Terminal(Input::Key(key)) if key.kind != KeyEventKind::Release => {
                self.press(key)
            }
            Event::Terminal(_) => Next::Draw,
            Event::Told(told) => {
                self.take(*told);
                Next::Draw
            }
            Event::Failed(why) => {
                self.failure = Some(why);
                Next::Draw
            }
        }
    }

    fn take(&mut self, told: Told) {
        self.failure = None;
        self.last = Some(told.at);
        // An answer to what is not asked any more.
        if told.question.window != self.window {
            return;
        }
        if told.question.open == self.open {
            self.detail = told.detail;
        }
        self.services = sorted(told.list.services, self.sort);
        let here: HashSet<Key> = self
            .services
            .iter()
            .take(TRENDS)
            .map(Service::key)
            .collect();
        self.trends.retain(|of, _| here.contains(of));
        for service in self.services.iter().take(TRENDS) {
            let trend = self.trends.entry(service.key()).or_default();
            if trend.len() == POINTS {
                trend.pop_front();
            }
            trend.push_back(self.sort.of(&service.signals));
        }
    }

    fn press(&mut self, pressed: KeyEvent) -> Next {
        if pressed.modifiers.contains(KeyModifiers::CONTROL) && pressed.code == KeyCode::Char('c') {
            return Next::End;
        }
        if self.filtering {
            self.type_filter(pressed.code);
            return Next::Draw;
        }
        match pressed.code {
            KeyCode::Char('q') => return Next::End,
            KeyCode::Esc => {
                if self.open.take().is_none() {
                    self.filter.clear();
                }
                self.detail = None;
            }
            KeyCode::Char('/') => self.filtering = true,
            KeyCode::Char('w') => {
                self.window = self.window.next();
                self.trends.clear();
                self.detail = None;
                return Next::Ask;
            }
            KeyCode::Char('s') => {
                self.sort = self.sort.next();
                self.trends.clear();
                self.services = sorted(std::mem::take(&mut self.services), self.sort);
            }
            KeyCode::Enter => {
                let closes = self.open.is_some() && self.open == self.selected();
                self.open = self.selected().filter(|_| !closes);
                self.detail = None;
                return Next::Ask;
            }
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            _ => {}
        }
        Next::Draw
    }

    fn type_filter(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.filtering = false,
            KeyCode::Esc => {
                self.filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < FILTER => self.filter.push(c),
            _ => {}
        }
    }

    fn step(&mut self, by: isize) {
        let shown = self.shown();
        let at = self.selected_at().unwrap_or_default();
        let at = at
            .saturating_add_signed(by)
            .min(shown.len().saturating_sub(1));
        self.selected = shown.get(at).map(|service| service.key());
    }

    /// Those that pass the filter, in their order.
    pub(super) fn shown(&self) -> Vec<&Service> {
        let passes = |s: &&Service| format!("{}/{}", s.namespace, s.name).contains(&self.filter);
        self.services.iter().filter(passes).collect()
    }

    /// Place of the selected one among those shown: where it moved to, or the first if it has gone.
    pub(super) fn selected_at(&self) -> Option<usize> {
        let shown = self.shown();
        let is = |s: &&Service| self.selected.as_ref().is_some_and(|of| *of == s.key());
        let found = shown.iter().position(is);
        found.or((!shown.is_empty()).then_some(0))
    }

    fn selected(&self) -> Option<Key> {
        let at = self.selected_at()?;
        self.shown().get(at).map(|service| service.key())
    }

    pub(super) fn trend(&self, of: &Service) -> Option<&VecDeque<Option<f64>>> {
        self.trends.get(&of.key())
    }

    /// What is known of the open Service.
    pub(super) fn detail_of(&self, of: &Service) -> Option<&Detail> {
        let detail = self.detail.as_ref()?;
        let open = self.open.as_ref() == Some(&of.key());
        let of_it = detail.namespace == of.namespace && detail.name == of.name;
        (open && of_it).then_some(detail)
    }

    pub(super) const fn window(&self) -> Window {
        self.window
    }

    pub(super) const fn sort(&self) -> Sort {
        self.sort
    }

    pub(super) fn filter(&self) -> Option<&str> {
        (self.filtering || !self.filter.is_empty()).then_some(&*self.filter)
    }

    /// Why the last question has no answer.
    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// How old what is shown is; none before the first answer.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.last?))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{
        super::answer::{List, State},
        *,
    };

    pub(in super::super) fn service(name: &str, rate: Option<f64>) -> Service {
        let signals = Signals {
            state: match rate {
                Some(rate) if rate > 0.0 => State::Active,
                Some(_) => State::Idle,
                None => State::Unknown,
            },
            reason: rate.is_none().then(|| "no policy selects it".to_owned()),
            requests_per_second: rate,
            concurrency: rate.map(|r| r / 100.0),
            error_ratio: rate.map(|_| 0.0),
            latency_seconds: None,
        };
        Service {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            signals,
        }
    }

    pub(in super::super) fn told(app: &App, services: Vec<Service>) -> Event {
        Event::Told(Box::new(Told {
            question: app.question(),
            list: List { services },
            detail: None,
            at: Instant::now(),
        }))
    }

    fn key_of(code: KeyCode) -> Event {
        Event::Terminal(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn press(app: &mut App, codes: &[KeyCode]) -> Next {
        let mut next = Next::Draw;
        for code in codes {
            next = app.hear(key_of(*code));
        }
        next
    }

    fn names(app: &App) -> Vec<&str> {
        app.shown().iter().map(|s| &*s.name).collect()
    }

    fn three() -> App {
        let mut app = App::new(Window::Seconds60, Sort::Rate);
        let services = vec![
            service("a", Some(1.0)),
            service("b", None),
            service("c", Some(2.0)),
        ];
        let event = told(&app, services);
        app.hear(event);
        app
    }

    #[test]
    fn the_highest_comes_first_and_the_unknown_last() {
        let mut app = three();
        assert_eq!(names(&app), ["c", "a", "b"]);
        press(&mut app, &[KeyCode::Char('s'); 6]);
        assert_eq!(app.sort(), Sort::Name);
        assert_eq!(names(&app), ["a", "b", "c"]);
    }

    #[test]
    fn the_selection_stays_on_its_service() {
        let mut app = three();
        press(&mut app, &[KeyCode::Down]);
        assert_eq!(app.selected_at(), Some(1));
        let event = told(&app, vec![service("a", Some(9.0)), service("c", Some(2.0))]);
        app.hear(event);
        assert_eq!((names(&app), app.selected_at()), (vec!["a", "c"], Some(0)));
        press(&mut app, &[KeyCode::End]);
        assert_eq!(app.selected_at(), Some(1));
        press(&mut app, &[KeyCode::PageUp]);
        assert_eq!(app.selected_at(), Some(0));
        let event = told(&app, vec![]);
        app.hear(event);
        assert_eq!(app.selected_at(), None);
        press(&mut app, &[KeyCode::Down, KeyCode::Enter]);
    }

    #[test]
    fn a_filter_is_typed_and_cleared() {
        let mut app = three();
        let typed = ['/', 'q', 'c'].map(KeyCode::Char);
        assert_eq!(press(&mut app, &typed), Next::Draw);
        assert_eq!((app.filter(), names(&app).len()), (Some("qc"), 0));
        press(
            &mut app,
            &[
                KeyCode::Backspace,
                KeyCode::Backspace,
                KeyCode::Char('c'),
                KeyCode::Enter,
            ],
        );
        assert_eq!(names(&app), ["c"]);
        press(&mut app, &[KeyCode::Esc]);
        assert_eq!((app.filter(), names(&app).len()), (None, 3));
        assert_eq!(press(&mut app, &[KeyCode::Char('q')]), Next::End);
    }

    #[test]
    fn opening_asks_at_once_and_late_answers_change_nothing() {
        let mut app = three();
        assert_eq!(press(&mut app, &[KeyCode::Enter]), Next::Ask);
        assert_eq!(
            app.question().open,
            Some(("shop".to_owned(), "c".to_owned()))
        );
        let late = told(&app, vec![]);
        assert_eq!(press(&mut app, &[KeyCode::Char('w')]), Next::Ask);
        assert_eq!(app.window(), Window::Minutes5);
        app.hear(late);
        assert_eq!(names(&app).len(), 3);
        press(&mut app, &[KeyCode::Enter]);
        assert_eq!(app.question().open, None);
    }

    #[test]
    fn a_failure_is_kept_beside_what_was_known() {
        let mut app = three();
        app.hear(Event::Failed("gone".to_owned()));
        assert_eq!((app.failure(), names(&app).len()), (Some("gone"), 3));
        let event = told(&app, vec![]);
        app.hear(event);
        assert_eq!(app.failure(), None);
    }

    #[test]
    fn trends_are_bounded_and_end_with_their_service() {
        let mut app = three();
        for _ in 0..2 * POINTS {
            let event = told(&app, vec![service("a", Some(1.0))]);
            app.hear(event);
        }
        assert_eq!(
            app.trend(&service("a", None)).map(VecDeque::len),
            Some(POINTS)
        );
        assert_eq!(app.trend(&service("c", None)), None);
    }
}

//! How it looks: a line of what is asked, the Services, a line of what is selected, the keys.

use std::{collections::VecDeque, env, time::Instant};

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Cell, Paragraph, Row, Table, TableState},
};

use super::{
    answer::{Detail, Signals, State},
    app::App,
    format,
};

const KEYS: &str = "↑↓ move  Enter open  w window  s order  / filter  q end";
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Narrower terminals have no trend; and no median and concurrency.
const WITH_TREND: u16 = 104;
const WITH_ALL: u16 = 84;
const TREND: u16 = 20;

/// With or without colour.
pub(super) struct Paint {
    colour: bool,
}

impl Paint {
    /// <https://no-color.org>.
    pub(super) fn of_environment() -> Self {
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colour: !plain }
    }

    fn with(&self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    fn of(&self, signals: &Signals) -> Style {
        match signals.state {
            State::Active if signals.error_ratio.is_some_and(|e| e >= 0.01) => {
                self.with(Color::Red)
            }
            State::Active => Style::new(),
            State::Idle => self.with(Color::Cyan),
            State::Unknown => self.with(Color::DarkGray),
        }
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, paint: &Paint, now: Instant) {
    let lines = [
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ];
    let [head, body, about, foot] = Layout::vertical(lines).areas(frame.area());
    frame.render_widget(Paragraph::new(title(app, paint, now)), head);
    services(frame, app, paint, body);
    frame.render_widget(Paragraph::new(selected(app)), about);
    let keys = app.filter().map_or_else(
        || KEYS.to_owned(),
        |filter| format!("filter: {filter}▏  Enter keep  Esc end"),
    );
    let keys = Line::styled(keys, Style::new().add_modifier(Modifier::REVERSED));
    frame.render_widget(Paragraph::new(keys), foot);
}

fn title<'a>(app: &'a App, paint: &Paint, now: Instant) -> Line<'a> {
    let window = app.window().as_str();
    let asked = format!(
        "{} Services, window {window}, by {}",
        app.shown().len(),
        app.sort().as_str()
    );
    let mut line = Line::from(vec![Span::raw(asked)]);
    match (app.failure(), app.age(now)) {
        (Some(why), age) => {
            let age = age.map_or_else(String::new, |age| {
                format!(" (shown: {} s old)", age.as_secs())
            });
            let why = why.lines().next().unwrap_or_default();
            let style = paint.with(Color::Red).add_modifier(Modifier::BOLD);
            line.push_span(Span::styled(format!("  NO ANSWER{age}: {why}"), style));
        }
        (None, None) => line.push_span("  asking…"),
        (None, Some(_)) => {}
    }
    line
}

/// What is said of the selected Service.
fn selected(app: &App) -> String {
    let at = app.selected_at();
    let service = at.and_then(|at| app.shown().get(at).copied());
    service.map_or_else(String::new, |service| {
        let why = service.signals.reason.as_deref();
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        let state = service.signals.state.as_str();
        format!("{}/{} is {state}{why}", service.namespace, service.name)
    })
}

fn services(frame: &mut Frame<'_>, app: &App, paint: &Paint, area: Rect) {
    let columns = Columns::of(area.width);
    let mut rows = Vec::new();
    let mut selected_row = None;
    for (at, service) in app.shown().into_iter().enumerate() {
        if Some(at) == app.selected_at() {
            selected_row = Some(rows.len());
        }
        let name = format!("{}/{}", service.namespace, service.name);
        let trend = app.trend(service).map(bars);
        let row = columns.row(name, &service.signals, trend.unwrap_or_default());
        rows.push(row.style(paint.of(&service.signals)));
        if let Some(detail) = app.detail_of(service) {
            rows.extend(inside(detail, &columns, paint));
        }
    }
    let table = Table::new(rows, columns.widths())
        .header(
            columns
                .header()
                .style(Style::new().add_modifier(Modifier::BOLD)),
        )
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(selected_row);
    frame.render_stateful_widget(table, area, &mut state);
}

fn inside<'a>(detail: &Detail, columns: &Columns, paint: &Paint) -> Vec<Row<'a>> {
    let ports = detail.backends.iter().map(|backend| {
        let port = backend.port.as_deref().unwrap_or("any");
        (format!("  port {port}"), &backend.signals)
    });
    let pods = detail.pods.iter();
    let pods = pods.map(|pod| (format!("  pod {}", pod.name), &pod.signals));
    let gateways = detail.gateways.iter();
    let gateways = gateways.map(|of| (format!("  via {}", of.name), &of.signals));
    let all = ports.chain(pods).chain(gateways);
    all.map(|(name, signals)| {
        let row = columns.row(name, signals, String::new());
        row.style(paint.of(signals))
    })
    .collect()
}

/// Which there is room for.
struct Columns {
    all: bool,
    trend: bool,
}

impl Columns {
    const fn of(width: u16) -> Self {
        Self {
            all: width >= WITH_ALL,
            trend: width >= WITH_TREND,
        }
    }

    fn header<'a>(&self) -> Row<'a> {
        let heads = [
            "SERVICE",
            "RATE",
            "P50",
            "P95",
            "P99",
            "ERRORS",
            "CONCURRENCY",
            "TREND",
        ];
        self.chosen(heads.map(|head| match head {
            "SERVICE" | "TREND" => Cell::new(head),
            _ => right(head.to_owned()),
        }))
    }

    fn row<'a>(&self, name: String, signals: &Signals, trend: String) -> Row<'a> {
        self.chosen([
            Cell::new(name),
            right(format::rate(signals.requests_per_second)),
            right(format::latency(signals.p50())),
            right(format::latency(signals.p95())),
            right(format::latency(signals.p99())),
            right(format::share(signals.error_ratio)),
            right(format::number(signals.concurrency)),
            Cell::new(trend),
        ])
    }

    fn chosen<'a>(&self, cells: [Cell<'a>; 8]) -> Row<'a> {
        let shown = |at: usize| match at {
            2 | 6 => self.all,
            7 => self.trend,
            _ => true,
        };
        let cells = cells.into_iter().enumerate();
        Row::new(cells.filter(|(at, _)| shown(*at)).map(|(_, cell)| cell))
    }

    fn widths(&self) -> Vec<Constraint> {
        let mut widths = vec![Constraint::Min(16)];
        let numbers = if self.all { 4 } else { 3 };
        widths.extend(std::iter::repeat_n(Constraint::Length(9), numbers));
        widths.push(Constraint::Length(7));
        if self.all {
            widths.push(Constraint::Length(11));
        }
        if self.trend {
            widths.push(Constraint::Length(TREND));
        }
        widths
    }
}

fn right<'a>(text: String) -> Cell<'a> {
    Cell::new(Line::from(text).right_aligned())
}

/// The last points, each as high as its share of the highest; a gap where nothing was known.
fn bars(points: &VecDeque<Option<f64>>) -> String {
    let shown = points.len().min(usize::from(TREND));
    let points = points.iter().skip(points.len() - shown);
    let most = points.clone().flatten().copied().fold(0.0, f64::max);
    let bar = |value: f64| {
        // The lowest step whose bound it does not pass; steps are equal.
        let step = (1_u8..8).find(|step| value <= most * f64::from(*step) / 8.0);
        let at = step.map_or(7, |step| usize::from(step) - 1);
        BARS.get(at).copied().unwrap_or(' ')
    };
    points.map(|point| point.map_or(' ', bar)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::{Terminal, backend::TestBackend};

    use super::{
        super::{
            answer::Window,
            app::{
                Event, Sort,
                tests::{service, told},
            },
            feed,
        },
        *,
    };

    fn app() -> App {
        let mut app = App::new(Window::Seconds60, Sort::Rate);
        let services = vec![
            service("cart", Some(12.0)),
            service("pay", Some(0.0)),
            service("vault", None),
        ];
        let event = told(&app, services);
        app.hear(event);
        app
    }

    fn drawn(app: &App, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let paint = Paint { colour: false };
        let now = Instant::now() + Duration::from_secs(7);
        terminal
            .draw(|frame| draw(frame, app, &paint, now))
            .unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y: u16| {
            let cells = (0..width).map(|x| buffer[(x, y)].symbol().to_owned());
            cells.collect::<String>().trim_end().to_owned()
        };
        (0..height).map(line).collect()
    }

    #[test]
    fn it_looks_like_this() {
        assert_eq!(
            drawn(&app(), 110, 8),
            [
                "3 Services, window 60s, by rate",
                "SERVICE                            RATE       P50       P95       P99  ERRORS CONCURRENCY TREND",
                "shop/cart                        12.0/s         -         -         -     0 %        0.12 █",
                "shop/pay                            0/s         -         -         -     0 %           0 ▁",
                "shop/vault                            -         -         -         -       -           -",
                "",
                "shop/cart is active",
                KEYS,
            ]
        );
    }

    #[test]
    fn narrow_terminals_have_fewer_columns_and_none_panics() {
        let lines = drawn(&app(), 60, 6);
        assert!(
            lines[1].contains("P95") && !lines[1].contains("P50"),
            "{lines:?}"
        );
        for width in [1, 2, 10, 80, 300] {
            for height in [1, 2, 3, 5, 24] {
                drawn(&app(), width, height);
            }
        }
    }

    #[test]
    fn a_lost_controller_is_said_and_what_was_known_stays() {
        let mut app = app();
        app.hear(Event::Failed("no controller answers\nmore".to_owned()));
        let lines = drawn(&app, 110, 8);
        assert!(
            lines[0].contains("NO ANSWER (shown: 7 s old): no controller answers"),
            "{lines:?}"
        );
        assert!(lines[2].starts_with("shop/cart"));
    }

    #[test]
    fn an_open_service_shows_what_is_inside() {
        use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyModifiers};
        let mut app = app();
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        app.hear(Event::Terminal(Input::Key(enter)));
        let detail = r#"{"namespace": "shop", "name": "cart", "windows": {}, "window": "60s",
            "backends": [{"port": "http", "state": "active", "requestsPerSecond": 12, "concurrency": 0.1, "errorRatio": 0}],
            "pods": [{"name": "cart-1", "state": "idle", "requestsPerSecond": 0, "concurrency": 0, "errorRatio": 0}],
            "gateways": [{"name": "shop/edge", "selects": true, "standing": {"state": "covers"}, "state": "unknown",
                "reason": "young"}]}"#;
        let Event::Told(mut told) = told(&app, vec![service("cart", Some(12.0))]) else {
            panic!()
        };
        told.detail = Some(feed::read(detail.as_bytes()).unwrap());
        app.hear(Event::Told(told));
        let lines = drawn(&app, 90, 9);
        let starts = [
            "shop/cart",
            "  port http",
            "  pod cart-1",
            "  via shop/edge",
        ];
        for (line, start) in lines.iter().skip(2).zip(starts) {
            assert!(line.starts_with(start), "{lines:#?}");
        }
    }
}

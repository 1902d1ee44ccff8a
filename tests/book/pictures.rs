//! The book's pictures are drawn here, as SVG that needs no script and no network: run with `GAUGEWAY_BLESS=1` to renew
//! them.

use std::fmt::Write as _;

use gaugeway_guest::golden;

use crate::pages::root;

/// Where an arrow begins or ends, a text stands.
type Point = (u32, u32);

/// What a box stands for.
#[derive(Clone, Copy)]
enum Kind {
    /// Somebody else's process.
    Theirs,
    /// A part of Gaugeway.
    Ours,
}

struct Picture {
    size: Point,
    parts: String,
}

impl Picture {
    fn new(width: u32, height: u32) -> Self {
        Self {
            size: (width, height),
            parts: String::new(),
        }
    }

    /// A box with lines of text in its upper left corner.
    fn put(&mut self, kind: Kind, at: Point, size: Point, lines: &[&str]) -> &mut Self {
        let (fill, stroke) = match kind {
            Theirs => ("#f4f6f8", "#555"),
            Ours => ("#dcebfa", "#35c"),
        };
        let ((x, y), (width, height)) = (at, size);
        let _ = writeln!(
            self.parts,
            r#"  <rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{stroke}"/>"#
        );
        for (line, above) in lines.iter().zip(0..) {
            self.text((x + 12, y + 22 + 20 * above), line);
        }
        self
    }

    fn text(&mut self, (x, y): Point, text: &str) -> &mut Self {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(self.parts, r#"  <text x="{x}" y="{y}">{text}</text>"#);
        self
    }

    fn arrow(&mut self, (x1, y1): Point, (x2, y2): Point) -> &mut Self {
        let _ = writeln!(
            self.parts,
            r##"  <path d="M{x1} {y1} L{x2} {y2}" stroke="#555" fill="none" marker-end="url(#arrow)"/>"##
        );
        self
    }

    fn line(&mut self, (x1, y1): Point, (x2, y2): Point) -> &mut Self {
        let _ = writeln!(
            self.parts,
            r##"  <path d="M{x1} {y1} L{x2} {y2}" stroke="#999" stroke-dasharray="4 3"/>"##
        );
        self
    }

    /// White behind it: the book has dark themes.
    fn svg(&self) -> String {
        let ((width, height), parts) = (self.size, &self.parts);
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" font-family="sans-serif" font-size="14">
  <!-- Drawn by tests/book/pictures.rs. -->
  <marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
    <path d="M0 0 L10 5 L0 10 z" fill="#555"/>
  </marker>
  <rect width="{width}" height="{height}" fill="#fff"/>
{parts}</svg>
"##
        )
    }
}

use Kind::{Ours, Theirs};

/// Who speaks with whom.
fn parts() -> Picture {
    let mut picture = Picture::new(860, 300);
    picture
        .put(Theirs, (20, 20), (250, 130), &["gateway (Envoy, Kong)"])
        .put(Ours, (36, 56), (100, 76), &["filter in", "worker 1"])
        .put(Ours, (154, 56), (100, 76), &["filter in", "worker 2"])
        .put(Theirs, (20, 230), (250, 50), &["upstream Pods"])
        .arrow((145, 150), (145, 228))
        .text((155, 195), "requests")
        .put(
            Ours,
            (420, 20),
            (220, 130),
            &[
                "controller",
                "index of Kubernetes",
                "ledger and its log",
                "sliding windows",
            ],
        )
        .put(Theirs, (420, 230), (220, 50), &["Kubernetes API server"])
        .arrow((530, 228), (530, 152))
        .text((540, 195), "watches")
        .arrow((270, 60), (418, 60))
        .text((290, 52), "whose is it?")
        .arrow((418, 90), (272, 90))
        .text((290, 84), "its owner")
        .arrow((270, 124), (418, 124))
        .text((290, 118), "counts, every 5 s")
        .put(Theirs, (720, 20), (120, 50), &["Prometheus"])
        .put(Theirs, (720, 100), (120, 50), &["autoscalers,", "people"])
        .arrow((718, 45), (642, 60))
        .arrow((718, 125), (642, 110));
    picture
}

/// What of a request's life is its latency.
fn latency() -> Picture {
    let mut picture = Picture::new(860, 210);
    picture
        .put(Theirs, (20, 60), (150, 44), &["filters before ours"])
        .put(Ours, (170, 60), (90, 44), &["wait for a"])
        .text((182, 98), "connection")
        .put(Ours, (260, 60), (90, 44), &["connect,"])
        .text((272, 98), "TLS")
        .put(Ours, (350, 60), (90, 44), &["send the"])
        .text((362, 98), "request")
        .put(Ours, (440, 60), (180, 44), &["the upstream works"])
        .put(Theirs, (620, 60), (220, 44), &["response body, stream"])
        .line((170, 30), (170, 150))
        .line((620, 30), (620, 150))
        .text((100, 24), "request headers pass the filter")
        .text((560, 24), "response headers")
        .arrow((395, 135), (618, 135))
        .arrow((395, 135), (172, 135))
        .text((335, 160), "upstream latency")
        .text((640, 135), "cut here: also aborted")
        .text((172, 190), "a time-out within counts with the time waited; a client that leaves is cancelled, without latency");
    picture
}

/// How an address gets its owner.
fn attribution() -> Picture {
    let mut picture = Picture::new(860, 330);
    picture
        .text((20, 75), "client")
        .arrow((65, 70), (148, 70))
        .put(
            Theirs,
            (150, 20),
            (290, 120),
            &["gateway, route split 90/10"],
        )
        .put(
            Ours,
            (166, 56),
            (258, 66),
            &[
                "filter: 10.1.0.7:8080 took 12 ms",
                "counted for checkout-canary",
            ],
        )
        .put(
            Theirs,
            (620, 20),
            (220, 52),
            &["Pod of checkout", "10.1.0.5:8080"],
        )
        .put(
            Theirs,
            (620, 92),
            (220, 52),
            &["Pod of checkout-canary", "10.1.0.7:8080"],
        )
        .arrow((440, 60), (618, 45))
        .text((510, 40), "90 %")
        .arrow((440, 95), (618, 118))
        .text((510, 126), "10 %")
        .arrow((205, 140), (205, 218))
        .text((24, 186), "1. whose is 10.1.0.7:8080?")
        .arrow((235, 218), (235, 142))
        .text((245, 186), "2. checkout-canary's")
        .arrow((410, 140), (410, 218))
        .text((420, 186), "3. what was counted, every 5 s")
        .put(
            Ours,
            (150, 220),
            (290, 90),
            &[
                "controller, from Kubernetes:",
                "10.1.0.5:8080 → checkout",
                "10.1.0.7:8080 → checkout-canary",
            ],
        )
        .put(Theirs, (620, 240), (220, 50), &["Prometheus"])
        .arrow((618, 265), (442, 265))
        .text((500, 255), "scrapes");
    picture
}

#[test]
fn pictures_are_as_drawn() {
    for (name, picture) in [
        ("parts", parts()),
        ("latency", latency()),
        ("attribution", attribution()),
    ] {
        let file = root().join(format!("docs/pictures/{name}.svg"));
        if let Err(difference) = golden::check(&file, &picture.svg()) {
            panic!("{difference}");
        }
    }
}

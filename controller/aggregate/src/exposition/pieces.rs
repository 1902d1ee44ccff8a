//! A snapshot on its way out, piece by piece.

use std::io;

use super::{
    Encoding, Family, Format, Request, View, gzip::Gzip, kong, proto::Messages, text::Lines,
};
use crate::{
    snapshot::Snapshot,
    store::{CHUNK, Chunk},
};

/// Bytes after which a piece ends; it is longer by less than one family of a few series.
const PIECE: usize = 64 * 1024;
/// Work after which a piece ends even if it has little to show for it: bytes rendered (compressing them takes about
/// two milliseconds), and chunks of series looked at.
const WORK: Work = Work {
    bytes: 512 * 1024,
    chunks: 4096,
};

/// A snapshot on its way out, rendered piece by piece.
#[derive(Debug)]
pub struct Exposition {
    source: Source,
    gzip: Option<Gzip>,
    preamble: Vec<u8>,
    step: Step,
    spent: Work,
    scratch: Vec<u8>,
}

/// What is rendered, and how.
#[derive(Debug)]
struct Source {
    snapshot: Snapshot,
    kong: Vec<kong::Row>,
    view: View,
    format: Format,
    renderer: Renderer,
}

#[derive(Debug)]
enum Renderer {
    Lines(Lines),
    Messages(Messages),
}

/// What comes next. `family` is a position in [`Family::ALL`], `part` one of its parts: a chunk of series, a few of
/// Kong's rows.
#[derive(Clone, Copy, Debug)]
enum Step {
    Preamble,
    /// A message begins with its length, so what is in it is measured first.
    Measure {
        family: usize,
        part: usize,
        bytes: u64,
    },
    Head {
        family: usize,
        bytes: u64,
    },
    Part {
        family: usize,
        part: usize,
    },
    End,
    Nothing,
}

#[derive(Clone, Copy, Debug, Default)]
struct Work {
    bytes: usize,
    chunks: usize,
}

/// What one part shows.
enum Part<'a> {
    Series(&'a Chunk),
    Kong(&'a [kong::Row]),
}

impl Exposition {
    /// Starts.
    #[must_use]
    pub fn new(snapshot: Snapshot, request: Request) -> Self {
        let Request {
            format,
            encoding,
            view,
            kong,
            mut preamble,
        } = request;
        let renderer = match format {
            Format::Text | Format::OpenMetrics => {
                Renderer::Lines(Lines::new(format, snapshot.layout()))
            }
            Format::Protobuf => Renderer::Messages(Messages::new(snapshot.layout())),
        };
        let kong = kong.map_or_else(Vec::new, |urls| kong::rows(&snapshot, view, &urls));
        let gzip = (encoding == Encoding::Gzip).then(|| {
            let plain = std::mem::take(&mut preamble);
            let mut gzip = Gzip::start(&mut preamble);
            gzip.write(&plain, &mut preamble);
            gzip
        });
        Self {
            source: Source {
                snapshot,
                kong,
                view,
                format,
                renderer,
            },
            gzip,
            preamble,
            step: Step::Preamble,
            spent: Work::default(),
            scratch: Vec::new(),
        }
    }

    /// Appends the next piece to `out`, about 64 KiB or less; false when nothing is left. Can append nothing and still
    /// have more: then its share of work was done on something that does not show yet.
    pub fn next_piece(&mut self, out: &mut Vec<u8>) -> bool {
        let enough = out.len() + PIECE;
        self.spent = Work::default();
        while out.len() < enough && self.spent.bytes < WORK.bytes && self.spent.chunks < WORK.chunks
        {
            if matches!(self.step, Step::Nothing) {
                return false;
            }
            self.step = self.take_step(out);
        }
        true
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_to(&mut self, to: &mut impl io::Write) -> io::Result<()> {
        let mut piece = Vec::with_capacity(2 * PIECE);
        loop {
            let more = self.next_piece(&mut piece);
            to.write_all(&piece)?;
            piece.clear();
            if !more {
                return Ok(());
            }
        }
    }

    /// Does one step; gives the one after it.
    fn take_step(&mut self, out: &mut Vec<u8>) -> Step {
        match self.step {
            Step::Preamble => {
                out.append(&mut self.preamble);
                self.source.begin(0)
            }
            Step::Measure {
                family,
                part,
                bytes,
            } => match self.measure(family, part) {
                Some(more) => Step::Measure {
                    family,
                    part: part + 1,
                    bytes: bytes.saturating_add(more),
                },
                None => Step::Head { family, bytes },
            },
            Step::Head { family, bytes } => {
                self.emit(out, |source, out| source.head(family, bytes, out));
                Step::Part { family, part: 0 }
            }
            Step::Part { family, part } => match self.part(family, part, out) {
                Some(()) => Step::Part {
                    family,
                    part: part + 1,
                },
                None => self.source.begin(family + 1),
            },
            Step::End => {
                self.emit(out, Source::end);
                if let Some(gzip) = &mut self.gzip {
                    gzip.finish(out);
                }
                Step::Nothing
            }
            Step::Nothing => Step::Nothing,
        }
    }

    /// Renders something small.
    fn emit(&mut self, out: &mut Vec<u8>, render: impl FnOnce(&Source, &mut Vec<u8>)) {
        match &mut self.gzip {
            None => render(&self.source, out),
            Some(gzip) => {
                self.scratch.clear();
                render(&self.source, &mut self.scratch);
                gzip.write(&self.scratch, out);
            }
        }
    }

    /// Renders a part, or takes what was packed of it; `None` past the last one.
    fn part(&mut self, family: usize, part: usize, out: &mut Vec<u8>) -> Option<()> {
        let family = *Family::ALL.get(family)?;
        let (source, scratch) = (&self.source, &mut self.scratch);
        let part = source.part(family, part)?;
        self.spent.chunks += 1;
        let Some(gzip) = &mut self.gzip else {
            let before = out.len();
            source.render(family, &part, out);
            self.spent.bytes += out.len() - before;
            return Some(());
        };
        let packed = source.packed(&part);
        let format = source.format;
        if let Some(segment) = packed.and_then(|packed| packed.get(format, family)) {
            gzip.append(segment, out);
            return Some(());
        }
        scratch.clear();
        source.render(family, &part, scratch);
        self.spent.bytes += scratch.len();
        match packed {
            Some(packed) => {
                let segment = gzip.segment(scratch);
                gzip.append(&segment, out);
                packed.keep(format, family, segment);
            }
            None => gzip.write(scratch, out),
        }
        Some(())
    }

    /// The length of a part. What has to be rendered for that is packed, if it can be, and so rendered once.
    fn measure(&mut self, family: usize, part: usize) -> Option<u64> {
        let family = *Family::ALL.get(family)?;
        let (source, scratch) = (&self.source, &mut self.scratch);
        let part = source.part(family, part)?;
        self.spent.chunks += 1;
        let packed = source.packed(&part);
        let format = source.format;
        if let Some(segment) = packed.and_then(|packed| packed.get(format, family)) {
            return Some(segment.plain_bytes());
        }
        scratch.clear();
        source.render(family, &part, scratch);
        self.spent.bytes += scratch.len();
        if let (Some(gzip), Some(packed)) = (&mut self.gzip, packed) {
            packed.keep(format, family, gzip.segment(scratch));
        }
        Some(scratch.len() as u64)
    }
}

impl Source {
    /// The first step of a family, or of the next one that has anything to show.
    fn begin(&self, family: usize) -> Step {
        let later = Family::ALL.iter().enumerate().skip(family);
        let next = later
            .filter(|(_, family)| !self.is_empty(**family))
            .map(|(position, _)| position)
            .next();
        match (next, &self.renderer) {
            (None, _) => Step::End,
            (Some(family), Renderer::Lines(_)) => Step::Head { family, bytes: 0 },
            (Some(family), Renderer::Messages(_)) => Step::Measure {
                family,
                part: 0,
                bytes: 0,
            },
        }
    }

    fn is_empty(&self, family: Family) -> bool {
        match family {
            Family::Kong => self.kong.is_empty(),
            _ => self.snapshot.series.len() == 0,
        }
    }

    fn part(&self, family: Family, part: usize) -> Option<Part<'_>> {
        match family {
            Family::Kong => self.kong.chunks(CHUNK).nth(part).map(Part::Kong),
            _ => {
                let chunk = self.snapshot.series.chunks().get(part)?;
                Some(Part::Series(chunk))
            }
        }
    }

    /// Where the packed output of a part is kept, if this scraper sees what all see.
    fn packed<'a>(&self, part: &Part<'a>) -> Option<&'a super::Packed> {
        match part {
            Part::Series(chunk) => {
                Some(chunk.packed()).filter(|packed| packed.is_settled(self.view))
            }
            Part::Kong(_) => None,
        }
    }

    fn head(&self, family: usize, bytes: u64, out: &mut Vec<u8>) {
        let Some(family) = Family::ALL.get(family) else {
            return;
        };
        match &self.renderer {
            Renderer::Lines(lines) => lines.head(*family, out),
            Renderer::Messages(messages) => messages.head(*family, bytes, out),
        }
    }

    fn render(&self, family: Family, part: &Part<'_>, out: &mut Vec<u8>) {
        if let Part::Series(chunk) = part {
            chunk.approach();
        }
        match (part, &self.renderer) {
            (Part::Series(chunk), Renderer::Lines(lines)) => {
                for series in chunk.iter() {
                    lines.series(family, series, self.view, out);
                }
            }
            (Part::Series(chunk), Renderer::Messages(messages)) => {
                for series in chunk.iter() {
                    messages.series(family, series, self.view, out);
                }
            }
            (Part::Kong(rows), Renderer::Lines(lines)) => {
                rows.iter().for_each(|row| lines.kong(row, out));
            }
            (Part::Kong(rows), Renderer::Messages(messages)) => {
                rows.iter().for_each(|row| messages.kong(row, out));
            }
        }
    }

    fn end(&self, out: &mut Vec<u8>) {
        if let Renderer::Lines(lines) = &self.renderer {
            lines.end(out);
        }
    }
}

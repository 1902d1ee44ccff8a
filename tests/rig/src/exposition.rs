//! A strict parser of Prometheus's text format, for tests and the demo: what it accepts, Prometheus accepts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use anyhow::{Context as _, Result, bail, ensure};

/// Labels of one series.
pub type Labels = BTreeMap<String, String>;

/// One scrape.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    types: BTreeMap<String, String>,
    series: BTreeMap<Series, f64>,
}

/// A series' name and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// Sample name (`…_bucket` is one of its own).
    pub name: String,
    /// Its labels.
    pub labels: Labels,
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.name, self.labels)
    }
}

/// A classic histogram: cumulative counts by upper bound in the metric's unit, ascending, +Inf last.
#[derive(Clone, Debug, PartialEq)]
pub struct Classic {
    /// (upper bound, cumulative count).
    pub buckets: Vec<(f64, f64)>,
    /// Sum of the samples.
    pub sum: f64,
    /// Number of samples.
    pub count: f64,
}

impl Exposition {
    /// Parses a whole page.
    ///
    /// # Errors
    /// On anything that is not legal; names the line.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(
            text.is_empty() || text.ends_with('\n'),
            "the page does not end with a line feed"
        );
        let mut page = Self::default();
        let mut families = Families::default();
        for (number, line) in text.lines().enumerate() {
            page.line(line, &mut families)
                .with_context(|| format!("line {}: {line}", number + 1))?;
        }
        Ok(page)
    }

    fn line(&mut self, line: &str, families: &mut Families) -> Result<()> {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').context("no type")?;
            ensure!(
                ["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind),
                "unknown type"
            );
            let before = self.types.insert(name.to_owned(), kind.to_owned());
            ensure!(before.is_none(), "a second TYPE of {name}");
            return Ok(());
        }
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (series, value) = sample(line)?;
        families.enter(self.family(&series.name))?;
        match self.series.insert(series, value) {
            None => Ok(()),
            Some(_) => bail!("the same series twice"),
        }
    }

    fn family<'a>(&self, name: &'a str) -> &'a str {
        let stem = ["_bucket", "_sum", "_count"]
            .into_iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .filter(|stem| matches!(self.kind(stem), Some("histogram" | "summary")));
        stem.unwrap_or(name)
    }

    /// Declared type of a family.
    #[must_use]
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.types.get(family).map(String::as_str)
    }

    /// Every series with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&Series, f64)> {
        self.series.iter().map(|(series, value)| (series, *value))
    }

    /// Series of that name whose labels include these.
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.iter()
            .filter(move |(series, _)| series.name == name && includes(&series.labels, labels))
            .map(|(series, value)| (&series.labels, value))
    }

    /// Sum over [`Exposition::select`].
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.select(name, labels).map(|(_, value)| value).sum()
    }

    /// The value of the only series that [`Exposition::select`] finds.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn only(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let found: Vec<_> = self.select(name, labels).collect();
        match found.as_slice() {
            [(_, value)] => Ok(*value),
            _ => bail!("{} series are {name} {labels:?}: {found:?}", found.len()),
        }
    }

    /// The classic histogram summed over all series that include these labels; `None` when there is none.
    ///
    /// # Errors
    /// When a bucket's bound is not a number.
    pub fn classic(&self, family: &str, labels: &[(&str, &str)]) -> Result<Option<Classic>> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (found, value) in self.select(&format!("{family}_bucket"), labels) {
            let bound = number(found.get("le").context("a bucket without le")?)?;
            match buckets
                .iter_mut()
                .find(|(b, _)| b.total_cmp(&bound).is_eq())
            {
                Some((_, count)) => *count += value,
                None => buckets.push((bound, value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok((!buckets.is_empty()).then(|| Classic {
            buckets,
            sum: self.sum(&format!("{family}_sum"), labels),
            count: self.sum(&format!("{family}_count"), labels),
        }))
    }
}

impl Classic {
    /// As `histogram_quantile` computes it: (the bucket's lower bound, the interpolated value, its upper bound).
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<(f64, f64, f64)> {
        let rank = q * self.count;
        let at = self.buckets.iter().position(|(_, count)| *count >= rank)?;
        let (upper, cumulative) = *self.buckets.get(at)?;
        let (lower, below) = at
            .checked_sub(1)
            .and_then(|i| self.buckets.get(i))
            .copied()
            .unwrap_or_default();
        if upper.is_infinite() {
            return Some((lower, lower, upper));
        }
        let inside = cumulative - below;
        let share = if inside > 0.0 {
            (rank - below) / inside
        } else {
            1.0
        };
        Some((lower, lower + (upper - lower) * share, upper))
    }
}

/// Families must not be interleaved.
#[derive(Default)]
struct Families {
    current: String,
    ended: BTreeSet<String>,
}

impl Families {
    fn enter(&mut self, family: &str) -> Result<()> {
        if family != self.current {
            let before = std::mem::replace(&mut self.current, family.to_owned());
            self.ended.insert(before);
            ensure!(
                !self.ended.contains(family),
                "{family} is interleaved with others"
            );
        }
        Ok(())
    }
}

fn includes(labels: &Labels, wanted: &[(&str, &str)]) -> bool {
    wanted
        .iter()
        .all(|(name, value)| labels.get(*name).is_some_and(|v| v == value))
}

fn sample(line: &str) -> Result<(Series, f64)> {
    let end = line.find(['{', ' ']).context("no value")?;
    let (name, rest) = line.split_at(end);
    ensure!(is_name(name), "not a metric name: {name:?}");
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => label_set(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest
        .strip_prefix(' ')
        .context("no blank before the value")?;
    let value = value.split(' ').next().unwrap_or_default();
    Ok((
        Series {
            name: name.to_owned(),
            labels,
        },
        number(value)?,
    ))
}

fn label_set(mut rest: &str) -> Result<(Labels, &str)> {
    let mut labels = Labels::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((labels, rest));
        }
        let (name, after) = rest.split_once("=\"").context("a label without value")?;
        ensure!(
            is_name(name) && !name.contains(':'),
            "not a label name: {name:?}"
        );
        let (value, after) = quoted(after)?;
        ensure!(
            labels.insert(name.to_owned(), value).is_none(),
            "label {name} twice"
        );
        rest = after.strip_prefix(',').unwrap_or(after);
        ensure!(
            rest.len() < after.len() || rest.starts_with('}'),
            "no comma after {name}"
        );
    }
}

/// The value up to the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next().context("an open quote")? {
            '"' => return Ok((value, rest.as_str())),
            '\\' => value.push(match rest.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => bail!("an unknown escape {other:?}"),
            }),
            other => value.push(other),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn number(text: &str) -> Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        _ => text
            .parse()
            .with_context(|| format!("not a number: {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP l Latency.\n# TYPE l histogram\n\
        l_bucket{s=\"a\",le=\"0.1\"} 1\nl_bucket{s=\"a\",le=\"0.2\"} 3\nl_bucket{s=\"a\",le=\"+Inf\"} 4\n\
        l_sum{s=\"a\"} 0.9\nl_count{s=\"a\"} 4\n# TYPE n counter\nn{t=\"x\\\"y\\\\z\\n\"} 2\n";

    #[test]
    fn reads_a_page() {
        let page = Exposition::parse(PAGE).unwrap();
        assert_eq!(page.only("n", &[("t", "x\"y\\z\n")]).unwrap(), 2.0);
        assert_eq!(page.kind("l"), Some("histogram"));
        let histogram = page.classic("l", &[("s", "a")]).unwrap().unwrap();
        assert_eq!(
            histogram.quantile(0.5),
            Some((0.1, 0.15000000000000002, 0.2))
        );
        assert_eq!(histogram.quantile(1.0), Some((0.2, 0.2, f64::INFINITY)));
        assert_eq!(page.classic("l", &[("s", "b")]).unwrap(), None);
    }

    #[test]
    fn refuses_what_prometheus_refuses() {
        for page in [
            "a 1",
            "a 1\na 2\n",
            "a{b=\"c\" 1\n",
            "a{b=\"c\"d=\"e\"} 1\n",
            "a{b=\"\\t\"} 1\n",
            "1a 1\n",
            "a x\n",
            "a 1\nb 1\na{c=\"d\"} 1\n",
            "# TYPE a counter\n# TYPE a counter\n",
        ] {
            assert!(Exposition::parse(page).is_err(), "{page}");
        }
    }
}

//! Golden counts: exact for calls, entries, allocations; within 2 % for fuel.

use std::{fmt::Write as _, fs, path::Path};

/// Environment variable that makes [`check`] write the file instead.
pub const BLESS: &str = "GAUGEWAY_BLESS";
/// Fuel may differ by this fraction's inverse: 2 %.
const FUEL_TOLERANCE: u64 = 50;

/// Compares with the file, line by line; lines `fuel N` (with any indentation and name before) within 2 %.
///
/// # Errors
/// What differs, and how to accept it.
pub fn check(file: &Path, actual: &str) -> Result<(), String> {
    if std::env::var_os(BLESS).is_some() {
        return fs::write(file, actual).map_err(|error| format!("{}: {error}", file.display()));
    }
    let wanted = fs::read_to_string(file)
        .map_err(|error| format!("{}: {error}. Make it with {BLESS}=1", file.display()))?;
    let differing = differing(&wanted, actual);
    if differing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} differs:\n{differing}\nnow:\n{actual}\nIf the change is meant, run again with {BLESS}=1 and review the diff.",
        file.display()
    ))
}

/// The lines that do not fit, with the heading (a line that is not indented) that each stands under.
fn differing(wanted: &str, actual: &str) -> String {
    let mut text = String::new();
    let mut heading = "";
    let (mut wanted, mut actual) = (wanted.lines(), actual.lines());
    loop {
        let pair = (wanted.next(), actual.next());
        let (was, is) = match pair {
            (None, None) => return text,
            (Some(was), Some(is)) => (was, is),
            (was, is) => (was.unwrap_or("(nothing)"), is.unwrap_or("(nothing)")),
        };
        if !was.starts_with(' ') {
            heading = was;
        }
        if !line_fits(was, is) {
            let _ = writeln!(
                text,
                "  {heading}\n    was {}\n    is  {}",
                was.trim(),
                is.trim()
            );
        }
    }
}

fn line_fits(wanted: &str, actual: &str) -> bool {
    match (fuel(wanted), fuel(actual)) {
        (Some((name, wanted)), Some((same, actual))) => {
            name == same && wanted.abs_diff(actual) <= wanted / FUEL_TOLERANCE
        }
        _ => wanted == actual,
    }
}

fn fuel(line: &str) -> Option<(&str, u64)> {
    let (name, count) = line.rsplit_once(' ')?;
    name.ends_with("fuel")
        .then_some((name, count.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuel_may_differ_by_two_percent_and_nothing_else_by_anything() {
        assert!(line_fits("  fuel 1000", "  fuel 1020"));
        assert!(!line_fits("  fuel 1000", "  fuel 1021"));
        assert!(!line_fits("  proxy_log 1", "  proxy_log 2"));
        assert!(!line_fits("a fuel 10", "b fuel 10"));
    }

    #[test]
    fn what_differs_is_told_with_its_heading() {
        let was = "a\n  calls 1\nb\n  calls 2\n  fuel 100\n";
        assert_eq!(differing(was, &was.replace("100", "101")), "");
        let is = was.replace("calls 2", "calls 3");
        let told = differing(was, &is);
        assert_eq!(told, "  b\n    was calls 2\n    is  calls 3\n");
        assert!(differing(was, "").contains("(nothing)"));
    }
}

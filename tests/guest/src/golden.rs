//! Golden counts: exact for calls, entries, allocations; within 2 % for fuel.

use std::{fs, path::Path};

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
    let same = wanted.lines().count() == actual.lines().count()
        && wanted
            .lines()
            .zip(actual.lines())
            .all(|(wanted, actual)| line_fits(wanted, actual));
    if same {
        Ok(())
    } else {
        Err(format!(
            "{} differs. If the change is meant, run again with {BLESS}=1 and review the diff.\nwanted:\n{wanted}\ngot:\n{actual}",
            file.display()
        ))
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
}

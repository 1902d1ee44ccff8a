//! CPU time of another process, in nanoseconds.

use std::fs;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What Linux counts in, on every machine that Envoy is built for.
const TICK_NANOSECONDS: u64 = 10_000_000;

/// CPU time that all threads of a process have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuTime(Duration);

impl CpuTime {
    /// Of a running process. The scheduler's own account: `stat` counts in ticks of 10 ms.
    pub(crate) fn of(process: u32) -> Result<Self> {
        let tasks = format!("/proc/{process}/task");
        let mut nanoseconds = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("list {tasks}"))? {
            let path = task?.path().join("schedstat");
            // A thread that ends takes its account with it. Envoy's live as long as it does.
            let text = match fs::read_to_string(&path) {
                Err(error) if has_ended(&error) => continue,
                text => text.with_context(|| format!("read {}", path.display()))?,
            };
            nanoseconds += parse(&text).with_context(|| format!("{}: {text:?}", path.display()))?;
        }
        Ok(Self::nanoseconds(nanoseconds))
    }

    /// Of a running process whose threads come and go: ended ones count, in ticks.
    pub(crate) fn in_ticks(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let ticks = ticks(&text).with_context(|| format!("{path}: {text:?}"))?;
        Ok(Self::nanoseconds(ticks * TICK_NANOSECONDS))
    }

    const fn nanoseconds(nanoseconds: u64) -> Self {
        Self(Duration::from_nanos(nanoseconds))
    }

    /// What was used in between.
    pub(crate) fn since(self, before: Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
}

/// `id (name) state …`: of what follows the name, the 12th field is time in the program, the 13th in the kernel.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split(' ').skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// No such file before it was opened, no such process after.
fn has_ended(error: &Error) -> bool {
    const NO_SUCH_PROCESS: i32 = 3;
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

/// `time on CPU (ns), time waiting (ns), slices`.
fn parse(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_the_cpu_is_the_first_field() {
        assert_eq!(parse("1036474 48213 4\n"), Some(1_036_474));
        assert_eq!(parse("\n"), None);
    }

    #[test]
    fn ticks_are_those_of_program_and_kernel() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 2000 0 0 0 150 25 0 0 20 0 8 0";
        assert_eq!(ticks(stat), Some(175));
        assert_eq!(ticks("7 (a) S 1"), None);
        assert!(CpuTime::in_ticks(std::process::id()).is_ok());
    }

    #[test]
    fn work_takes_time() {
        let me = std::process::id();
        let before = CpuTime::of(me).unwrap();
        let mut sum = 0_u64;
        while CpuTime::of(me).unwrap().since(before) < Duration::from_millis(1) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(CpuTime::of(me).unwrap() > before);
    }
}

//! CPU time of another process, in nanoseconds.

use std::fs;
use std::io::{Error, ErrorKind};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// CPU time that all threads of a process have used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
        Ok(Self(Duration::from_nanos(nanoseconds)))
    }

    /// What was used in between.
    pub(crate) fn since(self, before: Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
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

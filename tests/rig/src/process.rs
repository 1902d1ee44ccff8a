//! A child process: its log kept in a file, ended in order or killed, killed when dropped.

use std::{
    fs::{File, OpenOptions},
    future::Future,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
pub use rustix::process::Signal;
use rustix::process::{Pid, Resource, Rlimit, kill_process, prlimit};
use tokio::{
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::wait::until;

/// How much of a process's log an error shows.
const TAIL_BYTES: u64 = 4096;

/// A running child. It belongs to the caller's process group, so Ctrl-C reaches it as well.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it writes to stderr is appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let stderr = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name} ({:?})", command.as_std().get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Its process id; `None` once it has ended and was waited for.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its standard output, once, if the command piped it.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Errs when it has ended: it should be running.
    ///
    /// # Errors
    /// With its status and the tail of its log.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("ask for its status")? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}\n{}", self.name, self.log_tail()),
        }
    }

    /// Looks until `look` is `Ok`, as [`until`] does, but not beyond the process's end.
    ///
    /// # Errors
    /// When the process ends or `deadline` passes first; with the tail of its log.
    pub async fn until<T, F, Fut>(&mut self, what: &str, deadline: Duration, look: F) -> Result<T>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        tokio::select! {
            outcome = until(what, deadline, look) => outcome.with_context(|| self.log_tail()),
            status = self.child.wait() => {
                let status = status.with_context(|| format!("wait for {}", self.name))?;
                bail!("{what}: {} ended with {status}\n{}", self.name, self.log_tail())
            }
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log.display();
        match tail(&self.log) {
            Ok(text) => format!("--- end of {log}:\n{text}"),
            Err(error) => format!("--- {log} cannot be read: {error}"),
        }
    }

    /// Asks it to end (SIGTERM) and kills it when it has not within `grace`.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub async fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match timeout(grace, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("wait for {}", self.name)),
            Err(_) => self.kill().await,
        }
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.child
            .wait()
            .await
            .with_context(|| format!("wait for {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has not ended by `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        match timeout(deadline, self.child.wait()).await {
            Ok(status) => status.with_context(|| format!("wait for {}", self.name)),
            Err(_) => bail!(
                "{} still runs after {deadline:?}\n{}",
                self.name,
                self.log_tail()
            ),
        }
    }

    /// Sends a signal; a process that has ended already is no error.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid() else {
            return Ok(());
        };
        kill_process(pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Lets it write no file beyond so many bytes from now on (`RLIMIT_FSIZE`); `None` takes that back.
    ///
    /// # Errors
    /// When the system refuses, or the process has ended.
    pub fn limit_files(&self, bytes: Option<u64>) -> Result<()> {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        let pid = self
            .pid()
            .with_context(|| format!("{} has ended", self.name))?;
        prlimit(Some(pid), Resource::Fsize, limit)
            .with_context(|| format!("limit the files of {}", self.name))?;
        Ok(())
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        let id = self
            .id()
            .with_context(|| format!("{} has ended", self.name))?;
        let path = format!("/proc/{id}/status");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let kilobytes = kilobytes.with_context(|| format!("no VmRSS in {path}"))?;
        Ok(1024 * kilobytes.trim().parse::<u64>().context("VmRSS")?)
    }

    /// Its whole log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes =
            std::fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pid(&self) -> Option<Pid> {
        let id = self.child.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[tokio::test]
    async fn kills_what_does_not_end_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process = Process::spawn(
            "stubborn",
            shell("trap '' TERM; echo up >&2; while :; do sleep 1; done"),
            &log,
        )
        .unwrap();
        until("its log", crate::wait::PATIENCE, || {
            let tail = process.log_tail();
            async move {
                if tail.contains("up") {
                    Ok(())
                } else {
                    bail!("{tail}")
                }
            }
        })
        .await
        .unwrap();
        let status = process.terminate(Duration::from_millis(50)).await.unwrap();
        assert!(!status.success());
        assert!(process.id().is_none());
    }

    #[tokio::test]
    async fn shows_why_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process =
            Process::spawn("brief", shell("echo no such thing >&2; exit 3"), &log).unwrap();
        process.wait(crate::wait::PATIENCE).await.unwrap();
        let error = process.check_alive().unwrap_err().to_string();
        assert!(error.contains("no such thing"), "{error}");
    }

    #[tokio::test]
    async fn nothing_is_awaited_beyond_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let script = shell("echo no such flag >&2; exit 3");
        let mut process = Process::spawn("brief", script, &log).unwrap();
        // Longer than any test may take.
        let patience = Duration::from_secs(86_400);
        let never = || async { bail!("not yet") };
        let waited = process.until::<(), _, _>("a miracle", patience, never);
        let error = format!("{:#}", waited.await.unwrap_err());
        assert!(
            error.contains("a miracle: brief ended with exit status: 3"),
            "{error}"
        );
        assert_eq!(error.matches("no such flag").count(), 1, "{error}");
    }
}

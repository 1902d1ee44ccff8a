//! Starting programs: what is run is printed first, and a failure says which program and what to do.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt};

use anyhow::{Context as _, Result, bail};

/// All that builds natively. The filter is a cdylib for wasm: its host calls do not link here.
pub(crate) const NATIVE_WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "gaugeway-filter"];

/// A stretch of work with a title and a duration.
pub(crate) struct Step {
    title: String,
    since: Instant,
}

impl Step {
    pub(crate) fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        eprintln!("==> {title}");
        Self {
            title,
            since: Instant::now(),
        }
    }

    /// Tells the end; gives the time taken.
    pub(crate) fn done(self) -> Duration {
        let took = self.since.elapsed();
        eprintln!("    {}: done in {}", self.title, Seconds(took));
        took
    }
}

/// A duration as people read it: `0.4 s`, `12 s`, `3 min 05 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..10 => write!(formatter, "{:.1} s", self.0.as_secs_f64()),
            10..120 => write!(formatter, "{seconds} s"),
            _ => write!(formatter, "{} min {:02} s", seconds / 60, seconds % 60),
        }
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it at run time; the value at compile time is stale when the clone has moved.
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&manifest)
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// A command that runs in the repository's root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// `cargo ARGS`, with the cargo that started us.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// In CI the lock file must be what was committed; a developer's may follow a change of a manifest.
pub(crate) fn locked() -> &'static [&'static str] {
    if in_ci() { &["--locked"] } else { &[] }
}

/// Whether a missing tool is a failure.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Prints the command, runs it with our terminal, fails unless it exits with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    announce(command);
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{} failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs quietly and gives what it printed, whatever its exit status. `None`: there is no such program.
pub(crate) fn output(command: &mut Command) -> Result<Option<Output>> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| cannot_start(command)),
    }
}

/// Standard output of a command that must succeed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let Some(output) = output(command)? else {
        bail!("{}: no such program", shown(command))
    };
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Becomes the command, so that Ctrl-C reaches it alone and the shell waits for it.
pub(crate) fn replace_by(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    announce(command);
    let error = command.exec();
    Err(error).with_context(|| cannot_start(command))
}

/// A program on `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

/// Whether there is a file that may be executed.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

/// `cargo metadata` of the workspace itself.
pub(crate) fn metadata() -> Result<serde_json::Value> {
    let text = read(&mut cargo([
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
    ]))?;
    serde_json::from_str(&text).context("cannot read the output of cargo metadata")
}

fn announce(command: &Command) {
    eprintln!("  $ {}", shown(command));
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start {}", shown(command))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let args = command.get_args().map(|arg| {
        let arg = arg.to_string_lossy();
        if arg.contains(char::is_whitespace) {
            format!("'{arg}'")
        } else {
            arg.into_owned()
        }
    });
    std::iter::once(name.into_owned())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let shown = |milliseconds| Seconds(Duration::from_millis(milliseconds)).to_string();
        assert_eq!(shown(420), "0.4 s");
        assert_eq!(shown(59_900), "59 s");
        assert_eq!(shown(185_000), "3 min 05 s");
    }

    #[test]
    fn a_command_is_shown_as_one_would_type_it() {
        assert_eq!(
            shown(Command::new("/usr/bin/python3").args(["-m", "pip", "a b"])),
            "python3 -m pip 'a b'"
        );
    }

    #[test]
    fn a_missing_program_is_no_error_but_none() {
        assert!(
            output(&mut Command::new("no-such-program-of-ours"))
                .unwrap()
                .is_none()
        );
    }
}

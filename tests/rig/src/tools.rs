//! Finding what is not ours: Envoy, Prometheus, Helm, mdBook, Kubernetes' schemas.

use std::{
    env,
    fs::read_dir,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, bail};

/// A program that the rig can drive, or a directory of data.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What it must be to be taken.
    pub kind: Kind,
    /// File name.
    pub program: &'static str,
    /// Environment variable that names it.
    pub variable: &'static str,
    /// How a stranger gets it.
    pub how: &'static str,
}

/// What a [`Tool`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file that may be executed.
    Program,
    /// A directory.
    Directory,
}

/// Envoy.
pub const ENVOY: Tool = Tool {
    kind: Kind::Program,
    program: "envoy",
    variable: "ENVOY_BIN",
    how: "run `cargo xtask setup`, which fetches it into .tools, or set ENVOY_BIN, or put `envoy` on PATH",
};

/// Prometheus.
pub const PROMETHEUS: Tool = Tool {
    kind: Kind::Program,
    program: "prometheus",
    variable: "PROMETHEUS_BIN",
    how: "install the package `prometheus`, or set PROMETHEUS_BIN",
};

/// Prometheus's checker.
pub const PROMTOOL: Tool = Tool {
    kind: Kind::Program,
    program: "promtool",
    variable: "PROMTOOL_BIN",
    how: "install the package `prometheus`, or set PROMTOOL_BIN",
};

/// Helm.
pub const HELM: Tool = Tool {
    kind: Kind::Program,
    program: "helm",
    variable: "HELM_BIN",
    how: "run `cargo xtask setup`, which fetches it into .tools, or set HELM_BIN, or put `helm` on PATH",
};

/// mdBook.
pub const MDBOOK: Tool = Tool {
    kind: Kind::Program,
    program: "mdbook",
    variable: "MDBOOK_BIN",
    how: "run `cargo xtask setup`, which builds it into .tools, or set MDBOOK_BIN, or put `mdbook` on PATH",
};

/// JSON schemas of Kubernetes' built-in kinds, a directory per release.
pub const KUBERNETES_SCHEMAS: Tool = Tool {
    kind: Kind::Directory,
    program: "kubernetes-schemas",
    variable: "KUBERNETES_SCHEMAS",
    how: "run `cargo xtask setup`, which fetches them into .tools, or set KUBERNETES_SCHEMAS",
};

impl Tool {
    /// Finds it: its environment variable, then `.tools/` (or `.tools/<program>-<version>/[bin/]`, the last by name) in the
    /// working directory or above, then `PATH`.
    ///
    /// # Errors
    /// When it is nowhere (says how to get it), or the variable names something that is not a program.
    pub fn find(&self) -> Result<PathBuf> {
        if let Some(path) = env::var_os(self.variable).filter(|p| !p.is_empty()) {
            let path = PathBuf::from(path);
            if !self.kind.is(&path) {
                bail!(
                    "{} is {}, which is not a {}",
                    self.variable,
                    path.display(),
                    self.kind.name()
                );
            }
            return Ok(path);
        }
        let here = env::current_dir().unwrap_or_default();
        self.in_tools(&here)
            .or_else(|| self.on_path())
            .ok_or_else(|| anyhow!("{} is missing: {}", self.program, self.how))
    }

    /// For tests: whether the tool is there. Where it is not, a test is skipped, loudly; with `CI` set (to anything but
    /// `false`) that is an error.
    ///
    /// # Errors
    /// With `CI` set, what [`Tool::find`] says.
    pub fn or_skip(&self) -> Result<bool> {
        match self.find() {
            Ok(_) => Ok(true),
            Err(error) if env::var("CI").is_ok_and(|ci| !["", "false"].contains(&ci.as_str())) => {
                Err(error)
            }
            Err(error) => {
                // Straight to stderr: the test harness would keep what is printed to itself.
                writeln!(std::io::stderr(), "SKIPPED a test: {error}")?;
                Ok(false)
            }
        }
    }

    fn in_tools(&self, from: &Path) -> Option<PathBuf> {
        from.ancestors()
            .find_map(|dir| self.in_directory(&dir.join(".tools")))
    }

    fn in_directory(&self, tools: &Path) -> Option<PathBuf> {
        let prefix = format!("{}-", self.program);
        let mut found: Vec<PathBuf> = read_dir(tools)
            .ok()?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .flat_map(|entry| {
                ["", "bin"].map(|inside| entry.path().join(inside).join(self.program))
            })
            .chain([tools.join(self.program)])
            .filter(|path| self.kind.is(path))
            .collect();
        found.sort();
        found.pop()
    }

    fn on_path(&self) -> Option<PathBuf> {
        env::split_paths(&env::var_os("PATH")?)
            .map(|dir| dir.join(self.program))
            .find(|path| self.kind.is(path))
    }
}

impl Kind {
    fn is(self, path: &Path) -> bool {
        path.metadata().is_ok_and(|meta| match self {
            Self::Program => meta.is_file() && meta.permissions().mode() & 0o111 != 0,
            Self::Directory => meta.is_dir(),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Directory => "directory",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir_all, set_permissions, write};

    fn program(path: &Path) {
        create_dir_all(path.parent().unwrap()).unwrap();
        write(path, "").unwrap();
        set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn finds_the_newest_in_tools_above() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join(".tools/envoy-1.39.0/envoy"));
        program(&dir.path().join(".tools/envoy-1.40.0/envoy"));
        let below = dir.path().join("tests/e2e");
        create_dir_all(&below).unwrap();
        assert_eq!(
            ENVOY.in_tools(&below),
            Some(dir.path().join(".tools/envoy-1.40.0/envoy"))
        );
    }

    #[test]
    fn what_cannot_be_run_is_not_a_program() {
        let dir = tempfile::tempdir().unwrap();
        create_dir_all(dir.path().join(".tools")).unwrap();
        write(dir.path().join(".tools/envoy"), "").unwrap();
        assert_eq!(ENVOY.in_directory(&dir.path().join(".tools")), None);
    }
}

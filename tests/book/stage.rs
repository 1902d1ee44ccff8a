//! Where the commands of one page run: a directory of its own, our real `gaugeway`, the real helm that renders instead
//! of installing, and stand-ins for what is not ours.
//!
//! What would go on for ever (`controller`, `demo`) is stopped after its command line was read: an impossible log
//! filter, or an Envoy that is not there, ends it with 1; a wrong command line is 2. Any other program is missing, so a
//! page that names one fails.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use gaugeway_rig::tools::HELM;

use crate::pages::root;

const GAUGEWAY: &str = r#"case "$1" in
controller | demo)
  GAUGEWAY_LOG='=!' ENVOY_BIN=/nonexistent "$GAUGEWAY" "$@" >&2
  code=$?
  [ "$code" -le 1 ] || exit "$code" ;;
*) exec "$GAUGEWAY" "$@" ;;
esac"#;

/// Renders what it would install; without helm it lets everything pass (`or_skip` has said so).
const HELM_SCRIPT: &str = r#"[ -n "$HELM" ] || exit 0
case "$1" in
install | upgrade) shift; exec "$HELM" template "$@" ;;
template) exec "$HELM" "$@" ;;
*) echo "helm $1: not known here" >&2; exit 1 ;;
esac"#;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Programs that are not run: they take what is piped into them, and say what a later command needs.
const STAND_INS: [(&str, &str); 8] = [
    (
        "kubectl",
        r#"case "$*" in
*"get secret"*) printf %s "$KEY" | base64 -w0 ;;
*"-f -"*) input=$(cat); [ -n "$input" ] ;;
esac"#,
    ),
    ("openssl", r#"echo "$KEY""#),
    ("crane", r#"[ "$1" != push ] || [ -f "$2/index.json" ]"#),
    ("curl", ":"),
    ("docker", ":"),
    ("envoy", r#"[ "$1" != -c ] || [ -s "$2" ]"#),
    ("cargo", ":"),
    ("git", ":"),
];

/// A directory in which the commands of one page run, one after the other.
pub(crate) struct Stage {
    directory: tempfile::TempDir,
    helm: String,
}

impl Stage {
    pub(crate) fn try_new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let programs = directory.path().join("programs");
        fs::create_dir(&programs)?;
        let ours = [("gaugeway", GAUGEWAY), ("helm", HELM_SCRIPT)];
        for (name, script) in ours.into_iter().chain(STAND_INS) {
            let path = programs.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let clone = directory.path().join("clone");
        fs::create_dir(&clone)?;
        for name in ["charts", "examples"] {
            symlink(root().join(name), clone.join(name))?;
        }
        symlink(root().join("examples/demo"), clone.join("manifests"))?;
        let helm = if HELM.or_skip()? {
            HELM.find()?.to_string_lossy().into_owned()
        } else {
            String::new()
        };
        Ok(Self { directory, helm })
    }

    /// Runs a script as a shell would that stops at the first failure, pipes included.
    pub(crate) fn run(&self, script: &str) -> Result<()> {
        let home = self.directory.path();
        let path = format!("{}:/usr/bin:/bin", home.join("programs").display());
        let output = Command::new("bash")
            .args(["-e", "-u", "-o", "pipefail", "-c", script])
            .current_dir(home.join("clone"))
            .env_clear()
            .env("PATH", path)
            .env("HOME", home)
            .env("GAUGEWAY", env!("CARGO_BIN_EXE_gaugeway"))
            .env("HELM", &self.helm)
            .env("KEY", KEY)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "{script}\nended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    pub(crate) fn has(&self, name: &Path) -> bool {
        self.directory.path().join("clone").join(name).exists()
    }
}

#[test]
fn a_wrong_command_line_fails() -> Result<()> {
    let stage = Stage::try_new()?;
    for wrong in [
        "gaugeway controller --manifest ./manifests --insecure-no-token",
        "gaugeway controller --manifests ./manifests --insecure-no-token --dimensions pods",
        "gaugeway demo --kept",
        "gaugeway crdz | kubectl apply -f -",
        "gaugeway token --gateway a/b --token-key-file gone",
        "true | nosuchprogram",
    ] {
        assert!(stage.run(wrong).is_err(), "{wrong}");
    }
    stage.run("gaugeway controller --manifests ./manifests --insecure-no-token")?;
    stage.run("gaugeway token --new-key > key")?;
    assert!(stage.has(Path::new("key")));
    Ok(())
}

//! `gaugeway filter`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use super::output::{Output, out};
use crate::embedded::{
    ENVOY_MODULE, ENVOY_MODULE_SHA256, KONG_FILTER, KONG_META, KONG_MODULE, KONG_MODULE_SHA256,
};

mod oci;

const EXAMPLES: &str = "\
Examples:
  gaugeway filter --output gaugeway.wasm
  gaugeway filter --output - | sha256sum
  gaugeway filter --host kong --output /usr/local/kong/wasm
  gaugeway filter --host kong --sha256
  gaugeway filter --oci ./layout

Kong's module goes into the directory that its wasm_filters_path names, together with gaugeway.meta.json.
An OCI layout is pushed with `crane push ./layout REGISTRY/gaugeway-filter:TAG` or `skopeo copy oci:./layout docker://…`;
Istio's WasmPlugin and Envoy Gateway then load it by `oci://`. The digest printed is the one to pin.
The controller serves the same modules at http://WASM-PORT/v1/filter/<sha256>.wasm.";

/// Write the filter's module for a gateway, or say its SHA-256.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FilterArgs {
    /// The gateway that it is for. Neither runs the other's.
    #[arg(long, value_name = "HOST", value_enum, default_value = "envoy")]
    host: Host,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Write to PATH: for Envoy a file, or a directory that gets gaugeway.wasm; for Kong a directory, made if need be,
    /// that gets gaugeway.wasm and gaugeway.meta.json. `-` is standard output, for the module alone.
    #[arg(long, short, value_name = "PATH")]
    output: Option<Output>,
    /// Print the module's SHA-256, lowercase hex.
    #[arg(long)]
    sha256: bool,
    /// Write an OCI image layout with Envoy's module to the directory DIR, made if need be, for Istio and Envoy Gateway
    /// to pull once it is pushed; print the manifest's digest.
    #[arg(long, value_name = "DIR")]
    oci: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Host {
    /// Envoy, also under Istio and Envoy Gateway.
    Envoy,
    /// Kong 3.4 to 3.9 with WasmX.
    Kong,
}

impl Host {
    const fn module(self) -> (&'static [u8], &'static str) {
        match self {
            Self::Envoy => (ENVOY_MODULE, ENVOY_MODULE_SHA256),
            Self::Kong => (KONG_MODULE, KONG_MODULE_SHA256),
        }
    }

    fn write_oci(self, directory: &Path) -> Result<ExitCode> {
        if matches!(self, Self::Kong) {
            bail!(
                "Kong loads filters from files only; use: gaugeway filter --host kong --output DIR"
            );
        }
        let digest = oci::write(directory, self.module().0, env!("CARGO_PKG_VERSION"))?;
        out(format!("{digest}\n").as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

impl FilterArgs {
    pub(super) fn run(self) -> Result<ExitCode> {
        let (module, sha256) = self.host.module();
        if let Some(directory) = self.what.oci {
            return self.host.write_oci(&directory);
        }
        match (self.what.output, self.host) {
            (None, _) => out(format!("{sha256}\n").as_bytes())?,
            (Some(Output::File(path)), Host::Kong) => write_for_kong(&path)?,
            (Some(Output::File(path)), Host::Envoy) if path.is_dir() => {
                Output::File(file(&path, "wasm")).write_binary(module)?;
            }
            (Some(output), _) => output.write_binary(module)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The schema first: Kong refuses configurations of a module that it finds without one.
fn write_for_kong(directory: &Path) -> Result<()> {
    if directory.extension().is_some_and(|end| end == "wasm") {
        bail!(
            "{} is no directory: Kong needs two files, gaugeway.wasm and gaugeway.meta.json; name the directory for them",
            directory.display()
        );
    }
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    Output::File(file(directory, "meta.json")).write(KONG_META.as_bytes())?;
    Output::File(file(directory, "wasm")).write_binary(KONG_MODULE)
}

fn file(directory: &Path, end: &str) -> PathBuf {
    directory.join(format!("{KONG_FILTER}.{end}"))
}

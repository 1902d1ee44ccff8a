//! The filter as an OCI artifact: an image layout directory that `crane push`, `oras cp --from-oci-layout` and
//! `skopeo copy oci:` push as it is.
//!
//! The layout is the *compat* variant of the Wasm image specification: one `tar+gzip` layer with `plugin.wasm`, the form
//! that Istio and Envoy Gateway try first. **Invariant:** the same module gives the same bytes, so that the manifest's
//! digest can be pinned: no time, no user, no machine is in it.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Where Istio and Envoy Gateway look in the layer.
const FILE: &str = "plugin.wasm";

/// Writes the layout of a module into a directory, made if need be. Returns the manifest's digest, `sha256:<hex>`.
///
/// # Errors
/// A directory that holds something else; what the file system says.
pub(super) fn write(directory: &Path, module: &[u8], version: &str) -> Result<String> {
    let cannot = || format!("cannot write the layout {}", directory.display());
    if fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some())
        && !directory.join("oci-layout").is_file()
    {
        bail!(
            "{} is neither empty nor an OCI layout; name another directory",
            directory.display()
        );
    }
    Layout { directory }
        .write(module, version)
        .with_context(cannot)
}

struct Layout<'a> {
    directory: &'a Path,
}

impl Layout<'_> {
    fn write(&self, module: &[u8], version: &str) -> Result<String> {
        fs::create_dir_all(self.directory.join("blobs/sha256"))?;
        let tar = archive(module)?;
        let layer = self.blob(LAYER, &compressed(&tar)?)?;
        let config = self.json(
            CONFIG,
            &json!({
                "architecture": "wasm",
                "os": "wasip1",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]},
            }),
        )?;
        let mut manifest = self.json(
            MANIFEST,
            &json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [layer],
                "annotations": {
                    "module.wasm.image/variant": "compat",
                    "org.opencontainers.image.title": "gaugeway",
                    "org.opencontainers.image.version": version,
                    "org.opencontainers.image.licenses": "Apache-2.0",
                },
            }),
        )?;
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": version});
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        self.file(
            "index.json",
            &bytes(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest]}))?,
        )?;
        self.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(digest)
    }

    /// Writes a blob; its descriptor.
    fn blob(&self, media_type: &str, content: &[u8]) -> Result<Value> {
        let digest = digest(content);
        self.file(&format!("blobs/{}", digest.replace(':', "/")), content)?;
        Ok(json!({"mediaType": media_type, "digest": digest, "size": content.len()}))
    }

    fn json(&self, media_type: &str, content: &Value) -> Result<Value> {
        self.blob(media_type, &bytes(content)?)
    }

    fn file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        fs::write(self.directory.join(name), content)
    }
}

fn bytes(json: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(json)?)
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{:x}", HexBytes(&Sha256::digest(content)))
}

/// Bytes as lowercase hex.
struct HexBytes<'a>(&'a [u8]);

impl std::fmt::LowerHex for HexBytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn archive(module: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(module.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, FILE, module)?;
    tar.into_inner()
}

fn compressed(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(tar)?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::embedded::ENVOY_MODULE;

    fn read(directory: &Path, digest: &str) -> Vec<u8> {
        let content = fs::read(directory.join("blobs").join(digest.replace(':', "/"))).unwrap();
        assert_eq!(
            super::digest(&content),
            digest,
            "a blob's name is its digest"
        );
        content
    }

    fn parse(content: &[u8]) -> Value {
        serde_json::from_slice(content).unwrap()
    }

    fn descriptor<'a>(value: &'a Value, media_type: &str) -> &'a str {
        assert_eq!(value["mediaType"], media_type);
        value["digest"].as_str().unwrap()
    }

    /// What Istio's and Envoy Gateway's image fetchers do.
    fn fetched(directory: &Path) -> Vec<u8> {
        let index = parse(&fs::read(directory.join("index.json")).unwrap());
        let [entry] = index["manifests"].as_array().unwrap().as_slice() else {
            panic!("one manifest, so that a push needs no choice");
        };
        let manifest = read(directory, descriptor(entry, MANIFEST));
        assert_eq!(entry["size"], manifest.len());
        let manifest = parse(&manifest);
        assert_ne!(
            manifest["mediaType"],
            "application/vnd.docker.distribution.manifest.v2+json"
        );
        let layer = manifest["layers"].as_array().unwrap().last().unwrap();
        let layer = read(directory, descriptor(layer, LAYER));
        let config = parse(&read(directory, descriptor(&manifest["config"], CONFIG)));
        let mut tar = Vec::new();
        GzDecoder::new(&layer[..]).read_to_end(&mut tar).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&tar)]));
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap(), Path::new("plugin.wasm"));
        let mut module = Vec::new();
        entry.read_to_end(&mut module).unwrap();
        module
    }

    #[test]
    fn gateways_find_the_module_in_it() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), ENVOY_MODULE, "1.2.3").unwrap();
        assert_eq!(fetched(directory.path()), ENVOY_MODULE);
    }

    #[test]
    fn the_same_module_has_the_same_digest_and_may_be_written_again() {
        let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let first = write(one.path(), b"\0asm", "1").unwrap();
        assert_eq!(write(one.path(), b"\0asm", "1").unwrap(), first);
        assert_eq!(write(two.path(), b"\0asm", "1").unwrap(), first);
        assert_ne!(write(two.path(), b"\0asm\x01", "1").unwrap(), first);
        assert_eq!(
            fetched(two.path()),
            b"\0asm\x01",
            "the index names the last one"
        );
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.txt"), "x").unwrap();
        let error = write(directory.path(), b"\0asm", "1").unwrap_err();
        assert!(error.to_string().contains("name another directory"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

//! One manifest file's text as objects.
//!
//! Invariants: a file is good as a whole or bad as a whole, since half of a file would look like deletions; every
//! problem of a bad file is told, with its line.

use std::path::Path;

use gaugeway_index::{Kind, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use serde_saphyr::Spanned;

/// Problems told per file, at most.
const MAX_PROBLEMS: usize = 10;
/// Where objects without a namespace live, as with `kubectl apply`.
const DEFAULT_NAMESPACE: &str = "default";

/// What a good file holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parsed {
    pub(super) objects: Vec<Object>,
    /// Objects of kinds that do not matter here.
    pub(super) ignored: usize,
}

/// Why a file is bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// From 1.
    pub(super) document: usize,
    /// From 1, in the file.
    pub(super) line: u64,
    pub(super) message: String,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Yaml,
    Json,
}

impl Format {
    /// By the file's name; `None` for other files.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

pub(super) fn parse(text: &str, format: Format) -> Result<Parsed, Vec<Problem>> {
    let mut parsed = Parsed::default();
    let mut problems = Vec::new();
    for (number, document) in (1..).zip(documents(text, format)) {
        if let Err(at) = document.parse(&mut parsed) {
            problems.push(Problem {
                document: number,
                line: document.first_line + at.line.saturating_sub(1),
                message: at.message,
            });
        }
    }
    problems.truncate(MAX_PROBLEMS);
    if problems.is_empty() {
        Ok(parsed)
    } else {
        Err(problems)
    }
}

#[derive(Debug)]
struct Document<'a> {
    text: &'a str,
    /// In the file, from 1.
    first_line: u64,
    format: Format,
}

/// A line in a document, from 1, and what is wrong there.
#[derive(Debug)]
struct Located {
    line: u64,
    message: String,
}

/// At a line's start `---` is a document's start in every context.
fn documents(text: &str, format: Format) -> Vec<Document<'_>> {
    let mut starts = vec![(0, 1)];
    let mut offset = 0;
    for (line, content) in (1..).zip(text.split_inclusive('\n')) {
        let marker = content.trim_end();
        if offset > 0 && (marker == "---" || marker.starts_with("--- ")) {
            starts.push((offset, line));
        }
        offset += content.len();
    }
    if format == Format::Json {
        starts.truncate(1);
    }
    let ends = starts.iter().skip(1).map(|(offset, _)| *offset);
    let ends = ends.chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&(from, first_line), to)| Document {
            text: text.get(from..to).unwrap_or_default(),
            first_line,
            format,
        })
        .collect()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    api_version: Option<String>,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct YamlList {
    #[serde(default)]
    items: Vec<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
struct JsonList {
    #[serde(default)]
    items: Vec<Value>,
}

/// Pods and ReplicaSets: nothing else of them is read.
#[derive(Debug, Deserialize)]
struct MetadataOnly {
    metadata: ObjectMeta,
}

impl Document<'_> {
    fn parse(&self, parsed: &mut Parsed) -> Result<(), Located> {
        let Some(types) = self.read::<Option<TypeMeta>>()? else {
            return Ok(());
        };
        let (group, kind) = types
            .names()
            .map_err(|message| Located { line: 1, message })?;
        if let Some(of) = kind.strip_suffix("List") {
            return self.parse_list(&types, of, parsed);
        }
        match known(group, kind) {
            Some(kind) => parsed.add(self.object(kind)?),
            None => parsed.ignored += 1,
        }
        Ok(())
    }

    fn object(&self, kind: Kind) -> Result<Object, Located> {
        match kind {
            Kind::Service => self.read().map(Object::Service),
            Kind::EndpointSlice => self.read().map(Object::EndpointSlice),
            Kind::Pod => self.metadata().map(Object::Pod),
            Kind::ReplicaSet => self.metadata().map(Object::ReplicaSet),
            Kind::HttpRoute => self.read().map(Object::HttpRoute),
            Kind::GrpcRoute => self.read().map(Object::GrpcRoute),
            Kind::ReferenceGrant => self.read().map(Object::ReferenceGrant),
            Kind::Ingress => self.read().map(Object::Ingress),
        }
    }

    fn metadata(&self) -> Result<Box<ObjectMeta>, Located> {
        self.read::<MetadataOnly>().map(|m| Box::new(m.metadata))
    }

    fn parse_list(&self, list: &TypeMeta, of: &str, parsed: &mut Parsed) -> Result<(), Located> {
        for (line, item) in self.items()? {
            let wrong = |message| Located { line, message };
            let mut types: TypeMeta =
                serde_json::from_value(item.clone()).map_err(|e| wrong(e.to_string()))?;
            // A ServiceList's items need not say what they are.
            if !of.is_empty() && types.kind.is_none() {
                types.kind = Some(of.to_owned());
                types.api_version.clone_from(&list.api_version);
            }
            let (group, kind) = types.names().map_err(wrong)?;
            match known(group, kind) {
                Some(kind) => parsed.add(typed(kind, item, &types).map_err(wrong)?),
                None => parsed.ignored += 1,
            }
        }
        Ok(())
    }

    /// Items of a list, with their lines.
    fn items(&self) -> Result<Vec<(u64, Value)>, Located> {
        match self.format {
            Format::Yaml => {
                let items = self.read::<YamlList>()?.items.into_iter();
                Ok(items.map(|i| (i.referenced.line(), i.value)).collect())
            }
            // JSON does not tell lines of parts.
            Format::Json => {
                let items = self.read::<JsonList>()?.items.into_iter();
                Ok(items.map(|i| (1, i)).collect())
            }
        }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Located> {
        match self.format {
            Format::Yaml => serde_saphyr::from_str(self.text).map_err(|e| Located::yaml(&e)),
            Format::Json => serde_json::from_str(self.text).map_err(|e| Located {
                line: e.line() as u64,
                message: e.to_string(),
            }),
        }
    }
}

impl Located {
    fn yaml(error: &serde_saphyr::Error) -> Self {
        let line = error.location().map_or(1, |l| l.line());
        let message = error.without_snippet().to_string();
        Self { line, message }
    }
}

impl TypeMeta {
    /// Group and kind.
    fn names(&self) -> Result<(&str, &str), String> {
        match (&self.api_version, &self.kind) {
            (Some(version), Some(kind)) => {
                let group = version.split_once('/').map_or("", |(group, _)| group);
                Ok((group, kind))
            }
            _ => Err("not a Kubernetes object: apiVersion or kind is missing".to_owned()),
        }
    }
}

impl Parsed {
    fn add(&mut self, mut object: Object) {
        let namespace = &mut object.metadata_mut().namespace;
        namespace.get_or_insert_with(|| DEFAULT_NAMESPACE.to_owned());
        self.objects.push(object);
    }
}

fn known(group: &str, kind: &str) -> Option<Kind> {
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|k| k.group() == group && k.as_str() == kind)
}

fn typed(kind: Kind, mut item: Value, types: &TypeMeta) -> Result<Object, String> {
    if let (Value::Object(members), Some(version), Some(kind)) =
        (&mut item, &types.api_version, &types.kind)
    {
        members.insert("apiVersion".to_owned(), version.clone().into());
        members.insert("kind".to_owned(), kind.clone().into());
    }
    fn of<T: DeserializeOwned>(item: Value) -> Result<T, String> {
        serde_json::from_value(item).map_err(|e| e.to_string())
    }
    let metadata = |item| of::<MetadataOnly>(item).map(|m| Box::new(m.metadata));
    match kind {
        Kind::Service => of(item).map(Object::Service),
        Kind::EndpointSlice => of(item).map(Object::EndpointSlice),
        Kind::Pod => metadata(item).map(Object::Pod),
        Kind::ReplicaSet => metadata(item).map(Object::ReplicaSet),
        Kind::HttpRoute => of(item).map(Object::HttpRoute),
        Kind::GrpcRoute => of(item).map(Object::GrpcRoute),
        Kind::ReferenceGrant => of(item).map(Object::ReferenceGrant),
        Kind::Ingress => of(item).map(Object::Ingress),
    }
}

#[cfg(test)]
mod tests;

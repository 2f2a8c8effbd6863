//! The libraries in the program: a list in the form of CycloneDX, and their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::text_of;
use crate::tools;

/// Beginnings of the names of files that have to be passed on.
const LEGAL: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// What is inside of libraries and has its rights in no file of its own.
const ELSEWHERE: &str = "\
Lua 5.1, in lua-src: Copyright (C) 1994-2012 Lua.org, PUC-Rio, under the MIT licence, whose text is below.
";

/// A library.
struct Library {
    name: String,
    version: String,
    /// As its author writes it: SPDX.
    licence: String,
    /// The directory of its sources.
    dir: String,
    /// SHA-256 of what the registry hands out.
    checksum: Option<String>,
}

/// The libraries that the program is built from, in the order of their names.
pub(super) struct Inside(Vec<Library>);

/// Asks cargo for what the program is built from, tests aside.
///
/// # Errors
/// cargo fails, or says something unexpected.
pub(super) fn read() -> Result<Inside> {
    let words = ["metadata", "--locked", "--format-version", "1"];
    let host = text_of(std::process::Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let mut command = tools::cargo()?;
    command
        .args(words)
        .args(["--filter-platform", host.context("rustc names its host")?]);
    let metadata: Value = serde_json::from_str(&text_of(&mut command)?)?;
    let ids = reachable(&metadata)?;
    let checksums = checksums(&fs::read_to_string(tools::root()?.join("Cargo.lock"))?);
    let mut libraries = Vec::new();
    for package in list(&metadata["packages"]) {
        // Packages of the workspace have no source.
        if package["source"].is_null() || !ids.contains(text(&package["id"])) {
            continue;
        }
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let manifest = Path::new(text(&package["manifest_path"]));
        let dir = manifest.parent().context("a manifest has a directory")?;
        libraries.push(Library {
            name: name.to_owned(),
            version: version.to_owned(),
            licence: text(&package["license"]).to_owned(),
            dir: dir.to_string_lossy().into_owned(),
            checksum: checksums
                .get(&(name.to_owned(), version.to_owned()))
                .cloned(),
        });
    }
    libraries.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(Inside(libraries))
}

/// The ids of packages that the server needs to be built and to run.
fn reachable(metadata: &Value) -> Result<BTreeSet<&str>> {
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| (text(&node["id"]), node))
        .collect();
    let packages = list(&metadata["packages"]);
    let server = packages
        .iter()
        .find(|package| package["name"] == "lodestore")
        .context("no package lodestore")?;
    let mut found = BTreeSet::new();
    let mut waiting = vec![text(&server["id"])];
    while let Some(id) = waiting.pop() {
        if !found.insert(id) {
            continue;
        }
        let node = nodes.get(id).context("a package without its needs")?;
        for need in list(&node["deps"]) {
            let kinds = list(&need["dep_kinds"]);
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                waiting.push(text(&need["pkg"]));
            }
        }
    }
    Ok(found)
}

/// Checksums by name and version, from the text of Cargo.lock.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.strip_prefix(" = \"")?.strip_suffix('"')?.to_owned())
    };
    let blocks = lock.split("[[package]]");
    blocks
        .filter_map(|block| {
            let key = (field(block, "name")?, field(block, "version")?);
            Some((key, field(block, "checksum")?))
        })
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Inside {
    /// The list as JSON, in version 1.5 of the format. It has no time and no serial number, so that
    /// it is the same each time.
    pub(super) fn cyclonedx(&self, version: &str) -> Result<String> {
        let components: Vec<Value> = self.0.iter().map(Library::component).collect();
        let document = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "name": "lodestore",
                    "version": version,
                    "licenses": [{"expression": "MIT OR Apache-2.0"}],
                }
            },
            "components": components,
        });
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// The licences of all libraries, each text once for those that have the same.
    pub(super) fn licences(&self) -> Result<String> {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for library in &self.0 {
            for text in library.legal_texts()? {
                let name = format!("{} {}", library.name, library.version);
                texts.entry(text).or_default().push(name);
            }
        }
        let mut page = format!("The program contains these libraries.\n\n{ELSEWHERE}\n");
        for library in &self.0 {
            // Writing to a string does not fail.
            let _ = writeln!(
                page,
                "{} {}: {}",
                library.name, library.version, library.licence
            );
        }
        for (text, mut names) in texts {
            names.dedup();
            let _ = write!(
                page,
                "\n{}\n{}\n\n{}\n",
                "=".repeat(80),
                names.join(", "),
                text.trim_end()
            );
        }
        Ok(page)
    }
}

impl Library {
    fn component(&self) -> Value {
        let mut component = json!({
            "type": "library",
            "name": self.name,
            "version": self.version,
            "purl": format!("pkg:cargo/{}@{}", self.name, self.version),
            // Older manifests separate alternatives by a slash.
            "licenses": [{"expression": self.licence.replace('/', " OR ")}],
        });
        if let Some(checksum) = &self.checksum {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    }

    /// The files about rights in its sources: in their root, and in that of a library of C in them.
    fn legal_texts(&self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        let mut below = Vec::new();
        for path in entries(Path::new(&self.dir))? {
            if path.is_dir() {
                below.extend(entries(&path)?);
            } else {
                texts.extend(legal_text(&path)?);
            }
        }
        for path in below {
            texts.extend(legal_text(&path)?);
        }
        Ok(texts)
    }
}

/// What is in a directory, in the order of names.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.path()));
    let mut paths: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// The text of a file about rights.
fn legal_text(path: &Path) -> Result<Option<String>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_uppercase();
    if !path.is_file() || !LEGAL.iter().any(|start| name.starts_with(start)) {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&fs::read(path)?).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_found() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0\"\nchecksum = \"xyz\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"2.0\"\n";
        let found = checksums(lock);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&("a".to_owned(), "1.0".to_owned())], "xyz");
    }

    #[test]
    fn what_only_tests_need_is_not_inside() {
        let need = |pkg: &str, kind: Value| json!({"pkg": pkg, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [{"id": "1", "name": "lodestore"}],
            "resolve": {"nodes": [
                {"id": "1", "deps": [need("2", Value::Null), need("3", json!("dev")), need("4", json!("build"))]},
                {"id": "2", "deps": []}, {"id": "3", "deps": []}, {"id": "4", "deps": []},
            ]},
        });
        let found: Vec<&str> = reachable(&metadata).unwrap().into_iter().collect();
        assert_eq!(found, ["1", "2", "4"]);
    }
}

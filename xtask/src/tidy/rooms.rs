//! Which rooms of a crate import which: no cycles, and no imports from a lower layer to a higher
//! one.
//!
//! A room is a top-level module of a crate: `x.rs` and the folder `x` directly under `src` are one
//! room. Imports are the paths that begin with `crate`, `self` or `super`, in `use` items and
//! elsewhere, outside tests. A name that `lib.rs` re-exports stands for the room it comes from.
//! `lib.rs` and `main.rs` are the outside of the crate and no rooms.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// Rooms of a crate in layers, the highest first. Rooms of one layer may import each other.
const LAYERS: &[(&str, &[&[&str]])] = &[
    (
        "crates/engine",
        &[
            &["commands"],
            &["execute"],
            &["client_row", "context", "durability", "rdb_options"],
            &["engine"],
            &[
                "audit",
                "commandlog",
                "hotkeys",
                "latency",
                "lazy_free",
                "monitor",
                "notifications",
                "pause",
            ],
            &["scripts"],
            &["session", "shard_tables"],
            &["waiters"],
            &["watch"],
            &["key_changes"],
            &["pubsub", "tracking"],
            &["listeners", "outboxes"],
            &["port"],
            &["replicas"],
            &["client", "keys", "redact", "users"],
            &["table", "wait"],
            &["command", "config"],
            &[
                "clock", "effects", "entropy", "error", "fault", "loading", "lru", "role", "stats",
                "version",
            ],
        ],
    ),
    (
        "crates/keyspace",
        &[
            &["rollback"],
            &["locks"],
            &["shard"],
            &["eviction", "expire"],
            &["edit", "hook"],
            &["undo"],
            &["db", "lru"],
            &["sizes"],
            &["entry", "wheel"],
            &["hash", "memory"],
        ],
    ),
    (
        "crates/resp",
        &[
            &["decode", "parser", "reply"],
            &["split"],
            &["args"],
            &["number", "output", "quote", "request"],
        ],
    ),
    (
        "crates/script",
        &[
            &["vm"],
            &["libraries"],
            &["call", "convert"],
            &["sys"],
            &["search"],
            &["state"],
            &["pattern"],
            &["raise"],
            &[
                "error",
                "header",
                "host",
                "json_options",
                "limits",
                "number",
                "profile",
            ],
        ],
    ),
    (
        "crates/server",
        &[
            &["boot"],
            &["commands", "local"],
            &["http", "process"],
            &["net", "observe"],
            &["replication"],
            &["jobs"],
            &["server"],
            &["state"],
            &["transport"],
            &["tls"],
            &["os"],
            &["config"],
            &["machine"],
        ],
    ),
    (
        "crates/values",
        &[
            &[
                "bits",
                "geohash",
                "hash",
                "hyperloglog",
                "list",
                "set",
                "stream",
                "zset",
            ],
            &["distinct", "elements", "intset", "listpack", "lzf"],
            &["element", "owner"],
            &[
                "alloc",
                "bigstring",
                "deadlines",
                "glob",
                "hash_seed",
                "journal",
                "lcs",
                "malformed",
                "number",
                "table",
                "thresholds",
            ],
        ],
    ),
];

/// The imports between the rooms of one crate.
#[derive(Default)]
pub(crate) struct Rooms {
    /// For each room the rooms it imports, each with the first place where it does.
    imports: BTreeMap<String, BTreeMap<String, Place>>,
}

/// Where an import stands: a file, and a line counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    path: String,
    line: usize,
}

/// A path in code: its segments as written, and its line counted from 0.
#[derive(Debug, PartialEq, Eq)]
struct CodePath {
    segments: Vec<String>,
    /// The name after `as`.
    alias: Option<String>,
    line: usize,
    /// The inline modules around the path.
    inside: Vec<String>,
}

impl Rooms {
    /// Reads the imports of `files`: the source files of the crate in `folder`, with their paths.
    pub(crate) fn new<'a>(
        folder: &str,
        files: impl Iterator<Item = (&'a str, &'a Source)> + Clone,
    ) -> Rooms {
        let src = format!("{folder}/src/");
        let module_of = |path: &str| path.strip_prefix(&src).map(module_path);
        let mut rooms = Rooms::default();
        for (path, _) in files.clone() {
            if let Some([room, ..]) = module_of(path).as_deref() {
                rooms.imports.entry(room.clone()).or_default();
            }
        }
        let root = files
            .clone()
            .find(|(path, _)| *path == format!("{src}lib.rs"));
        let exported = root.map_or_else(BTreeMap::new, |(_, source)| rooms.exported(source));
        for (path, source) in files {
            let Some(module) = module_of(path).filter(|module| !module.is_empty()) else {
                continue;
            };
            for found in code_paths(source) {
                rooms.add(path, &module, &exported, &found);
            }
        }
        rooms
    }

    /// The names that the root of the crate re-exports, each with the room it comes from.
    fn exported(&self, root: &Source) -> BTreeMap<String, String> {
        let mut exported = BTreeMap::new();
        for found in code_paths(root) {
            let path: Vec<&String> = found
                .segments
                .iter()
                .skip_while(|segment| ["crate", "self"].contains(&segment.as_str()))
                .collect();
            if let [room, .., name] = path[..]
                && self.imports.contains_key(room)
            {
                let name = found.alias.as_ref().unwrap_or(name);
                exported.insert(name.clone(), room.clone());
            }
        }
        exported
    }

    fn add(
        &mut self,
        path: &str,
        module: &[String],
        exported: &BTreeMap<String, String>,
        found: &CodePath,
    ) {
        let Some(target) = resolve(module, found) else {
            return;
        };
        let target = exported.get(&target).unwrap_or(&target);
        let room = &module[0];
        if target == room || !self.imports.contains_key(target) {
            return;
        }
        let place = Place {
            path: path.to_owned(),
            line: found.line + 1,
        };
        let imports = self.imports.entry(room.clone()).or_default();
        imports.entry(target.clone()).or_insert(place);
    }

    /// The rooms that import each other in a circle, as sets.
    fn cycles(&self) -> Vec<BTreeSet<&str>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> = self
            .imports
            .keys()
            .map(|room| (room.as_str(), self.reachable(room)))
            .collect();
        let mut cycles: Vec<BTreeSet<&str>> = Vec::new();
        for (room, reachable) in &reached {
            let is_known = cycles.iter().any(|cycle| cycle.contains(room));
            if reachable.contains(room) && !is_known {
                let back = |other: &&&str| reached[**other].contains(room);
                cycles.push(reachable.iter().filter(back).copied().collect());
            }
        }
        cycles
    }

    /// The rooms that `room` imports, directly or through others.
    fn reachable<'a>(&'a self, room: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![room];
        while let Some(room) = open.pop() {
            for target in self.imports.get(room).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(target.as_str()) {
                    open.push(target);
                }
            }
        }
        reached
    }

    /// The complaints about the rooms of the crate in `folder`.
    pub(crate) fn complaints(&self, folder: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        complaints.extend(self.cycle_texts(folder));
        if let Some((_, layers)) = LAYERS.iter().find(|(name, _)| *name == folder) {
            complaints.extend(self.layer_complaints(folder, layers));
        }
        complaints
    }

    /// One text per cycle: its rooms, then each import that belongs to it.
    fn cycle_texts(&self, folder: &str) -> Vec<String> {
        self.cycles()
            .iter()
            .map(|cycle| {
                let rooms: Vec<&str> = cycle.iter().copied().collect();
                let mut text = format!("{folder}: rooms import in a circle: {}", rooms.join(", "));
                for (room, target, place) in self.edges() {
                    if cycle.contains(room) && cycle.contains(target) {
                        let Place { path, line } = place;
                        text.push_str(&format!("\n    {path}:{line}: {room} imports {target}"));
                    }
                }
                text
            })
            .collect()
    }

    fn layer_complaints(&self, folder: &str, layers: &[&[&str]]) -> Vec<String> {
        let layer_of = |room: &str| layers.iter().position(|layer| layer.contains(&room));
        let mut complaints = Vec::new();
        for room in self.imports.keys() {
            if layer_of(room).is_none() {
                complaints.push(format!("{folder}: the room {room} stands in no layer"));
            }
        }
        for room in layers.iter().copied().flatten() {
            if !self.imports.contains_key(*room) {
                complaints.push(format!("{folder}: a layer names {room}, which is no room"));
            }
        }
        for (room, target, place) in self.edges() {
            let Place { path, line } = place;
            if layer_of(room) > layer_of(target) && layer_of(target).is_some() {
                complaints.push(format!(
                    "{path}:{line}: {room} imports {target} from a higher layer"
                ));
            }
        }
        complaints
    }

    fn edges(&self) -> impl Iterator<Item = (&str, &str, &Place)> {
        self.imports.iter().flat_map(|(room, targets)| {
            targets
                .iter()
                .map(move |(target, place)| (room.as_str(), target.as_str(), place))
        })
    }
}

/// The module path of a file, given relative to `src`; empty for the root of a crate.
fn module_path(file: &str) -> Vec<String> {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let mut parts: Vec<String> = stem.split('/').map(str::to_owned).collect();
    let is_root = ["lib", "main"].contains(&stem) || stem.starts_with("bin/");
    if is_root {
        return Vec::new();
    }
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The first segment, below the root of the crate, of what `found` names from within `module`.
fn resolve(module: &[String], found: &CodePath) -> Option<String> {
    let mut segments = found.segments.iter();
    let mut base = match segments.next()?.as_str() {
        "crate" => Vec::new(),
        head @ ("self" | "super") => {
            let mut base = [module, &found.inside].concat();
            if head == "super" {
                base.pop();
            }
            base
        }
        _ => return None,
    };
    for segment in segments {
        if segment == "super" {
            base.pop();
        } else {
            base.push(segment.clone());
        }
    }
    base.into_iter().next()
}

/// All paths of several segments outside tests; of a `use` with braces, one for each leaf.
fn code_paths(source: &Source) -> Vec<CodePath> {
    let mut reader = Reader {
        tokens: tokens(source),
        at: 0,
        inside: Vec::new(),
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

/// A word or one character of punctuation (`::` counts as one), with its line counted from 0.
struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn tokens(source: &Source) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, code) in source.code.iter().enumerate() {
        if source.test[line] {
            continue;
        }
        let mut rest = code.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let len = if is_part(first) {
                rest.find(|c| !is_part(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(len);
            tokens.push(Token { text, line });
            rest = after.trim_start();
        }
    }
    tokens
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    /// For each open brace the name of the module it opens, if it opens one.
    inside: Vec<Option<String>>,
    found: Vec<CodePath>,
}

impl<'a> Reader<'a> {
    fn peek(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |it| it.text)
    }

    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                "{" => {
                    let is_module = self.at >= 2 && self.tokens[self.at - 2].text == "mod";
                    let name = is_module.then(|| self.tokens[self.at - 1].text.to_owned());
                    self.inside.push(name);
                    self.at += 1;
                }
                "}" => {
                    self.inside.pop();
                    self.at += 1;
                }
                word if is_word(word) && self.peek(1) == "::" => self.tree(&[]),
                _ => self.at += 1,
            }
        }
    }

    /// Reads a path, or a tree of paths in braces, below `prefix`.
    fn tree(&mut self, prefix: &[String]) {
        let line = self.tokens[self.at].line;
        let mut segments = prefix.to_vec();
        while is_word(self.peek(0)) {
            // In a group, `self` is the module before the braces.
            if self.peek(0) != "self" || segments.is_empty() {
                segments.push(self.peek(0).to_owned());
            }
            self.at += 1;
            if self.peek(0) != "::" {
                break;
            }
            self.at += 1;
        }
        if self.peek(0) == "{" && self.tokens[self.at - 1].text == "::" {
            self.at += 1;
            while !["}", ""].contains(&self.peek(0)) {
                if is_word(self.peek(0)) {
                    self.tree(&segments);
                } else {
                    self.at += 1;
                }
            }
            self.at += 1;
            return;
        }
        let alias = (self.peek(0) == "as").then(|| self.peek(1).to_owned());
        self.found.push(CodePath {
            segments,
            alias,
            line,
            inside: self.inside.iter().flatten().cloned().collect(),
        });
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(files: &[(&str, &str)]) -> Rooms {
        let sources: Vec<(String, Source)> = files
            .iter()
            .map(|(path, text)| (format!("c/src/{path}"), Source::new(text, false)))
            .collect();
        Rooms::new(
            "c",
            sources.iter().map(|(path, source)| (path.as_str(), source)),
        )
    }

    fn edges(rooms: &Rooms) -> Vec<String> {
        rooms
            .edges()
            .map(|(room, target, place)| format!("{room}>{target}:{}", place.line))
            .collect()
    }

    #[test]
    fn all_kinds_of_paths_are_imports() {
        let found = rooms(&[
            (
                "lib.rs",
                "mod a; mod b; mod c; mod d; mod e;\npub use d::Thing as Renamed;",
            ),
            ("a.rs", "use crate::{b::{self, X},\n c::Y};\nfn f() {}"),
            ("b/mod.rs", "use super::c::Z; mod inner;"),
            (
                "b/inner.rs",
                "use super::x; fn f() { super::super::e::g() }",
            ),
            (
                "c.rs",
                "fn f(x: &crate::Renamed) {}\nmod sub { use super::own; use super::super::e; }",
            ),
            (
                "d.rs",
                "#[cfg(test)]\nmod tests {\n use crate::a::f;\n}\n// crate::b::c",
            ),
            ("e.rs", "use std::a::b; use serde::c; struct Crate;"),
        ]);
        assert_eq!(
            edges(&found),
            ["a>b:1", "a>c:2", "b>c:1", "b>e:1", "c>d:1", "c>e:2"]
        );
        assert!(found.cycles().is_empty());
    }

    #[test]
    fn circles_are_found_with_their_imports_only() {
        let found = rooms(&[
            ("a.rs", "use crate::b::X;"),
            ("b.rs", "use crate::c::X;\nuse crate::e;"),
            ("c/deep/x.rs", "use crate::a::X;"),
            ("d.rs", "use crate::a::X;"),
            ("e.rs", ""),
        ]);
        assert_eq!(found.cycles(), [BTreeSet::from(["a", "b", "c"])]);
        assert_eq!(
            found.cycle_texts("c"),
            ["c: rooms import in a circle: a, b, c\
              \n    c/src/a.rs:1: a imports b\
              \n    c/src/b.rs:1: b imports c\
              \n    c/src/c/deep/x.rs:1: c imports a"]
        );
    }

    #[test]
    fn imports_go_downwards() {
        let found = rooms(&[
            ("top.rs", "use crate::low::X;"),
            ("side.rs", "use crate::top::X;"),
            ("low.rs", "use crate::side::X;"),
            ("new.rs", ""),
        ]);
        assert_eq!(
            found.layer_complaints("c", &[&["top", "side"], &["low", "old"]]),
            [
                "c: the room new stands in no layer",
                "c: a layer names old, which is no room",
                "c/src/low.rs:1: low imports side from a higher layer",
            ]
        );
    }
}

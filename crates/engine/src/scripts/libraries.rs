//! Libraries of functions.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use script::FunctionInfo;
use script::header::Flags;
use script::profile::Profile;

/// Versions of libraries: unique in the process, because interpreters keep instances by them.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

/// A function of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: Vec<u8>,
    /// Its description, if it has one.
    pub description: Option<Vec<u8>>,
    /// Its flags.
    pub flags: Flags,
}

impl From<FunctionInfo> for Function {
    fn from(info: FunctionInfo) -> Self {
        Self {
            name: info.name,
            description: info.description,
            flags: info.flags,
        }
    }
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Its text as it was sent, first line included.
    pub code: Box<[u8]>,
    /// Unique in the process.
    pub version: u64,
    code_start: usize,
    /// Its functions, in the order of their names; none when the library could not be run.
    pub functions: Vec<Function>,
    /// What its code proves about the keys of its functions, once it was looked at.
    pub profile: OnceLock<Profile>,
}

/// Letters, digits and underscores: the names of libraries and functions.
pub fn is_name(name: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(fits)
}

impl Library {
    /// A library whose functions are not known. `code_start` is where the text behind the first
    /// line begins.
    pub fn new(name: String, code: &[u8], code_start: usize) -> Self {
        Self {
            name,
            code: code.into(),
            version: VERSIONS.fetch_add(1, Ordering::Relaxed),
            code_start,
            functions: Vec::new(),
            profile: OnceLock::new(),
        }
    }

    /// Sets the functions that the library has registered.
    ///
    /// # Errors
    /// A name is not one, or is there twice, or there is none: the text behind `ERR `.
    pub fn register(&mut self, functions: Vec<FunctionInfo>) -> Result<(), Vec<u8>> {
        let mut functions: Vec<Function> = functions.into_iter().map(Function::from).collect();
        if functions.iter().any(|function| !is_name(&function.name)) {
            return Err(b"Function names can only contain letters, numbers, or underscores(_) and must be at least \
                one character long"
                .to_vec());
        }
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        if functions
            .windows(2)
            .any(|pair| pair[0].name == pair[1].name)
        {
            return Err(b"Function already exists in the library".to_vec());
        }
        if functions.is_empty() {
            return Err(b"No functions registered".to_vec());
        }
        self.functions = functions;
        Ok(())
    }

    /// Its text without the first line.
    pub fn body(&self) -> &[u8] {
        self.code.get(self.code_start..).unwrap_or_default()
    }
}

/// A function with its library.
#[derive(Debug, Clone)]
pub struct Found {
    /// The library.
    pub library: Arc<Library>,
    index: usize,
}

impl Found {
    /// The function.
    pub fn function(&self) -> &Function {
        &self.library.functions[self.index]
    }
}

/// All libraries of a server.
#[derive(Debug, Clone, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Arc<Library>>,
    /// By names in lower case: FCALL ignores the case of letters.
    functions: HashMap<Vec<u8>, Found, foldhash::fast::RandomState>,
}

/// Bytes of a name that is looked up without an allocation.
const NAME_INLINE: usize = 64;

impl Libraries {
    /// The libraries, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// The library with this name.
    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.by_name.get(std::str::from_utf8(name).ok()?)
    }

    /// The function with this name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<Found> {
        let mut lower: SmallVec<[u8; NAME_INLINE]> = SmallVec::from_slice(name);
        lower.make_ascii_lowercase();
        self.functions.get(&*lower).cloned()
    }

    /// Number of functions.
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Bytes of texts and names.
    pub fn memory(&self) -> usize {
        let names = |library: &Library| -> usize {
            let functions = library.functions.iter();
            let bytes = functions.map(|function| 2 * function.name.len() + size_of::<Function>());
            bytes.sum()
        };
        let library =
            |it: &Arc<Library>| size_of::<Library>() + it.name.len() + it.code.len() + names(it);
        self.iter().map(library).sum()
    }

    /// Adds a library whose name is not taken.
    ///
    /// # Errors
    /// Another library has a function with the name of one of its own: the text behind `ERR `.
    pub fn add(&mut self, library: Arc<Library>) -> Result<(), Vec<u8>> {
        let names = library.functions.iter();
        for function in names {
            if self
                .functions
                .contains_key(&function.name.to_ascii_lowercase())
            {
                return Err([b"Function ", &*function.name, b" already exists"].concat());
            }
        }
        for (index, function) in library.functions.iter().enumerate() {
            let found = Found {
                library: Arc::clone(&library),
                index,
            };
            self.functions
                .insert(function.name.to_ascii_lowercase(), found);
        }
        self.by_name.insert(library.name.clone(), library);
        Ok(())
    }

    /// Adds a library in the place of the one that has its name.
    ///
    /// # Errors
    /// As [`Libraries::add`]; nothing has changed then.
    pub fn replace(&mut self, library: Arc<Library>) -> Result<(), Vec<u8>> {
        let old = self.library(library.name.as_bytes()).map(Arc::clone);
        self.remove(library.name.as_bytes());
        let added = self.add(library);
        if let Some(old) = old.filter(|_| added.is_err()) {
            // It had its place before.
            let _ = self.add(old);
        }
        added
    }

    /// Removes a library. True when it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let removed = std::str::from_utf8(name).ok();
        let Some(removed) = removed.and_then(|name| self.by_name.remove(name)) else {
            return false;
        };
        for function in &removed.functions {
            self.functions.remove(&function.name.to_ascii_lowercase());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Library {
        let mut library = Library::new(name.to_owned(), b"#!lua name=x\ncode", 12);
        let infos = functions.iter().map(|name| FunctionInfo {
            name: name.as_bytes().to_vec(),
            description: None,
            flags: Flags::default(),
        });
        library.register(infos.collect()).unwrap();
        library
    }

    #[test]
    fn functions_are_found_in_any_case() {
        let mut libraries = Libraries::default();
        libraries
            .add(Arc::new(library("a", &["Two", "one"])))
            .unwrap();
        let found = libraries.function(b"TWO").unwrap();
        assert_eq!(found.function().name, b"Two");
        assert_eq!(found.library.body(), b"\ncode");
        assert!(libraries.library(b"A").is_none());
        assert_eq!(libraries.function_count(), 2);
        assert!(libraries.remove(b"a") && !libraries.remove(b"a"));
        assert!(libraries.function(b"one").is_none());
    }

    #[test]
    fn two_libraries_cannot_have_the_same_function() {
        let mut libraries = Libraries::default();
        libraries.add(Arc::new(library("a", &["one"]))).unwrap();
        let error = libraries.add(Arc::new(library("b", &["ONE"]))).unwrap_err();
        assert_eq!(error, b"Function ONE already exists");
        assert!(libraries.library(b"b").is_none());
    }

    #[test]
    fn a_library_needs_functions_with_names() {
        let mut library = Library::new("a".to_owned(), b"", 0);
        assert_eq!(
            library.register(Vec::new()).unwrap_err(),
            b"No functions registered"
        );
        assert!(is_name(b"a_1") && !is_name(b"a-1") && !is_name(b""));
    }
}

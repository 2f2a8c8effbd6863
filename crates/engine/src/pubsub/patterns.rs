//! Patterns, in a trie over their literal beginnings.
//!
//! A message meets only those patterns whose bytes before the first special one begin its channel.
//! Nodes are never changed: adding or removing a pattern copies the nodes on its path, and
//! publishers go on reading the trie they have.
//!
//! ```text
//! news.*  news.a?  new[s]  *         root [*] -- "new" [new[s]] -- "s." [news.*] -- "a" [news.a?]
//! ```

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::pattern_list::PatternList;
use super::subscribers::Subscribers;
use crate::client::ClientShared;

/// The trie looks at so many bytes of a pattern: bounds its depth. The whole pattern is compared
/// anyway.
const PREFIX_MAX: usize = 64;

/// The bytes of a pattern before the first that is special, as many as the trie looks at.
pub(super) fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
    let end = pattern.iter().position(is_special);
    let end = end.unwrap_or(pattern.len()).min(PREFIX_MAX);
    pattern.get(..end).unwrap_or_default()
}

/// A pattern that has subscribers, or had when a publisher found it.
pub(super) struct Pattern {
    /// Grows from one to the next: chooses the place in long lists.
    pub(super) number: u64,
    text: Arc<[u8]>,
    subscribers: Mutex<Subscribers>,
}

impl Pattern {
    fn lock(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node with the bytes that lead to it from its parent.
#[derive(Clone, Default)]
struct Node {
    /// Empty for the root only.
    label: Box<[u8]>,
    /// Patterns whose literal prefix ends here.
    patterns: PatternList,
    /// By the first byte of their labels, which differ.
    children: Vec<Arc<Node>>,
}

impl Node {
    fn first(&self) -> u8 {
        self.label.first().copied().unwrap_or_default()
    }

    /// Where the child is, or would be, whose label begins with `byte`.
    fn find(&self, byte: u8) -> Result<usize, usize> {
        self.children
            .binary_search_by_key(&byte, |child| child.first())
    }

    /// A copy with one pattern more; `path` is what its prefix has behind this node.
    fn with(&self, path: &[u8], pattern: Arc<Pattern>) -> Node {
        let mut node = self.clone();
        let Some(byte) = path.first() else {
            node.patterns.push(pattern);
            return node;
        };
        match node.find(*byte) {
            Err(place) => {
                let leaf = Node {
                    label: path.into(),
                    patterns: PatternList::one(pattern),
                    children: Vec::new(),
                };
                node.children.insert(place, Arc::new(leaf));
            }
            Ok(place) => {
                if let Some(child) = node.children.get_mut(place) {
                    *child = Arc::new(child.joined_by(path, pattern));
                }
            }
        }
        node
    }

    /// A copy of a child with one pattern more; `path` and the label begin with the same byte.
    fn joined_by(&self, path: &[u8], pattern: Arc<Pattern>) -> Node {
        let pairs = self.label.iter().zip(path);
        let common = pairs.take_while(|(ours, theirs)| ours == theirs).count();
        let rest = path.get(common..).unwrap_or_default();
        if common == self.label.len() {
            return self.with(rest, pattern);
        }
        let (upper, lower) = self.label.split_at(common);
        let lower = Node {
            label: lower.into(),
            ..self.clone()
        };
        let upper = Node {
            label: upper.into(),
            patterns: PatternList::default(),
            children: vec![Arc::new(lower)],
        };
        upper.with(rest, pattern)
    }

    /// A copy without a pattern; `None` when nothing is left of it.
    fn without(&self, path: &[u8], pattern: &Arc<Pattern>) -> Option<Node> {
        let mut node = self.clone();
        match path.first().map(|byte| node.find(*byte)) {
            None => node.patterns.remove(pattern),
            Some(Ok(place)) => {
                let child = node.children.get(place)?;
                let rest = path.get(child.label.len()..).unwrap_or_default();
                match child.without(rest, pattern) {
                    Some(rest) => *node.children.get_mut(place)? = Arc::new(rest),
                    None => drop(node.children.remove(place)),
                }
            }
            Some(Err(_)) => {}
        }
        if !node.patterns.is_empty() {
            return Some(node);
        }
        match node.children.as_slice() {
            [] => None,
            [only] if !node.label.is_empty() => Some(Node {
                label: [&*node.label, &*only.label].concat().into(),
                ..Node::clone(only)
            }),
            _ => Some(node),
        }
    }
}

/// The patterns that have subscribers.
#[derive(Default)]
pub(super) struct Patterns {
    by_text: Mutex<HashMap<Arc<[u8]>, Arc<Pattern>, foldhash::fast::RandomState>>,
    /// Changed under `by_text` only.
    root: ArcSwap<Node>,
    count: AtomicUsize,
    next_number: AtomicU64,
}

impl Patterns {
    /// Adds a client that is not subscribed. Returns the pattern as all share it.
    pub(super) fn add(&self, text: &[u8], client: &Arc<ClientShared>) -> Arc<[u8]> {
        let mut by_text = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = by_text.get(text) {
            pattern.lock().add(client);
            return Arc::clone(&pattern.text);
        }
        let text: Arc<[u8]> = text.into();
        let mut subscribers = Subscribers::default();
        subscribers.add(client);
        let pattern = Arc::new(Pattern {
            number: self.next_number.fetch_add(1, Ordering::Relaxed),
            text: Arc::clone(&text),
            subscribers: Mutex::new(subscribers),
        });
        by_text.insert(Arc::clone(&text), Arc::clone(&pattern));
        let root = self.root.load().with(literal_prefix(&text), pattern);
        self.root.store(Arc::new(root));
        self.count.store(by_text.len(), Ordering::Release);
        text
    }

    /// Removes a client; the last one takes the pattern with it.
    pub(super) fn remove(&self, text: &[u8], client: &ClientShared) {
        let mut by_text = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pattern) = by_text.get(text) else {
            return;
        };
        let is_empty = {
            let mut subscribers = pattern.lock();
            subscribers.remove(client);
            subscribers.len() == 0
        };
        if is_empty {
            let root = self.root.load().without(literal_prefix(text), pattern);
            self.root.store(Arc::new(root.unwrap_or_default()));
            by_text.remove(text);
            self.count.store(by_text.len(), Ordering::Release);
        }
    }

    /// How many patterns there are.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Visits the subscribers of all patterns.
    pub(super) fn each_subscribers(&self, mut visit: impl FnMut(&[u8], &Subscribers)) {
        let by_text = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        for (text, pattern) in by_text.iter() {
            visit(text, &pattern.lock());
        }
    }

    /// Visits the patterns that match a channel, with their subscribers.
    pub(super) fn each_match(&self, channel: &[u8], mut visit: impl FnMut(&[u8], &Subscribers)) {
        let root = self.root.load();
        let (mut node, mut rest) = (&**root, channel);
        loop {
            node.patterns.each(|pattern| {
                if values::glob::matches(&pattern.text, channel, false) {
                    visit(&pattern.text, &pattern.lock());
                }
            });
            let child = rest.first().and_then(|byte| node.find(*byte).ok());
            let Some(child) = child.and_then(|place| node.children.get(place)) else {
                return;
            };
            let Some(behind) = rest.strip_prefix(&*child.label) else {
                return;
            };
            (node, rest) = (child, behind);
        }
    }
}

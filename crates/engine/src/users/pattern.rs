//! Patterns of keys and channels, prepared for comparison.

/// A glob pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    text: Box<[u8]>,
    shape: Shape,
}

/// How a pattern is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// It has no special bytes.
    Literal,
    /// Literal bytes, and `*` at the end.
    Prefix,
    /// Anything else; so many bytes at the beginning are literal.
    Glob(usize),
}

impl Pattern {
    /// Prepares a pattern.
    pub(super) fn new(text: &[u8]) -> Self {
        let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b'\\');
        let shape = match text.iter().position(is_special) {
            None => Shape::Literal,
            Some(at) if &text[at..] == b"*" => Shape::Prefix,
            Some(at) => Shape::Glob(at),
        };
        Self {
            text: text.into(),
            shape,
        }
    }

    /// The text of the pattern.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// True when a name matches.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        // As of any glob: `*` does not match the empty name.
        if name.is_empty() {
            return self.text.is_empty();
        }
        match self.shape {
            Shape::Literal => *self.text == *name,
            Shape::Prefix => name.starts_with(&self.text[..self.text.len() - 1]),
            Shape::Glob(literal) => {
                name.starts_with(&self.text[..literal])
                    && values::glob::matches(&self.text, name, false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_match_as_globs_do() {
        let patterns: [&[u8]; 10] = [
            b"", b"*", b"a", b"ab*", b"ab**", b"a?c", b"a[bc]", b"a\\*", b"*b", b"a*c*",
        ];
        let names: [&[u8]; 9] = [b"", b"a", b"ab", b"abc", b"a*", b"ac", b"acc", b"b", b"xb"];
        for pattern in patterns {
            for name in names {
                assert_eq!(
                    Pattern::new(pattern).matches(name),
                    values::glob::matches(pattern, name, false),
                    "{pattern:?} {name:?}"
                );
            }
        }
    }
}

//! Whether packed elements from outside are what a set or the fields of a hash may be.

use crate::Element;
use std::collections::HashSet;

/// True when no two elements have the same text. Takes linear time, whatever the elements are.
pub(crate) fn all_distinct<'a>(elements: impl Iterator<Item = Element<'a>>) -> bool {
    let (mut integers, mut texts) = (HashSet::new(), HashSet::new());
    let mut elements = elements;
    elements.all(|element| match (element.parse_i64(), element) {
        (Some(value), _) => integers.insert(value),
        (None, Element::Bytes(text)) => texts.insert(text),
        (None, Element::Int(_)) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_decides() {
        let bytes = Element::Bytes;
        assert!(all_distinct([].into_iter()));
        assert!(all_distinct(
            [bytes(b"a"), bytes(b"01"), Element::Int(1)].into_iter()
        ));
        assert!(!all_distinct([bytes(b"a"), bytes(b"a")].into_iter()));
        assert!(!all_distinct([bytes(b"1"), Element::Int(1)].into_iter()));
    }
}

//! Glob patterns over bytes, as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL rules use them.
//!
//! `*` any bytes, `?` one byte, `[abc]` one of a class, `[^abc]` one outside it, `[a-z]` a range
//! (its ends in either order), `\x` the byte x itself, in classes too. The corner cases are those
//! of Redis and Valkey:
//! * a class that is not closed ends with the pattern, and a `\` at the very end is itself;
//! * `]` after `-` ends the range and not the class: `[a-]` is an unclosed class;
//! * ignoring case does not extend to escaped bytes inside a class;
//! * the empty string is matched by the empty pattern only, not by `*`. (KEYS and SCAN treat a bare
//!   `*` as no pattern at all before they come here.)
//!
//! Matching takes at most pattern length times string length steps and no memory: only the last
//! `*` is ever tried again with a longer match. If the pattern after it fits nowhere, then giving
//! more to an earlier `*` would leave it even less to fit in.

/// Whether `pattern` matches the whole of `string`; `ignore_case` is for ASCII letters.
pub fn matches(pattern: &[u8], string: &[u8], ignore_case: bool) -> bool {
    if string.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut at) = (pattern, 0);
    // The pattern behind the last star, and where its match began at the latest try.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            rest = after;
            star = Some((after, at));
            continue;
        }
        let Some(&byte) = string.get(at) else {
            return rest.is_empty();
        };
        match match_one(rest, byte, ignore_case) {
            Some(after) => {
                rest = after;
                at += 1;
            }
            None => {
                let Some((after, began)) = &mut star else {
                    return false;
                };
                *began += 1;
                (rest, at) = (after, *began);
            }
        }
    }
}

/// Matches one byte with the first element of the pattern, which is not a star. Returns the pattern
/// after it, or none if there is no match or no element.
#[inline]
fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let (literal, after) = match pattern {
        [] => return None,
        [b'?', after @ ..] => return Some(after),
        [b'[', class @ ..] => return match_class(class, byte, ignore_case),
        [b'\\', literal, after @ ..] | [literal, after @ ..] => (*literal, after),
    };
    let equal = literal == byte || ignore_case && literal.eq_ignore_ascii_case(&byte);
    equal.then_some(after)
}

/// As [`match_one`] for a class; `class` begins after its `[`.
fn match_class(class: &[u8], byte: u8, ignore_case: bool) -> Option<&[u8]> {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let fold = |b: u8| {
        if ignore_case {
            b.to_ascii_lowercase()
        } else {
            b
        }
    };
    let mut found = false;
    loop {
        rest = match rest {
            [b'\\', literal, after @ ..] => {
                found |= *literal == byte;
                after
            }
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [start, b'-', end, after @ ..] => {
                // Ordered before folding: `[Z-a]` ignoring case is the empty range z-a.
                let (low, high) = (fold(*start.min(end)), fold(*start.max(end)));
                found |= (low..=high).contains(&fold(byte));
                after
            }
            [literal, after @ ..] => {
                found |= fold(*literal) == fold(byte);
                after
            }
        };
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(pattern: &str, string: &str) -> bool {
        matches(pattern.as_bytes(), string.as_bytes(), false)
    }

    #[test]
    fn literals_and_wildcards() {
        for (pattern, string) in [
            ("", ""),
            ("hello", "hello"),
            ("h?llo", "hxllo"),
            ("h*llo", "hllo"),
            ("h*llo", "heeeello"),
            ("*", "anything"),
            ("***", "anything"),
            ("a*", "a"),
            ("a**", "a"),
            ("*a", "a"),
            ("*b*d", "abcbd"),
            ("*aab", "aaaaab"),
            ("a*b*c", "axxbyyc"),
            ("?*", "x"),
            ("news.*.sport", "news.uk.london.sport"),
        ] {
            assert!(exact(pattern, string), "{pattern} {string}");
        }
        for (pattern, string) in [
            ("hello", "hell"),
            ("hell", "hello"),
            ("h?llo", "hllo"),
            ("a*b", "a"),
            ("a*b*c", "axxbyy"),
            ("*?", ""),
            ("*", ""),
            ("a", ""),
            ("", "a"),
            ("ab*?", "ab"),
        ] {
            assert!(!exact(pattern, string), "{pattern} {string}");
        }
    }

    #[test]
    fn classes() {
        for (pattern, string) in [
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("[a\\]b]", "]"),
            ("[\\^a]", "^"),
            ("[a-", "-"),
            ("[abc", "c"),
            ("x[^", "xy"),
            ("[a-]", "^"),
            ("*[0-9]", "key7"),
            ("[^a]*", "bcd"),
        ] {
            assert!(exact(pattern, string), "{pattern} {string}");
        }
        for (pattern, string) in [
            ("h[^a]llo", "hallo"),
            ("h[a-b]llo", "hcllo"),
            ("[]", "a"),
            ("[", "["),
            ("[a\\-z]", "m"),
            ("[a-]x", "ax"),
            ("[abc]", ""),
        ] {
            assert!(!exact(pattern, string), "{pattern} {string}");
        }
        assert!(matches(b"[\x80-\xff]", b"\xc3", false));
    }

    #[test]
    fn escapes() {
        assert!(exact("a\\*b", "a*b") && !exact("a\\*b", "axb"));
        assert!(exact("a\\?", "a?") && !exact("a\\?", "ab"));
        assert!(exact("\\[a\\]", "[a]"));
        assert!(exact("a\\", "a\\") && exact("\\a", "a"));
    }

    #[test]
    fn case() {
        let folded = |p: &str, s: &str| matches(p.as_bytes(), s.as_bytes(), true);
        assert!(folded("HeLLo*", "hEllO world") && !exact("HeLLo", "hello"));
        assert!(folded("[A-C]", "b") && folded("[a-c]", "B") && folded("[X]", "x"));
        assert!(folded("\\A", "a"));
        assert!(!folded("[\\A]", "a") && !folded("[Z-a]", "b"));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let string = "a".repeat(20_000);
        let pattern = "a*".repeat(500) + "b";
        assert!(!exact(&pattern, &string));
        assert!(exact(&("*a".repeat(2000) + "*"), &string));
        assert!(!exact(&"*?".repeat(5000), &"a".repeat(4999)));
    }

    /// The definition: a star matches any split.
    fn model(pattern: &[u8], string: &[u8], ignore_case: bool) -> bool {
        match pattern {
            [] => string.is_empty(),
            [b'*', after @ ..] => {
                (0..=string.len()).any(|taken| model(after, &string[taken..], ignore_case))
            }
            _ => string.split_first().is_some_and(|(byte, rest)| {
                match_one(pattern, *byte, ignore_case)
                    .is_some_and(|after| model(after, rest, ignore_case))
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 10 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn agrees_with_the_definition(
            pattern in prop::collection::vec(prop::sample::select(&b"**?ab[]^-\\AB"[..]), 0..9),
            string in prop::collection::vec(prop::sample::select(&b"abAB]-"[..]), 1..10),
            ignore_case: bool,
        ) {
            prop_assert_eq!(
                matches(&pattern, &string, ignore_case),
                model(&pattern, &string, ignore_case)
            );
        }
    }
}

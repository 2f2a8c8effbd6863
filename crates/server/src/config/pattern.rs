//! Glob patterns over names.

/// Whether `name` matches `pattern` with `*`, `?`, `[a-z]`, `[^a]` and `\` as in Redis.
pub(super) fn matches(pattern: &[u8], name: &[u8], any_case: bool) -> bool {
    let fold = |byte: u8| {
        if any_case {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    let (mut p, mut n) = (0, 0);
    // Where to go on when a match fails after a star: the star's end, and one more byte for the star to swallow.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], name[n], fold),
            Some(b'\\') if p + 1 < pattern.len() => {
                (fold(pattern[p + 1]) == fold(name[n])).then_some(2)
            }
            Some(&byte) => (fold(byte) == fold(name[n])).then_some(1),
            None => None,
        };
        match (step, retry) {
            (Some(length), _) => (p, n) = (p + length, n + 1),
            (None, Some((star, swallowed))) => {
                retry = Some((star, swallowed + 1));
                (p, n) = (star, swallowed + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The length of the class at the start of `pattern` when it holds `byte`.
fn class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let byte = fold(byte);
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    while let Some(&first) = pattern.get(at).filter(|&&first| first != b']') {
        match &pattern[at..] {
            [b'\\', escaped, ..] => {
                found |= fold(*escaped) == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (fold(*low), fold(*high));
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            _ => {
                found |= fold(first) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

//! Parsed requests: bytes with the spans of their arguments, as the event loop has them.

use resp::{Args, Span};

use crate::workload::Random;

/// Requests of one batch: as many as the event loop looks ahead over.
pub(super) const BATCH_REQUESTS: usize = 32;

/// Keys are 16 bytes: a prefix of four and twelve digits.
const KEY_DIGITS: usize = 12;

/// Digits that one look-up in [`GROUPS`] writes.
const GROUP_DIGITS: usize = 3;

/// The digits of the numbers below a thousand. Four look-ups write a key; twelve divisions would
/// take a measurable part of a request.
static GROUPS: [[u8; GROUP_DIGITS]; 1000] = {
    let mut groups = [[b'0'; GROUP_DIGITS]; 1000];
    let mut number = 0;
    while number < groups.len() {
        groups[number] = [
            b'0' + (number / 100) as u8,
            b'0' + (number / 10 % 10) as u8,
            b'0' + (number % 10) as u8,
        ];
        number += 1;
    }
    groups
};

/// A batch of requests that differ in their keys only.
pub(super) struct Requests {
    bytes: Vec<u8>,
    /// The arguments of each request, relative to its first byte.
    spans: Vec<Span>,
    /// Bytes of one request.
    stride: usize,
    /// Offset of the digits of the key in a request.
    digits: usize,
}

impl Requests {
    /// A batch of `name` with a key that begins with `prefix`, and a value.
    pub(super) fn new(name: &str, prefix: &str, value: Option<&[u8]>) -> Requests {
        let key = format!("{prefix}{:01$}", 0, KEY_DIGITS);
        let mut request = Vec::new();
        let mut spans = Vec::new();
        for word in [Some(name.as_bytes()), Some(key.as_bytes()), value] {
            let Some(word) = word else { continue };
            spans.push(Span {
                start: request.len(),
                len: word.len(),
            });
            request.extend_from_slice(word);
        }
        Requests {
            bytes: request.repeat(BATCH_REQUESTS),
            spans,
            stride: request.len(),
            digits: name.len() + prefix.len(),
        }
    }

    /// Gives every request a random key out of `keys`.
    pub(super) fn draw(&mut self, random: &mut Random, keys: u64) {
        self.number(|_| random.below(keys));
    }

    /// Gives every request a random key out of `keys` that `is_wanted`.
    pub(super) fn draw_where(
        &mut self,
        random: &mut Random,
        keys: u64,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) {
        let key = self.spans.get(1).copied().unwrap_or_default();
        for request in self.bytes.chunks_exact_mut(self.stride) {
            loop {
                let digits = self.digits..self.digits + KEY_DIGITS;
                if let Some(place) = request.get_mut(digits) {
                    write_digits(place, random.below(keys));
                }
                let key = request.get(key.start..key.start + key.len);
                if is_wanted(key.unwrap_or_default()) {
                    break;
                }
            }
        }
    }

    /// Gives every request the key `number(index)`.
    pub(super) fn number(&mut self, mut number: impl FnMut(usize) -> u64) {
        for (index, request) in self.bytes.chunks_exact_mut(self.stride).enumerate() {
            let digits = self.digits..self.digits + KEY_DIGITS;
            if let Some(place) = request.get_mut(digits) {
                write_digits(place, number(index));
            }
        }
    }

    /// Request number `index` of the batch; without arguments beyond its end.
    #[inline]
    pub(super) fn args(&self, index: usize) -> Args<'_> {
        let start = index * self.stride;
        match self.bytes.get(start..start + self.stride) {
            Some(request) => Args::new(request, &self.spans),
            None => Args::new(&[], &[]),
        }
    }
}

#[inline]
fn write_digits(place: &mut [u8], mut number: u64) {
    for group in place.rchunks_exact_mut(GROUP_DIGITS) {
        group.copy_from_slice(&GROUPS[(number % 1000) as usize]);
        number /= 1000;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_differ_in_their_keys() {
        let mut requests = Requests::new("SET", "key:", Some(b"value"));
        requests.number(|index| 1_234_567_890_009 + index as u64);
        let words = |index| requests.args(index).iter().map(<[u8]>::to_vec).collect();
        let first: Vec<_> = words(0);
        assert_eq!(first, [&b"SET"[..], b"key:234567890009", b"value"]);
        let last: Vec<_> = words(BATCH_REQUESTS - 1);
        assert_eq!(last, [&b"SET"[..], b"key:234567890040", b"value"]);
        assert!(requests.args(BATCH_REQUESTS).is_empty());
    }

    #[test]
    fn random_keys_are_out_of_the_range() {
        let mut requests = Requests::new("GET", "k", None);
        requests.draw(&mut Random::new(1), 20);
        let mut keys: Vec<String> = (0..BATCH_REQUESTS)
            .map(|index| String::from_utf8_lossy(requests.args(index).arg(1)).into_owned())
            .collect();
        let in_range =
            |key: &String| key.as_str() >= "k000000000000" && key.as_str() < "k000000000020";
        assert!(keys.iter().all(in_range), "{keys:?}");
        keys.dedup();
        assert!(keys.len() > 1);
    }
}

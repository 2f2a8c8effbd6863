//! The requests of a load: operations, keys and values, and their bytes.

/// Keys are 16 bytes: a prefix of four and twelve digits.
const KEY_DIGITS: usize = 12;

/// The operation of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Set,
    Incr,
    /// MGET with this many keys.
    MultiGet(usize),
    /// MSET with this many keys.
    MultiSet(usize),
    /// Any command, its words separated by spaces. In a word `#` stands for the twelve digits of a
    /// random number, `@` at its end for a random number of six digits that does not begin with 0,
    /// and a word `+n` for the last `@` plus n. `$` is the value. `␣` is a space inside of a word.
    Command(&'static str),
}

/// One kind of load: random keys out of `keys`, closed loop on every connection.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) operation: Operation,
    pub(crate) connections: usize,
    /// Requests sent together by one connection before it waits for all their replies.
    pub(crate) pipeline: usize,
    /// Number of different keys.
    pub(crate) keys: u64,
    /// Length of written values in bytes.
    pub(crate) value_len: usize,
    /// Commands that each connection sends before it is measured, with `␣` as in `Command`.
    pub(crate) first: &'static [&'static str],
}

/// A batch of requests as bytes, in which only some digits change.
#[derive(Clone)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Digits that change, by the offset of the first.
#[derive(Clone, Copy)]
enum Place {
    /// Twelve digits: a random number.
    Key(usize),
    /// Six digits: a random number from 100,000 to 899,999.
    Number(usize),
    /// Six digits: the last `Number` and so much more.
    After(usize, u64),
}

/// `@` and `+n` have so many digits.
const NUMBER_DIGITS: usize = 6;

impl Batch {
    /// The batch that one connection of `workload` sends at a time.
    pub(crate) fn new(workload: &Workload) -> Batch {
        let mut batch = Batch {
            bytes: Vec::new(),
            places: Vec::new(),
        };
        let value = vec![b'v'; workload.value_len];
        for _ in 0..workload.pipeline {
            batch.push_request(workload.operation, &value);
        }
        batch
    }

    /// Gives every place new digits from `next_key` and returns the bytes to send.
    pub(crate) fn renew(&mut self, mut next_key: impl FnMut() -> u64) -> &[u8] {
        let mut number = 0;
        for place in &self.places {
            let (offset, digits, value) = match *place {
                Place::Key(offset) => (offset, KEY_DIGITS, next_key()),
                Place::Number(offset) => {
                    number = 100_000 + next_key() % 800_000;
                    (offset, NUMBER_DIGITS, number)
                }
                Place::After(offset, more) => (offset, NUMBER_DIGITS, number + more),
            };
            write_digits(&mut self.bytes[offset..offset + digits], value);
        }
        &self.bytes
    }

    fn push_request(&mut self, operation: Operation, value: &[u8]) {
        match operation {
            Operation::Get => self.push_words(&[b"GET"], 1, "key:", None),
            Operation::Set => self.push_words(&[b"SET"], 1, "key:", Some(value)),
            // Counters live beside the other keys, because those hold text.
            Operation::Incr => self.push_words(&[b"INCR"], 1, "cnt:", None),
            Operation::MultiGet(keys) => self.push_words(&[b"MGET"], keys, "key:", None),
            Operation::MultiSet(keys) => self.push_words(&[b"MSET"], keys, "key:", Some(value)),
            Operation::Command(line) => self.push_line(line, value),
        }
    }

    fn push_line(&mut self, line: &str, value: &[u8]) {
        let words: Vec<&str> = line.split(' ').collect();
        push_array(&mut self.bytes, words.len());
        for word in words {
            let more = word.strip_prefix('+').and_then(|more| more.parse().ok());
            match (more, word) {
                (Some(more), _) => {
                    push_bulk(&mut self.bytes, &[b'0'; NUMBER_DIGITS]);
                    let end = self.bytes.len() - 2;
                    self.places.push(Place::After(end - NUMBER_DIGITS, more));
                }
                (None, "$") => push_bulk(&mut self.bytes, value),
                (None, word) => self.push_word(word),
            }
        }
    }

    /// A word that may end in digits which change.
    fn push_word(&mut self, word: &str) {
        if let Some(prefix) = word.strip_suffix('#') {
            push_bulk(&mut self.bytes, format!("{prefix}{:012}", 0).as_bytes());
            let end = self.bytes.len() - 2;
            self.places.push(Place::Key(end - KEY_DIGITS));
        } else if let Some(prefix) = word.strip_suffix('@') {
            push_bulk(&mut self.bytes, format!("{prefix}{:06}", 0).as_bytes());
            let end = self.bytes.len() - 2;
            self.places.push(Place::Number(end - NUMBER_DIGITS));
        } else {
            push_bulk(&mut self.bytes, word.replace('␣', " ").as_bytes());
        }
    }

    fn push_words(&mut self, name: &[&[u8]], keys: usize, prefix: &str, value: Option<&[u8]>) {
        let per_key = 1 + usize::from(value.is_some());
        push_array(&mut self.bytes, name.len() + keys * per_key);
        for word in name {
            push_bulk(&mut self.bytes, word);
        }
        for _ in 0..keys {
            push_bulk(&mut self.bytes, format!("{prefix}{:012}", 0).as_bytes());
            let end = self.bytes.len() - 2;
            self.places.push(Place::Key(end - KEY_DIGITS));
            if let Some(value) = value {
                push_bulk(&mut self.bytes, value);
            }
        }
    }
}

/// Appends the request that a line stands for: words parted by spaces, `␣` for a space in a word.
pub(crate) fn push_line(bytes: &mut Vec<u8>, line: &str) {
    let words: Vec<String> = line.split(' ').map(|word| word.replace('␣', " ")).collect();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    push_request(bytes, &words);
}

/// Appends one request made of `words`.
pub(crate) fn push_request(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    push_array(bytes, words.len());
    for word in words {
        push_bulk(bytes, word);
    }
}

/// The name of key number `index`, as the `Get` and `Set` operations use it.
pub(crate) fn key_name(index: u64) -> String {
    format!("key:{index:012}")
}

fn push_array(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(format!("*{length}\r\n").as_bytes());
}

fn push_bulk(bytes: &mut Vec<u8>, word: &[u8]) {
    bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    bytes.extend_from_slice(word);
    bytes.extend_from_slice(b"\r\n");
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// xorshift64*: fast, repeatable, good enough to pick keys.
pub(crate) struct Random(u64);

impl Random {
    /// A generator whose sequence depends on `seed` only.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        // The high half of the product scales the bits to the range without a division.
        ((u128::from(bits) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_carries_fresh_keys() {
        let workload = Workload {
            operation: Operation::MultiSet(2),
            connections: 1,
            pipeline: 1,
            keys: 10,
            value_len: 1,
            first: &[],
        };
        let mut next = 0;
        let mut batch = Batch::new(&workload);
        let bytes = batch.renew(|| {
            next += 1;
            next
        });
        let expected = "*5\r\n$4\r\nMSET\r\n$16\r\nkey:000000000001\r\n$1\r\nv\r\n$16\r\nkey:000000000002\r\n$1\r\nv\r\n";
        assert_eq!(String::from_utf8_lossy(bytes), expected);
    }

    #[test]
    fn a_line_becomes_a_request() {
        let workload = Workload {
            operation: Operation::Command("ZRANGE z:# @ +99 $"),
            connections: 1,
            pipeline: 1,
            keys: 10,
            value_len: 2,
            first: &[],
        };
        let mut batch = Batch::new(&workload);
        let bytes = batch.renew(|| 7);
        let expected = "*5\r\n$6\r\nZRANGE\r\n$14\r\nz:000000000007\r\n$6\r\n100007\r\n$6\r\n100106\r\n$2\r\nvv\r\n";
        assert_eq!(String::from_utf8_lossy(bytes), expected);
    }

    #[test]
    fn random_numbers_stay_below_their_limit() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| random.below(10) < 10));
    }
}

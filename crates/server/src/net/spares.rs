//! Input buffers between two big requests.

/// A request of more bytes than this is a big one, as for Redis (PROTO_MBULK_BIG_ARG): it gets a
/// buffer of its own, in which its argument may stay as a value.
pub(super) const BIG_REQUEST: usize = 32 * 1024;

/// Empty input buffers for the next connection that needs one: allocating and touching a fresh one
/// for every big argument would cost more than reading it. Freed once a second.
#[derive(Default)]
pub(super) struct Spares {
    buffers: Vec<Vec<u8>>,
    /// Sum of their capacities.
    bytes: usize,
}

/// Bytes that spare buffers may hold: some hundred kilobytes for each of fifty busy clients would
/// be more than the second-level cache serves anyway.
const SPARE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Spare buffers that are looked through for one of the right size.
const SPARES_SEARCHED: usize = 16;

impl Spares {
    /// An empty buffer, for `len` bytes at first. For a big request it is hardly larger than that,
    /// because a value may keep it.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        if len <= BIG_REQUEST {
            let buffer = self.buffers.pop().unwrap_or_default();
            self.bytes -= buffer.capacity();
            return buffer;
        }
        let fits = |buffer: &Vec<u8>| (len..=len + len / 16).contains(&buffer.capacity());
        let searched = self.buffers.len().saturating_sub(SPARES_SEARCHED);
        let last = self.buffers.get(searched..).unwrap_or_default();
        match last.iter().rposition(fits) {
            Some(index) => {
                let buffer = self.buffers.swap_remove(searched + index);
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(len),
        }
    }

    pub(super) fn keep(&mut self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity > 0 && self.bytes + capacity <= SPARE_BYTES_MAX {
            self.bytes += capacity;
            self.buffers.push(buffer);
        }
    }

    /// Frees all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_request_gets_a_buffer_of_its_size() {
        let mut spares = Spares::default();
        spares.keep(Vec::with_capacity(300_000));
        spares.keep(Vec::with_capacity(100_000));
        assert_eq!(spares.take(99_000).capacity(), 100_000);
        // The other one is too large for it.
        assert_eq!(spares.take(99_000).capacity(), 99_000);
        assert_eq!(spares.take(1_000).capacity(), 300_000);
        assert_eq!(spares.bytes, 0);
    }

    #[test]
    fn few_bytes_are_spared() {
        let mut spares = Spares::default();
        for _ in 0..3 {
            spares.keep(Vec::with_capacity(SPARE_BYTES_MAX / 2));
        }
        assert_eq!(spares.buffers.len(), 2);
        spares.clear();
        assert_eq!(spares.take(10).capacity(), 0);
    }
}

//! Stand-in.
/// Stand-in.
#[derive(Clone, Debug, Default)]
pub struct BigString(Vec<u8>);
impl BigString {
    /// x
    pub fn from_slice(b: &[u8]) -> Self {
        BigString(b.to_vec())
    }
    /// x
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
    /// x
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }
    /// x
    pub fn set_range(&mut self, offset: usize, b: &[u8]) {
        if self.0.len() < offset + b.len() {
            self.0.resize(offset + b.len(), 0);
        }
        self.0[offset..offset + b.len()].copy_from_slice(b);
    }
    /// x
    pub fn memory_usage(&self) -> usize {
        self.0.capacity() + 24
    }
}

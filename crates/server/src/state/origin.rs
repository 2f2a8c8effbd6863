//! Which product wrote the data that was loaded: snapshots are saved in a form that it reads, as
//! long as the data allows it, so that it can be started on them again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use persist::rdb::Version;

/// The product that wrote a file, as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Its name and version.
    pub name: String,
    /// The version of the RDB format that it writes.
    pub version: Version,
}

/// The oldest version that is written.
const OLDEST: Version = Version(9);

impl Product {
    /// The versions to write for it, in order of preference: those that it reads.
    pub fn versions(&self) -> Vec<Version> {
        let Version(number) = self.version;
        match number {
            0..=10 => vec![self.version.max(OLDEST)],
            11..80 => (11..=number.min(14)).map(Version).collect(),
            _ => vec![Version::V11, Version::V80],
        }
    }

    /// True when it reads a version of those that are written.
    pub fn reads(&self, version: Version) -> bool {
        self.version >= OLDEST && self.versions().contains(&version)
    }

    /// The product in the text of an auxiliary field.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (version, name) = str::from_utf8(text).ok()?.split_once(' ')?;
        Some(Self {
            name: name.to_owned(),
            version: Version(version.parse().ok()?),
        })
    }

    /// The text of an auxiliary field that says so.
    pub fn text(&self) -> String {
        format!("{} {}", self.version.0, self.name)
    }
}

/// The product whose data this server has.
#[derive(Debug, Default)]
pub struct DataOrigin {
    product: Mutex<Option<Product>>,
    /// The log says already that the product cannot read what is saved.
    is_warned: AtomicBool,
}

impl DataOrigin {
    /// The product; `None` for data of Lodestore.
    pub fn product(&self) -> Option<Product> {
        self.lock().clone()
    }

    /// Notes the product of a file that was loaded.
    pub fn set(&self, product: Option<Product>) {
        *self.lock() = product;
        self.is_warned.store(false, Ordering::Relaxed);
    }

    /// True once: nothing was logged so far about files that the product cannot read.
    pub fn warn_once(&self) -> bool {
        !self.is_warned.swap(true, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Product>> {
        self.product.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(number: u16) -> Vec<u16> {
        let product = Product {
            name: "Redis".to_owned(),
            version: Version(number),
        };
        product.versions().iter().map(|version| version.0).collect()
    }

    #[test]
    fn versions_are_those_that_the_product_reads() {
        assert_eq!(versions(6), [9]);
        assert_eq!(versions(9), [9]);
        assert_eq!(versions(10), [10]);
        assert_eq!(versions(11), [11]);
        assert_eq!(versions(12), [11, 12]);
        assert_eq!(versions(14), [11, 12, 13, 14]);
        assert_eq!(versions(80), [11, 80]);
    }

    #[test]
    fn a_product_survives_its_text() {
        let product = Product {
            name: "Redis 7.0.15".to_owned(),
            version: Version::V10,
        };
        assert_eq!(Product::parse(product.text().as_bytes()), Some(product));
        assert_eq!(Product::parse(b"10"), None);
        assert_eq!(Product::parse(b"x Redis"), None);
    }
}

//! The list of exceptions: xtask/tidy.allow.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

/// Exceptions that were granted, and which of them were needed.
pub(crate) struct Allowed(BTreeMap<(String, String), bool>);

impl Allowed {
    /// Reads lines of the form `CHECK SUBJECT: REASON`. Blank lines and lines with `#` are skipped.
    pub(crate) fn parse(text: &str) -> Result<Allowed> {
        let mut entries = BTreeMap::new();
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let entry = line
                .split_once(": ")
                .filter(|(_, reason)| reason.trim().len() >= 10);
            let Some((check, subject)) = entry.and_then(|(entry, _)| entry.split_once(' ')) else {
                bail!("tidy.allow: not of the form `CHECK SUBJECT: REASON`: {line}");
            };
            entries.insert((check.to_owned(), subject.to_owned()), false);
        }
        Ok(Allowed(entries))
    }

    /// Whether `check` lets `subject` pass.
    pub(crate) fn allows(&mut self, check: &str, subject: &str) -> bool {
        let entry = self.0.get_mut(&(check.to_owned(), subject.to_owned()));
        entry.map(|used| *used = true).is_some()
    }

    /// Exceptions that nothing needed.
    pub(crate) fn unused(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .filter(|(_, used)| !**used)
            .map(|((check, subject), _)| format!("{check} {subject}"))
    }
}

#[cfg(test)]
mod tests {
    use super::Allowed;

    #[test]
    fn an_exception_needs_a_reason_and_a_use() {
        assert!(Allowed::parse("file-length a.rs").is_err());
        assert!(Allowed::parse("file-length a.rs: why").is_err());
        let mut allowed =
            Allowed::parse("# comment\nfile-length a.rs: a table of constants\n").unwrap();
        assert_eq!(allowed.unused().collect::<Vec<_>>(), ["file-length a.rs"]);
        assert!(allowed.allows("file-length", "a.rs"));
        assert!(!allowed.allows("file-length", "b.rs"));
        assert_eq!(allowed.unused().count(), 0);
    }
}

//! The list of tests that are not run: conformance/skip.txt.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The names on the list. Lines with `#` are the reason for the names that follow up to the next
/// blank line; a name without a reason is an error.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut has_reason = false;
    for line in text.lines().map(str::trim_end) {
        match line.strip_prefix('#') {
            Some(reason) => has_reason |= !reason.trim().is_empty(),
            None if line.is_empty() => has_reason = false,
            None if !has_reason => bail!("skipped without a reason: {line}"),
            None => names.push(line.to_owned()),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_name_has_a_reason() {
        let names =
            parse("# about this file\n\n# not ours\nA test\n/^pattern\n\n# other\nB\n").unwrap();
        assert_eq!(names, ["A test", "/^pattern", "B"]);
        assert!(parse("# not ours\nA test\n\nB\n").is_err());
    }
}

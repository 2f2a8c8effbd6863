//! Code blocks of a page, and what stands about them in comments.
//!
//! A block of the language `sh` is run and has to succeed; in one of `console` the lines that begin
//! with `$ ` are run, and their output is compared with the lines behind them. A comment in front
//! of a block changes that:
//!
//! ```text
//! <!-- not run: REASON -->       it cannot be run
//! <!-- needs: TOOL ... -->       it is skipped where one of the tools is not installed
//! <!-- background -->            it runs on beside the blocks that follow
//! <!-- file: NAME -->            it is not run, but is the contents of a file
//! ```

use anyhow::{Result, bail};

/// Languages of blocks that are shown only.
const SHOWN: [&str; 6] = ["conf", "json", "markdown", "rust", "text", "yaml"];

/// What is done with a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its lines are run as a script.
    Script,
    /// The same, while later blocks are run.
    Background,
    /// Commands with their output.
    Console,
    /// It is written to this file.
    File(String),
    /// It is not run, for this reason.
    NotRun(String),
}

/// One block that is more than text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    pub purpose: Purpose,
    /// Programs without which it is skipped.
    pub needs: Vec<String>,
    pub text: String,
}

/// The comments in front of a block.
#[derive(Default)]
struct Marks {
    purpose: Option<Purpose>,
    needs: Vec<String>,
}

/// The blocks of a page in their order. With `only_fences` a block that is made by indentation is
/// an error: nothing says of it what it is.
///
/// # Errors
/// A line that cannot be taken for what it looks like, with its number.
pub(super) fn blocks(page: &str, only_fences: bool) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut marks = Marks::default();
    let mut lines = page.lines().enumerate();
    let mut is_after_blank = true;
    while let Some((index, line)) = lines.next() {
        let at = index + 1;
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            let text = text.iter().map(|line| format!("{line}\n")).collect();
            found.extend(block(at, language, std::mem::take(&mut marks), text)?);
        } else if let Some(mark) = line
            .strip_prefix("<!-- ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            marks.add(at, mark)?;
        } else if only_fences && is_after_blank && line.starts_with("    ") {
            bail!("line {at}: a block without a fence");
        } else if !line.is_empty() && (marks.purpose.is_some() || !marks.needs.is_empty()) {
            bail!("line {at}: a comment about a block, and no block behind it");
        }
        is_after_blank = line.is_empty();
    }
    Ok(found)
}

impl Marks {
    fn add(&mut self, at: usize, mark: &str) -> Result<()> {
        if let Some(reason) = mark.strip_prefix("not run: ") {
            self.purpose = Some(Purpose::NotRun(reason.to_owned()));
        } else if let Some(name) = mark.strip_prefix("file: ") {
            self.purpose = Some(Purpose::File(name.to_owned()));
        } else if let Some(tools) = mark.strip_prefix("needs: ") {
            self.needs = tools.split_whitespace().map(str::to_owned).collect();
        } else if mark == "background" {
            self.purpose = Some(Purpose::Background);
        } else {
            bail!("line {at}: an unknown comment '{mark}'");
        }
        Ok(())
    }
}

/// The block behind a fence; `None` for one that is only shown.
fn block(line: usize, language: &str, marks: Marks, text: String) -> Result<Option<Block>> {
    let purpose = match (language, marks.purpose) {
        ("sh" | "console", Some(Purpose::NotRun(reason))) => Purpose::NotRun(reason),
        ("sh", Some(Purpose::Background)) => Purpose::Background,
        ("sh", None) => Purpose::Script,
        ("console", None) => Purpose::Console,
        (language, Some(Purpose::File(name))) if SHOWN.contains(&language) => Purpose::File(name),
        (language, None) if SHOWN.contains(&language) => return Ok(None),
        (language, Some(_)) => bail!("line {line}: a comment that no block of '{language}' has"),
        (language, None) => bail!("line {line}: a block of an unknown language '{language}'"),
    };
    Ok(Some(Block {
        line,
        purpose,
        needs: marks.needs,
        text,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn purposes(page: &str) -> Vec<(usize, Purpose)> {
        blocks(page, true)
            .unwrap()
            .into_iter()
            .map(|it| (it.line, it.purpose))
            .collect()
    }

    #[test]
    fn languages_and_comments_say_what_is_done() {
        let page = "# A\n\n```sh\na\nb\n```\n\n<!-- not run: no network -->\n```sh\nc\n```\n\
                    <!-- background -->\n```sh\nd\n```\n```console\n$ e\nf\n```\n```text\ng\n```\n\
                    <!-- file: x.conf -->\n\n```conf\nport 1\n```\n";
        assert_eq!(
            purposes(page),
            [
                (3, Purpose::Script),
                (9, Purpose::NotRun("no network".to_owned())),
                (13, Purpose::Background),
                (16, Purpose::Console),
                (25, Purpose::File("x.conf".to_owned())),
            ]
        );
        assert_eq!(blocks(page, true).unwrap()[0].text, "a\nb\n");
        let needs = &blocks("<!-- needs: a b -->\n```sh\n```\n", true).unwrap()[0].needs;
        assert_eq!(needs, &["a", "b"]);
    }

    #[test]
    fn what_nothing_is_said_of_is_an_error() {
        let page = "```bash\na\n```\n";
        assert!(blocks(page, true).is_err());
        assert!(blocks("a\n\n    b\n", true).is_err());
        assert!(blocks("a\n\n    b\n", false).unwrap().is_empty());
        assert!(blocks("- a\n    b\n", true).unwrap().is_empty());
        assert!(blocks("<!-- background -->\ntext\n", true).is_err());
        assert!(blocks("<!-- backgruond -->\n", true).is_err());
        assert!(blocks("<!-- background -->\n```text\n```\n", true).is_err());
    }
}

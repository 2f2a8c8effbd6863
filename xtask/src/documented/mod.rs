//! Runs what the documentation shows: the blocks of commands in README and docs, so that a page
//! cannot tell what is not true any more.

mod blocks;
pub(crate) mod client;
mod console;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::tools;
use page::{Outcome, Scene};

const USAGE: &str = "usage: cargo xtask documented [--program PATH] [PAGE ...]";

/// Pages for those who change the code: their diagrams are indented.
const FOR_AUTHORS: [&str; 3] = ["ARCHITECTURE.md", "STYLE.md", "testing.md"];

/// Runs the blocks of all pages, or of some, with a server that is built, or of a path.
///
/// # Errors
/// Blocks failed; they have been printed.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut arguments = arguments.iter();
    let mut program = None;
    let mut pages = Vec::new();
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--program" => program = Some(std::path::absolute(arguments.next().context(USAGE)?)?),
            word if word.starts_with("--") => bail!(USAGE),
            page => pages.push(std::path::absolute(page)?),
        }
    }
    let program = match program {
        Some(program) => program,
        None => tools::debug_server()?,
    };
    if pages.is_empty() {
        pages = all_pages()?;
    }
    let mut totals = Totals::default();
    for path in &pages {
        run_page(path, &program, &mut totals)?;
    }
    println!(
        "{} pages: {} blocks ran, {} were skipped",
        pages.len(),
        totals.ran,
        totals.skipped
    );
    if totals.failed > 0 {
        bail!("{} blocks failed", totals.failed);
    }
    Ok(())
}

#[derive(Default)]
struct Totals {
    ran: usize,
    skipped: usize,
    failed: usize,
}

/// README and the pages of docs and contrib.
fn all_pages() -> Result<Vec<PathBuf>> {
    let root = tools::root()?;
    let mut pages = vec![root.join("README.md"), root.join("contrib/README.md")];
    for entry in fs::read_dir(root.join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    Ok(pages)
}

/// Runs a page up to the first block that fails: those behind it depend on it.
fn run_page(path: &Path, program: &Path, totals: &mut Totals) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let shown = path.strip_prefix(tools::root()?).unwrap_or(path).display();
    let only_fences = !FOR_AUTHORS.contains(&name.as_ref());
    let blocks = blocks::blocks(&text, only_fences).with_context(|| shown.to_string())?;
    if blocks.is_empty() {
        return Ok(());
    }
    let mut scene = Scene::new(&name.to_lowercase(), program)?;
    for block in &blocks {
        match scene.run(block) {
            Ok(Outcome::Ran) => totals.ran += 1,
            Ok(Outcome::Skipped(reason)) => {
                totals.skipped += 1;
                println!("{shown}:{}: SKIPPED, {reason}", block.line);
            }
            Err(error) => {
                totals.failed += 1;
                println!("{shown}:{}: FAILED\n{error:#}", block.line);
                return Ok(());
            }
        }
    }
    let ports = scene.left_over();
    if !ports.is_empty() {
        totals.failed += 1;
        println!("{shown}: FAILED\nservers still run on {}", ports.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the blocks of a text with a program that does nothing.
    fn totals(name: &str, text: &str) -> (usize, usize, usize) {
        let path = std::env::temp_dir().join(format!("{name}-{}.md", std::process::id()));
        fs::write(&path, text).unwrap();
        let mut totals = Totals::default();
        run_page(&path, Path::new("/bin/true"), &mut totals).unwrap();
        fs::remove_file(&path).unwrap();
        (totals.ran, totals.skipped, totals.failed)
    }

    #[test]
    fn a_page_that_tells_the_truth_passes() {
        let page = "<!-- file: /etc/redis/x -->\n```conf\nport 6379\n```\n```sh\nlodestore\nmkdir a\n```\n\
                    ```console\n$ ls\na\n...\n$ grep -o port /etc/redis/x\nport\n```\n\
                    <!-- not run: why -->\n```sh\nfalse\n```\n<!-- needs: no-such-tool -->\n```sh\nfalse\n```\n";
        assert_eq!(totals("true", page), (3, 2, 0));
    }

    #[test]
    fn a_page_that_does_not_fails() {
        assert_eq!(
            totals("status", "```sh\ntrue\nfalse\ntrue\n```\n"),
            (0, 0, 1)
        );
        assert_eq!(totals("pipe", "```sh\nfalse | cat\n```\n"), (0, 0, 1));
        assert_eq!(
            totals("output", "```console\n$ echo a\nb\n```\n"),
            (0, 0, 1)
        );
        assert_eq!(totals("more", "```console\n$ echo a\n```\n"), (0, 0, 1));
        let server = "<!-- background -->\n```sh\nlodestore --port 6379\n```\n```sh\ntrue\n```\n";
        assert_eq!(totals("server", server), (0, 0, 1));
    }
}

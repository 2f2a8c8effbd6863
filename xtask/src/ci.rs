//! The checks every change has to pass, in the order in which they fail fastest.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{dist, documented, tidy, tools};

/// Runs everything and stops at the first step that fails.
pub(crate) fn run() -> Result<()> {
    step("format", || {
        tools::run(
            "cargo fmt",
            tools::cargo()?.args(["fmt", "--all", "--check"]),
        )
    })?;
    step("tidy", tidy::run)?;
    step("clippy", || {
        let words = [
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ];
        tools::run("cargo clippy", tools::cargo()?.args(words))
    })?;
    step("docs", docs)?;
    step("documented", || documented::run(&[]))?;
    step("dist", packages)?;
    // Debug builds check overflow and debug assertions.
    step("tests", tests)
}

/// Makes the archive and the package of the program that the tests run.
fn packages() -> Result<()> {
    if tools::installed("dpkg-deb").is_none() {
        println!("SKIPPED: dpkg-deb is not installed");
        return Ok(());
    }
    let program = tools::debug_server()?;
    let out = tools::target_dir()?.join("dist-debug");
    let words = [
        "--program",
        &program.to_string_lossy(),
        "--out",
        &out.to_string_lossy(),
    ];
    dist::run(&words.map(str::to_owned))
}

/// Builds the API documentation. Broken links and missing texts are errors.
pub(crate) fn docs() -> Result<()> {
    let words = ["doc", "--quiet", "--workspace", "--no-deps", "--locked"];
    tools::run(
        "cargo doc",
        tools::cargo()?
            .args(words)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Has the server write its man pages, completions and table of parameters.
pub(crate) fn manual(arguments: &[String]) -> Result<()> {
    let dir = match arguments {
        [] => tools::target_dir()?.join("manual"),
        [dir] => std::path::absolute(dir)?,
        _ => bail!("usage: cargo xtask manual [DIR]"),
    };
    let mut command = tools::cargo()?;
    command.args([
        "run",
        "--quiet",
        "--package",
        "lodestore",
        "--",
        "config",
        "--write",
    ]);
    tools::run("lodestore config", command.arg(&dir))?;
    if arguments.is_empty() {
        // What the repository keeps of it.
        let root = tools::root()?;
        std::fs::copy(
            dir.join("configuration.md"),
            root.join("docs/configuration.md"),
        )?;
        std::fs::copy(
            dir.join("lodestore.conf"),
            root.join("contrib/lodestore.conf"),
        )?;
    }
    println!("{}", dir.display());
    Ok(())
}

/// Builds the server and the benchmarks and runs `lodestore-bench compare` with `arguments`.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let words = [
        "build",
        "--release",
        "--package",
        "lodestore",
        "--package",
        "lodestore-bench",
    ];
    tools::run("cargo build", tools::cargo()?.args(words))?;
    let arguments = arguments.iter().skip_while(|word| *word == "--");
    let mut command = std::process::Command::new(tools::release_dir()?.join("lodestore-bench"));
    tools::run(
        "lodestore-bench",
        command
            .arg("compare")
            .args(arguments)
            .current_dir(tools::root()?),
    )
}

/// Prints the name of a step, and then how long it took.
fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let start = Instant::now();
    work()?;
    println!("== {name}: {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Test counts, as the lines `test result: ...` state them.
#[derive(Default, Debug, PartialEq)]
struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Runs all tests, shows their output, and closes with the totals of all test binaries.
fn tests() -> Result<()> {
    let mut command = tools::cargo()?;
    command
        .args([
            "test",
            "--quiet",
            "--workspace",
            "--locked",
            "--no-fail-fast",
        ])
        .stdout(Stdio::piped());
    let mut child = command.spawn().context("starting cargo test")?;
    let output = child.stdout.take().context("no output of cargo test")?;
    let mut totals = Totals::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        totals.add(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.ignored
    );
    if !status.success() {
        bail!("cargo test failed: {status}");
    }
    Ok(())
}

impl Totals {
    /// Adds the counts of one line of output, if it is a line of results: each word names the
    /// number before it.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        let mut previous = 0;
        for word in counts.split([' ', ';', '.']) {
            match word {
                "passed" => self.passed += previous,
                "failed" => self.failed += previous,
                "ignored" => self.ignored += previous,
                _ => previous = word.parse().unwrap_or(previous),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn totals_are_summed() {
        let mut totals = Totals::default();
        totals.add("test result: ok. 10 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        totals
            .add("test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        totals.add("running 3 tests");
        assert_eq!(
            totals,
            Totals {
                passed: 13,
                failed: 1,
                ignored: 2
            }
        );
    }
}

//! Checks with tools of the nightly toolchain, and mutation tests: too slow for every change.
//!
//! A check whose tool is missing prints a notice and succeeds.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::tools;

/// Crates with unsafe code that Miri can run.
const MIRI_CRATES: &[&str] = &["lodestore-values", "lodestore-keyspace"];

/// The flags of Miri: tests read the clock, and a random seed of the system.
const MIRI_FLAGS: &str = "-Zmiri-disable-isolation";

/// A report of AddressSanitizer ends the process, which fails the test that talks to it. Leaks are
/// no errors: the process ends with data in place.
const ASAN_OPTIONS: &str = "detect_leaks=0:abort_on_error=1";

/// Runs everything that needs the nightly toolchain.
pub(crate) fn all() -> Result<()> {
    miri(&[])?;
    asan(&[])
}

/// Runs the unit tests of the crates with unsafe code under Miri. `arguments` go to `cargo miri
/// test`; a `-p` among them selects the crates.
pub(crate) fn miri(arguments: &[String]) -> Result<()> {
    if !has_component("miri", &["cargo", "miri", "--version"]) {
        skip("miri", "the nightly toolchain has no component miri");
        return Ok(());
    }
    let mut command = nightly(&["cargo", "miri", "test", "--lib"])?;
    if !arguments.iter().any(|word| word == "-p") {
        command.args(MIRI_CRATES.iter().flat_map(|name| ["-p", name]));
    }
    command
        .args(arguments)
        .env("MIRIFLAGS", flags("MIRIFLAGS", MIRI_FLAGS));
    timed("miri", &mut command)
}

/// Runs the integration tests against a server built with AddressSanitizer. `arguments` go to the
/// tests.
pub(crate) fn asan(arguments: &[String]) -> Result<()> {
    let Some(host) = host() else {
        skip("asan", "there is no nightly toolchain");
        return Ok(());
    };
    let target = tools::target_dir()?.join("asan");
    // With a target named, procedural macros and build scripts are built without the sanitizer.
    let mut build = nightly(&["cargo", "build", "--package", "lodestore"])?;
    build
        .args(["--features", "system-allocator", "--target", &host])
        .env("RUSTFLAGS", flags("RUSTFLAGS", "-Zsanitizer=address"))
        .env("CARGO_TARGET_DIR", &target);
    timed("asan, the server", &mut build)?;
    let program = target.join(&host).join("debug").join("lodestore");
    let mut command = tools::cargo()?;
    command
        .args([
            "test",
            "--package",
            "lodestore",
            "--test",
            "integration",
            "--",
        ])
        .args(arguments)
        .env("LODESTORE_TEST_PROGRAM", program)
        .env("ASAN_OPTIONS", ASAN_OPTIONS);
    timed("asan", &mut command)
}

/// Changes the code of `arguments`, which are files, in many small ways and checks whether the
/// tests of the crate fail.
pub(crate) fn mutants(arguments: &[String]) -> Result<()> {
    let (options, files): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|word| word.starts_with("--"));
    if files.is_empty() {
        bail!("usage: cargo xtask mutants FILE... [--OPTION=VALUE of cargo mutants ...]");
    }
    for file in &files {
        if !tools::root()?.join(file).is_file() {
            bail!("{file}: no such file");
        }
    }
    let is_there = succeeds(tools::cargo()?.args(["mutants", "--version"]));
    if !is_there {
        bail!("cargo-mutants is missing; `cargo install --locked cargo-mutants` installs it");
    }
    let output = tools::target_dir()?.join("mutants");
    std::fs::create_dir_all(&output).context("making the directory for the results")?;
    let mut command = tools::cargo()?;
    // The copy of the tree that is changed lies outside of it and has a target directory of its
    // own.
    command
        .args(["mutants", "--no-shuffle", "--colors=never", "--jobs=1"])
        .args(["--minimum-test-timeout=60", "--output"])
        .arg(&output)
        .args(files.iter().flat_map(|file| ["--file", file]))
        .args(options);
    println!("results: {}", output.join("mutants.out").display());
    timed("mutants", &mut command)
}

/// A command of the nightly toolchain, in the root of the workspace.
fn nightly(words: &[&str]) -> Result<Command> {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly"])
        .args(words)
        .current_dir(tools::root()?);
    Ok(command)
}

/// Whether `probe` works with the nightly toolchain, after adding `component` if need be.
fn has_component(component: &str, probe: &[&str]) -> bool {
    let works = || nightly(probe).is_ok_and(|mut command| succeeds(&mut command));
    let add = [
        "component",
        "add",
        "--toolchain",
        "nightly",
        component,
        "rust-src",
    ];
    works() || (succeeds(Command::new("rustup").args(add)) && works())
}

/// The target triple of this machine, as the nightly compiler names it.
fn host() -> Option<String> {
    let output = nightly(&["rustc", "-vV"]).ok()?.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The flags of the environment variable `name`, and `more`.
fn flags(name: &str, more: &str) -> OsString {
    let mut flags = std::env::var_os(name).unwrap_or_default();
    flags.push(" ");
    flags.push(more);
    flags
}

fn skip(check: &str, reason: &str) {
    println!("== {check}: SKIPPED, {reason}");
}

fn timed(check: &str, command: &mut Command) -> Result<()> {
    println!("== {check}");
    let began = Instant::now();
    tools::run(check, command)?;
    println!("== {check}: {:.0} s", began.elapsed().as_secs_f64());
    Ok(())
}

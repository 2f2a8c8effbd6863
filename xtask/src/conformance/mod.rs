//! Valkey's Tcl test suite against our server. The suite is not part of this project: the caller
//! gives an unpacked source tree of Valkey with built tools.
//!
//! External mode starts our server once per unit and lets the suite connect to it. Drop-in mode
//! lets the suite start our server itself under the name valkey-server, which reaches the many
//! tests that need servers of their own.

mod output;
mod server;
mod skips;
mod suite;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tools;
use output::Outcome;
use server::Server;
use suite::Suite;

const USAGE: &str = "usage: cargo xtask conformance --suite DIR [options]

  --suite DIR         unpacked source tree of Valkey, in which `make` has been run
  --unit NAME         a unit such as unit/type/string; may be repeated; default: all that apply
  --drop-in           the suite starts the server itself, under the name valkey-server
  --server PATH       the server to test; default: our release build, which is built first
  --port N            port of the server in external mode; default: a free one
  --appendonly yes|no append-only file in external mode; default: no
  --set 'NAME VALUE'  one more line of configuration in external mode; may be repeated
  --skips FILE        tests not to run; default: conformance/skip.txt
  --timeout SECONDS   a unit without progress for so long is ended; default: 300
  --unit-max SECONDS  a unit that takes longer is ended; default: 1800
  --log DIR           keep the suite's output, a file per unit
  --args 'WORDS'      more words for the suite, such as --singledb or --tags -slow";

/// The command line.
pub(crate) struct Options {
    suite: PathBuf,
    units: Vec<String>,
    drop_in: bool,
    server: Option<PathBuf>,
    port: Option<u16>,
    /// Lines of configuration that follow the usual ones.
    settings: Vec<String>,
    skips: PathBuf,
    silence_max: Duration,
    unit_max: Duration,
    log: Option<PathBuf>,
    arguments: Vec<String>,
}

/// Runs the units and prints their results; an error when a test failed.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let options = Options::parse(words)?;
    let program = match &options.server {
        // Not resolved further: some servers decide by their name what they are.
        Some(path) => std::path::absolute(path)?,
        None => build_server()?,
    };
    let skips = skips::names(&options.skips)?;
    let suite = Suite::prepare(&options.suite, &program, &skips)?;
    let units = if options.units.is_empty() {
        suite.units(options.drop_in)?
    } else {
        options.units.clone()
    };
    let mut outcomes = Vec::new();
    for unit in units {
        let start = Instant::now();
        let mut outcome = run_unit(&suite, &options, &program, &unit)?;
        outcome.seconds = start.elapsed().as_secs();
        println!("{unit}: {}", outcome.summary());
        outcomes.push((unit, outcome));
    }
    println!("\n{}", report(&outcomes));
    let failed: usize = outcomes
        .iter()
        .map(|(_, outcome)| outcome.failures.len())
        .sum();
    if failed > 0 {
        bail!("{failed} tests failed");
    }
    Ok(())
}

fn build_server() -> Result<PathBuf> {
    let words = ["build", "--release", "--package", "lodestore"];
    tools::run("cargo build", tools::cargo()?.args(words))?;
    Ok(tools::release_dir()?.join("lodestore"))
}

fn run_unit(
    suite: &Suite,
    options: &Options,
    program: &std::path::Path,
    unit: &str,
) -> Result<Outcome> {
    let server = if options.drop_in {
        None
    } else {
        // A fresh server per unit, so that damage by one unit does not fail the next.
        match Server::start(program, suite.scratch(), options.port, &options.settings) {
            Ok(server) => Some(server),
            Err(error) => {
                return Ok(Outcome::aborted(format!(
                    "the server did not start: {error:#}"
                )));
            }
        }
    };
    let outcome = suite.run(unit, server.as_ref().map(|server| server.port), options)?;
    Ok(outcome)
}

impl Options {
    fn parse(words: &[String]) -> Result<Options> {
        let mut options = Options {
            suite: PathBuf::new(),
            units: Vec::new(),
            drop_in: false,
            server: None,
            port: None,
            settings: Vec::new(),
            skips: tools::root()?.join("conformance/skip.txt"),
            silence_max: Duration::from_secs(300),
            unit_max: Duration::from_secs(1800),
            log: None,
            arguments: Vec::new(),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--drop-in" => options.drop_in = true,
                "--help" => bail!("{USAGE}"),
                _ => {
                    let value = words
                        .next()
                        .with_context(|| format!("{word} needs a value\n{USAGE}"))?;
                    options.set(word, value)?;
                }
            }
        }
        if options.suite.as_os_str().is_empty() {
            bail!("--suite is missing\n{USAGE}");
        }
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<()> {
        match word {
            "--suite" => self.suite = value.into(),
            "--unit" => self.units.push(value.to_owned()),
            "--server" => self.server = Some(value.into()),
            "--port" => self.port = Some(value.parse()?),
            "--appendonly" => self.settings.push(format!("appendonly {value}")),
            "--set" => self.settings.push(value.to_owned()),
            "--skips" => self.skips = value.into(),
            "--timeout" => self.silence_max = Duration::from_secs(value.parse()?),
            "--unit-max" => self.unit_max = Duration::from_secs(value.parse()?),
            "--log" => self.log = Some(value.into()),
            "--args" => self
                .arguments
                .extend(value.split_whitespace().map(str::to_owned)),
            _ => bail!("unknown option {word}\n{USAGE}"),
        }
        Ok(())
    }
}

/// The failures, the table of units and the closing line.
fn report(outcomes: &[(String, Outcome)]) -> String {
    let mut text = String::new();
    for (unit, outcome) in outcomes {
        for failure in &outcome.failures {
            let _ = writeln!(text, "FAILED {unit}: {failure}");
        }
    }
    let _ = writeln!(
        text,
        "\n| unit | passed | failed | skipped | seconds |\n| --- | --- | --- | --- | --- |"
    );
    let mut totals = (0, 0, 0);
    for (unit, outcome) in outcomes {
        let (passed, failed, skipped) = (outcome.passed, outcome.failures.len(), outcome.skipped);
        let _ = writeln!(
            text,
            "| {unit} | {passed} | {failed} | {skipped} | {} |",
            outcome.seconds
        );
        totals = (totals.0 + passed, totals.1 + failed, totals.2 + skipped);
    }
    let _ = write!(
        text,
        "\n{} passed, {} failed, {} skipped",
        totals.0, totals.1, totals.2
    );
    text
}

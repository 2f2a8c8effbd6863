//! Chores of the project: `cargo xtask` without a word lists them.

mod ci;
mod conformance;
mod differential;
mod dist;
mod documented;
mod nightly;
mod tidy;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

  ci                     formatting, lints, tidy, documentation and all tests
  tidy                   this project's own habits: lengths, unsafe, unwrap, imports, dead items, comments
  docs                   the API documentation, warnings being errors
  manual [DIR]           man pages, completions, a configuration file and a table of parameters, into DIR (target/manual;
                         without DIR those that the repository keeps are made anew as well)
  documented [--program PATH] [PAGE ...]
                         runs the commands that README and docs show
  dist [--check] [--program PATH] [--out DIR] [--root DIR]
                         an archive, a Debian package, a list of the libraries inside and checksums, into DIR
                         (target/dist); --check installs and purges the package in a Debian of its own (--root)
  nightly                miri and asan
  miri [ARGS]            unit tests of values and keyspace under Miri; ARGS go to `cargo miri test`
  asan [ARGS]            integration tests with AddressSanitizer; ARGS go to the tests
  mutants FILE... [--OPTION=VALUE ...]
                         whether tests notice changes of FILEs; options go to `cargo mutants`
  bench [ARGS]           side-by-side benchmarks; ARGS go to `lodestore-bench compare`
  differential --peer PATH [...]
                         random commands to our server and to Valkey, comparing all replies
  conformance --suite DIR [...]
                         Valkey's own test suite against our server; --help tells the options";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next();
    let rest: Vec<String> = words.collect();
    match run(command.as_deref(), &rest) {
        Ok(()) => ExitCode::SUCCESS,
        // Without the stack trace that `fn main() -> Result` would print: it is about xtask itself.
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Option<&str>, rest: &[String]) -> Result<()> {
    match command {
        Some("ci") => ci::run(),
        Some("tidy") => tidy::run(),
        Some("docs") => ci::docs(),
        Some("manual") => ci::manual(rest),
        Some("documented") => documented::run(rest),
        Some("dist") => dist::run(rest),
        // What pages call, where no such program is installed.
        Some("redis-cli") => documented::client::run(rest),
        Some("nightly") => nightly::all(),
        Some("miri") => nightly::miri(rest),
        Some("asan") => nightly::asan(rest),
        Some("mutants") => nightly::mutants(rest),
        Some("bench") => ci::bench(rest),
        Some("differential") => differential::run(rest),
        Some("conformance") => conformance::run(rest),
        _ => bail!("{USAGE}"),
    }
}

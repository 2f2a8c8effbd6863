//! A private copy of the suite, and running units in it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Options;
use super::output::Outcome;

/// Programs of the suite's tree that tests call.
const TOOLS: &[&str] = &["valkey-cli", "valkey-benchmark", "valkey-sentinel"];

/// Programs that are subcommands of our server.
const OWN_TOOLS: &[(&str, &str)] = &[("valkey-check-aof", "aof"), ("valkey-check-rdb", "rdb")];

/// The copy. It is removed when this value is dropped.
///
/// The suite writes below `tests` and clears that directory, so it runs in a copy: the given tree
/// stays unchanged, and several runs can go on at once.
pub(crate) struct Suite {
    scratch: PathBuf,
    tree: PathBuf,
    /// Holds `valkey-server`, which is a link to our server, and links to the suite's tools.
    binaries: PathBuf,
    skip_file: PathBuf,
}

impl Suite {
    /// Copies the tests of the tree at `source` and links the rest of it.
    pub(crate) fn prepare(source: &Path, server: &Path, skips: &[String]) -> Result<Suite> {
        let source = source
            .canonicalize()
            .with_context(|| format!("no suite at {}", source.display()))?;
        if !source.join("tests/test_helper.tcl").is_file() {
            bail!("{} is no source tree of Valkey", source.display());
        }
        let scratch =
            std::env::temp_dir().join(format!("lodestore-conformance-{}", std::process::id()));
        let suite = Suite {
            tree: scratch.join("tree"),
            binaries: scratch.join("bin"),
            skip_file: scratch.join("skips"),
            scratch,
        };
        fs::create_dir_all(&suite.binaries)?;
        fs::create_dir_all(&suite.tree)?;
        for entry in fs::read_dir(&source)? {
            let entry = entry?;
            if entry.file_name() != "tests" {
                symlink(entry.path(), suite.tree.join(entry.file_name()))?;
            }
        }
        copy_tree(&source.join("tests"), &suite.tree.join("tests"))?;
        fs::create_dir_all(suite.tree.join("tests/tmp"))?;
        symlink(server, suite.binaries.join("valkey-server"))?;
        for tool in TOOLS {
            let path = source.join("src").join(tool);
            if path.exists() {
                symlink(path, suite.binaries.join(tool))?;
            } else {
                eprintln!("{tool} is not built: tests that call it will fail");
            }
        }
        for (tool, subject) in OWN_TOOLS {
            suite.stage_check(tool, subject, server)?;
        }
        fs::write(&suite.skip_file, skips.join("\n"))?;
        Ok(suite)
    }

    /// A script that calls a checker of our server under the name that the suite uses.
    fn stage_check(&self, tool: &str, subject: &str, server: &Path) -> Result<()> {
        let path = self.binaries.join(tool);
        let server = server.display();
        fs::write(
            &path,
            format!("#!/bin/sh\nexec '{server}' check {subject} \"$@\"\n"),
        )?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A directory for temporary files of a run.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// The names of all units that apply. No test of unit/cluster runs against an external server.
    pub(crate) fn units(&self, drop_in: bool) -> Result<Vec<String>> {
        let output = self
            .command()
            .arg("--list-tests")
            .output()
            .context("starting the suite")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let units = text
            .lines()
            .filter(|unit| drop_in || !unit.starts_with("unit/cluster/"));
        let units: Vec<String> = units.map(str::to_owned).collect();
        if units.is_empty() {
            bail!(
                "the suite lists no units: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(units)
    }

    /// Runs one unit, against the server on `port` or, without a port, against servers the suite
    /// starts.
    pub(crate) fn run(&self, unit: &str, port: Option<u16>, options: &Options) -> Result<Outcome> {
        let mut command = self.command();
        command.args(["--single", unit, "--clients", "1", "--durable"]);
        command
            .arg("--timeout")
            .arg(options.silence_max.as_secs().to_string());
        command.arg("--skipfile").arg(&self.skip_file);
        let base_port = base_port();
        command.args([
            "--baseport",
            &base_port.to_string(),
            "--portcount",
            &PORT_COUNT.to_string(),
        ]);
        if let Some(port) = port {
            command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        }
        command.args(&options.arguments);
        let log = options
            .log
            .as_ref()
            .map(|dir| log_file(dir, unit))
            .transpose()?;
        run_bounded(command, options.unit_max, log)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("./runtest");
        command
            .current_dir(&self.tree)
            .env("VALKEY_BIN_DIR", &self.binaries)
            .env("TERM", "dumb")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        // A directory that stays behind in the system's temporary directory does no harm.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// Runs the suite until it ends, or ends it with all its processes after `longest`.
fn run_bounded(mut command: Command, longest: Duration, mut log: Option<File>) -> Result<Outcome> {
    // Complaints of the Tcl interpreter itself go where the output is kept, if it is.
    let stderr = log
        .as_ref()
        .map_or_else(|| Ok(Stdio::null()), |log| log.try_clone().map(Stdio::from))?;
    // A process group of its own, so that the servers the suite starts can be ended with it.
    let child = command
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn();
    let mut child = child.context("starting the suite")?;
    let stdout = child.stdout.take().context("no output of the suite")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                break;
            }
        }
    });
    let deadline = Instant::now() + longest;
    let mut outcome = Outcome::default();
    let ended_by = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(log) = &mut log {
                    writeln!(log, "{line}")?;
                }
                outcome.add(&line);
            }
            Err(RecvTimeoutError::Timeout) => {
                break Some(format!("took longer than {} s", longest.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    // After an orderly end the group has no process left, and the signal has no effect.
    let group = format!("-{}", child.id());
    let _ = Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    child.wait()?;
    outcome.close(ended_by);
    Ok(outcome)
}

/// Ports that one run may use for the servers that the suite starts.
const PORT_COUNT: u32 = 190;

/// The first of these ports. Runs at the same time get different ranges most of the time; the suite
/// itself passes over ports that are taken.
fn base_port() -> u32 {
    20_200 + std::process::id() % 60 * 200
}

fn log_file(dir: &Path, unit: &str) -> Result<File> {
    fs::create_dir_all(dir)?;
    Ok(File::create(
        dir.join(format!("{}.log", unit.replace('/', "-"))),
    )?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        // Files of earlier runs are not part of the suite.
        if entry.file_name() == "tmp" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copying {}", target.display()))?;
        }
    }
    Ok(())
}

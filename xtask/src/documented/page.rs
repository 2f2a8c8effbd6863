//! Runs the blocks of one page, one after the other, in a directory of their own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::blocks::{Block, Purpose};
use super::console;
use crate::tools::installed;

/// Ports that pages name. Free ones stand in their places, so that nothing that runs on the machine
/// is in the way, or reached.
const PORTS: [&str; 8] = [
    "26379", "6379", "6380", "6381", "6382", "6390", "7777", "9121",
];

/// Directories that pages name, which lie below the one of the page.
const DIRS: [&str; 5] = [
    "/var/lib/lodestore",
    "/var/lib/redis",
    "/etc/lodestore",
    "/etc/redis",
    "/var/backups",
];

/// How long a block may run, and a server take to serve.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of a block.
pub(super) enum Outcome {
    Ran,
    /// With the reason.
    Skipped(String),
}

/// The place in which the blocks of a page run. Dropping it ends what runs in the background, and
/// removes the directory.
pub(super) struct Scene {
    dir: PathBuf,
    /// What stands in a page, and what it is replaced by.
    replacements: Vec<(String, String)>,
    /// What runs, with its port.
    background: Vec<(String, Child)>,
    outputs: usize,
}

impl Scene {
    /// Makes the directory, with `program` as the server and a client in the path.
    pub(super) fn new(name: &str, program: &Path) -> Result<Self> {
        let dir = std::env::temp_dir().join(format!(
            "lodestore-documented-{}-{name}",
            std::process::id()
        ));
        fs::create_dir_all(dir.join("bin"))?;
        fs::create_dir_all(dir.join("target/release"))?;
        symlink(program, dir.join("bin/lodestore"))?;
        symlink(program, dir.join("target/release/lodestore"))?;
        let mut replacements = Vec::new();
        for (name, port) in PORTS.iter().zip(free_ports(PORTS.len())?) {
            replacements.push(((*name).to_owned(), port.to_string()));
        }
        let scene = Self {
            dir,
            replacements,
            background: Vec::new(),
            outputs: 0,
        };
        for path in DIRS {
            fs::create_dir_all(scene.below(path))?;
        }
        scene.write_client()?;
        Ok(scene)
    }

    /// `redis-cli` in the path: the one that is installed, or a stand-in.
    fn write_client(&self) -> Result<()> {
        let client = match installed("redis-cli").or_else(|| installed("valkey-cli")) {
            Some(path) => format!("'{}'", path.display()),
            None => format!("'{}' redis-cli", std::env::current_exe()?.display()),
        };
        // Options count from the left; that of a page wins. The output of what looks like a session
        // is that of a terminal.
        let script = format!(
            "#!/bin/sh\nexec {client} ${{DOCUMENTED_SESSION:+--no-raw}} -p {} \"$@\"\n",
            self.translated("6379")
        );
        let path = self.dir.join("bin/redis-cli");
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// The place of an absolute path of a page.
    fn below(&self, path: &str) -> PathBuf {
        self.dir.join(path.trim_start_matches('/'))
    }

    /// A text of the page as it is run.
    fn translated(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for path in DIRS {
            text = text.replace(path, &self.below(path).to_string_lossy());
        }
        for (name, port) in &self.replacements {
            text = with_number(&text, name, port);
        }
        text
    }

    /// Does what a block is for.
    ///
    /// # Errors
    /// What went wrong, with the output.
    pub(super) fn run(&mut self, block: &Block) -> Result<Outcome> {
        if let Purpose::NotRun(reason) = &block.purpose {
            return Ok(Outcome::Skipped(reason.clone()));
        }
        if let Some(tool) = block.needs.iter().find(|tool| installed(tool).is_none()) {
            return Ok(Outcome::Skipped(format!("{tool} is not installed")));
        }
        let text = self.translated(&block.text);
        match &block.purpose {
            Purpose::NotRun(_) => {}
            Purpose::File(name) => fs::write(self.dir.join(self.translated(name)), text)?,
            Purpose::Background => self.start(&text)?,
            Purpose::Script => {
                let (status, output) = self.bash(&text, false)?;
                if !status.success() {
                    bail!("{status}\n{output}");
                }
            }
            Purpose::Console => self.session(&text)?,
        }
        Ok(Outcome::Ran)
    }

    /// Runs the commands of a session and compares their output.
    fn session(&mut self, text: &str) -> Result<()> {
        for step in console::steps(text) {
            let began = Instant::now();
            let mut output = self.bash(&step.command, true)?.1;
            // A server that has a password does not say before whether it has loaded its data.
            while output.contains("LOADING Lodestore") && began.elapsed() < PATIENCE {
                std::thread::sleep(PAUSE);
                output = self.bash(&step.command, true)?.1;
            }
            let lines: Vec<&str> = output.lines().collect();
            if !console::agrees(&step.output, &lines) {
                bail!(
                    "$ {}\nexpected:\n{}\nfound:\n{output}",
                    step.command,
                    step.output.join("\n")
                );
            }
        }
        Ok(())
    }

    /// bash on a script, in a process group of its own, with all its output in `output`.
    fn command(&self, script: &str, output: &Path) -> Result<Command> {
        let path = std::env::var("PATH").unwrap_or_default();
        let file = File::create(output)?;
        let mut command = Command::new("bash");
        command
            .args(["-eu", "-o", "pipefail", "-c", script])
            .current_dir(&self.dir)
            .env("PATH", format!("{}/bin:{path}", self.dir.display()))
            .env("HOME", &self.dir)
            .env("LODESTORE_PORT", self.translated("6379"))
            .env_remove("REDISCLI_AUTH")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0);
        Ok(command)
    }

    /// A file for the output of the next command.
    fn next_output(&mut self) -> PathBuf {
        self.outputs += 1;
        self.dir.join(format!(".output-{}", self.outputs))
    }

    /// Runs a script to its end: how it ended, and its output.
    fn bash(&mut self, script: &str, is_session: bool) -> Result<(ExitStatus, String)> {
        let path = self.next_output();
        let mut command = self.command(script, &path)?;
        if is_session {
            command.env("DOCUMENTED_SESSION", "1");
        }
        let mut child = command.spawn().context("bash is needed")?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if began.elapsed() > PATIENCE {
                end(&mut child);
                bail!("still runs after {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(PAUSE);
        };
        let output = fs::read(&path)?;
        Ok((status, String::from_utf8_lossy(&output).into_owned()))
    }

    /// Starts a server and waits until it serves.
    fn start(&mut self, script: &str) -> Result<()> {
        let port = port_of(script).unwrap_or_else(|| self.translated("6379"));
        self.wait_for_end(&port)?;
        let path = self.next_output();
        let mut child = self.command(script, &path)?.spawn()?;
        let address = format!("127.0.0.1:{port}");
        let began = Instant::now();
        while !serves(&address) {
            let ended = child.try_wait()?;
            if ended.is_some() || began.elapsed() > PATIENCE {
                end(&mut child);
                let output = fs::read(&path)?;
                bail!(
                    "nothing serves on {address}\n{}",
                    String::from_utf8_lossy(&output)
                );
            }
            std::thread::sleep(PAUSE);
        }
        self.background.push((port, child));
        Ok(())
    }

    /// Waits until the server that the page has ended on a port is gone, its lock of files with it.
    fn wait_for_end(&mut self, port: &str) -> Result<()> {
        let began = Instant::now();
        for (_, child) in self.background.iter_mut().filter(|it| it.0 == port) {
            while child.try_wait()?.is_none() {
                if began.elapsed() > PATIENCE {
                    bail!("the server before still runs on {port}");
                }
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// The ports of the page on which something listens that the page should have ended.
    pub(super) fn left_over(&mut self) -> Vec<String> {
        self.background.iter_mut().for_each(|it| end(&mut it.1));
        self.background.clear();
        let ports = self.replacements.iter();
        let is_open = |port: &str| TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
        ports
            .filter(|(_, port)| is_open(port))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.background.iter_mut().for_each(|it| end(&mut it.1));
        // What is left lies in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether a server answers and has loaded its data. One that answers otherwise (a password, TLS)
/// serves, too.
fn serves(address: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 64];
        let len = stream.read(&mut answer).unwrap_or_default();
        std::io::Result::Ok(answer[..len].starts_with(b"-LOADING"))
    };
    ask().is_ok_and(|is_loading| !is_loading)
}

/// Ends a process with all that it started, and waits for it.
fn end(child: &mut Child) {
    let group = format!("-{}", child.id());
    // A process that has ended by itself is the aim, too.
    let _ = Command::new("bash")
        .args(["-c", &format!("kill -KILL -- {group}")])
        .stderr(Stdio::null())
        .status();
    let _ = child.wait();
}

/// Different ports that nothing listens on, below those that the system gives to clients.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let first = 20_000 + std::process::id() % 8_000;
    let ports = (first..32_000).filter_map(|port| u16::try_from(port).ok());
    let free = ports.filter(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    if ports.len() < count {
        bail!("there are no free ports");
    }
    Ok(ports)
}

/// The port that a server of a script listens on.
fn port_of(script: &str) -> Option<String> {
    let mut words = script.split_whitespace();
    while let Some(word) = words.next() {
        if word == "--port" || word == "--tls-port" {
            let port = words.next()?;
            if port != "0" {
                return Some(port.to_owned());
            }
        }
    }
    None
}

/// Replaces a number where it is not a part of a longer one.
fn with_number(text: &str, number: &str, by: &str) -> String {
    let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(number) {
        let (before, found) = rest.split_at(at);
        let after = &found[number.len()..];
        let before_that = before.chars().last().or_else(|| out.chars().last());
        out.push_str(before);
        let is_whole = !is_digit(before_that) && !is_digit(after.chars().next());
        out.push_str(if is_whole { by } else { number });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_replaced() {
        assert_eq!(
            with_number("6379 26379 63790 :6379", "6379", "1"),
            "1 26379 63790 :1"
        );
        assert_eq!(with_number("63796379", "6379", "1"), "63796379");
    }

    #[test]
    fn the_port_of_a_server() {
        assert_eq!(port_of("a --port 0 --tls-port 7"), Some("7".to_owned()));
        assert_eq!(port_of("a --dir x"), None);
    }
}

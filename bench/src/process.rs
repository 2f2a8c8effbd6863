//! Servers under test: starting them on a free loopback port in a directory of their own, measuring
//! them from outside, ending them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::blocking::Client;
use crate::echo;
use crate::sys;

/// How long a server may take until it answers PING: with ten million keys to load.
const START_MAX: Duration = Duration::from_secs(120);

/// The kind of a measured program, which decides its options.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    Lodestore,
    /// Valkey or Redis.
    Peer,
    /// One of the echo loops inside this program.
    Loop(echo::Kind),
}

/// A program that can be measured: a server, or this program itself as an echo loop.
#[derive(Clone)]
pub(crate) struct Program {
    /// Name and version for the tables.
    pub(crate) name: String,
    pub(crate) flavor: Flavor,
    pub(crate) path: PathBuf,
    /// Options of the caller, after all others.
    extra: Vec<String>,
}

/// The append-only file during a measurement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aof {
    Off,
    Everysec,
    Always,
}

/// How a program is started for a scenario.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) aof: Aof,
    /// Worker threads (`io-threads` of the peers); `None` leaves the program its default.
    pub(crate) threads: Option<usize>,
    /// Length of the value that an echo loop answers with.
    pub(crate) echo_len: usize,
    /// More options, the same for ours and for peers.
    pub(crate) options: &'static [&'static str],
}

impl Setup {
    /// One worker, nothing written to disk.
    pub(crate) const PLAIN: Setup = Setup {
        aof: Aof::Off,
        threads: Some(1),
        echo_len: 64,
        options: &[],
    };
}

impl Program {
    /// A server binary. Its version decides its kind.
    pub(crate) fn server(path: &Path, extra: &[String]) -> Result<Program> {
        if !path.is_file() {
            bail!(
                "no server at {}; build it first (cargo build --release)",
                path.display()
            );
        }
        // Valkey and Redis answer "<Name> server v=<version> ...".
        let text = version_text(path)?;
        let word = |name| text.split_whitespace().find_map(|it| it.strip_prefix(name));
        // Behind "v=" Lodestore names the version of Redis that it stands for.
        let version = word("lodestore=").or(word("v=")).unwrap_or_default();
        let file_name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (name, flavor) = if text.starts_with("Valkey") {
            ("Valkey", Flavor::Peer)
        } else if text.starts_with("Redis") {
            ("Redis", Flavor::Peer)
        } else if text.starts_with("Lodestore") || file_name.starts_with("lodestore") {
            ("Lodestore", Flavor::Lodestore)
        } else {
            (file_name.as_str(), Flavor::Peer)
        };
        let name = format!("{name} {version}").trim_end().to_owned();
        Ok(Program {
            name,
            flavor,
            // Servers start in directories of their own.
            path: std::path::absolute(path)?,
            extra: extra.to_vec(),
        })
    }

    /// An echo loop, which is this very program under another subcommand.
    pub(crate) fn echo_loop(kind: echo::Kind) -> Result<Program> {
        let path = std::env::current_exe()?;
        Ok(Program {
            name: kind.title().to_owned(),
            flavor: Flavor::Loop(kind),
            path,
            extra: Vec::new(),
        })
    }

    /// The whole command line. Only the options of the scenario differ from the defaults, except
    /// that snapshots and rewrites of the log are off unless the scenario has them: a fork in the
    /// middle of a slice would be measured too.
    fn arguments(&self, setup: &Setup, port: u16, dir: &Path) -> Vec<String> {
        if let Flavor::Loop(kind) = self.flavor {
            let words = [
                "echo",
                kind.name(),
                "--port",
                &port.to_string(),
                "--reply-len",
                &setup.echo_len.to_string(),
            ];
            return words.map(str::to_owned).to_vec();
        }
        let (appendonly, appendfsync) = match setup.aof {
            Aof::Off => ("no", "everysec"),
            Aof::Everysec => ("yes", "everysec"),
            Aof::Always => ("yes", "always"),
        };
        let dir = dir.to_string_lossy();
        let port = port.to_string();
        let mut words: Vec<String> = [
            ["--port", &port],
            ["--bind", "127.0.0.1"],
            ["--dir", &dir],
            ["--save", ""],
            ["--appendonly", appendonly],
            ["--appendfsync", appendfsync],
            ["--auto-aof-rewrite-percentage", "0"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect();
        if let Some(threads) = setup.threads {
            let option = if self.flavor == Flavor::Lodestore {
                "--threads"
            } else {
                "--io-threads"
            };
            words.extend([option.to_owned(), threads.to_string()]);
        }
        words.extend(setup.options.iter().map(|&word| word.to_owned()));
        words.extend(self.extra.iter().cloned());
        words
    }
}

/// The first line of `PROGRAM --version`, empty when the program does not answer in two seconds.
fn version_text(path: &Path) -> Result<String> {
    let mut child = Command::new(path)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", path.display()))?;
    let deadline = Instant::now() + Duration::from_secs(2);
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(String::new());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// A running server. Dropping it kills the process and removes its directory.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Its working directory, which holds its log and its data files.
    pub(crate) dir: PathBuf,
}

impl Server {
    /// Starts `program` on `cpus` and waits until it answers.
    pub(crate) fn start(
        program: &Program,
        setup: &Setup,
        cpus: &[usize],
        scratch: &Path,
    ) -> Result<Server> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let dir = scratch.join(format!("lodestore-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let port = free_port()?;
        let child = spawn(program, setup, port, cpus, &dir)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server {
            child,
            address,
            dir,
        };
        server
            .wait_until_ready()
            .with_context(|| format!("{} did not start", program.name))?;
        Ok(server)
    }

    /// Kills the server and starts it again in its directory; returns when it has loaded its data.
    pub(crate) fn restart(
        &mut self,
        program: &Program,
        setup: &Setup,
        cpus: &[usize],
    ) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(program, setup, self.address.port(), cpus, &self.dir)?;
        self.wait_until_ready()
            .with_context(|| format!("{} did not start again", program.name))
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            let answer =
                Client::connect(self.address).and_then(|mut client| client.command(&[b"PING"]));
            let Err(error) = answer else { return Ok(()) };
            let exit = self.child.try_wait()?;
            if exit.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                let exit =
                    exit.map_or_else(|| "still running".to_owned(), |status| status.to_string());
                bail!("{exit}; {error:#}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// CPU time in nanoseconds the whole process has used so far.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        sys::process_cpu_ns(self.child.id()).context("reading the CPU clock of a server")
    }

    /// Resident memory in bytes of the server and of the processes it has forked; pages that they
    /// share count once.
    pub(crate) fn footprint(&self) -> Result<u64> {
        let pid = self.child.id();
        let mut total = proportional(pid)?;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
        {
            // It may have ended meanwhile.
            total += proportional(child).unwrap_or(0);
        }
        Ok(total)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS line")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }
}

/// Resident memory of a process, pages shared with others counted in parts.
fn proportional(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .context("no Pss line")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

fn spawn(program: &Program, setup: &Setup, port: u16, cpus: &[usize], dir: &Path) -> Result<Child> {
    // The output of the server is shown only if it does not start.
    let log = File::create(dir.join("log"))?;
    let mut command = Command::new(&program.path);
    command
        .args(program.arguments(setup, port, dir))
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    sys::confine_child(&mut command, cpus);
    command
        .spawn()
        .with_context(|| format!("starting {}", program.name))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about an error here: the process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes directories of earlier runs that were killed and so could not remove them themselves.
pub(crate) fn remove_leftovers(scratch: &Path) -> Result<()> {
    for entry in fs::read_dir(scratch)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix("lodestore-bench-"));
        let Some((pid, _)) = pid.and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

//! Side-by-side benchmarks: Lodestore against other servers and against bare event loops, on one
//! machine, in one run, by one client thread. See bench/README.md.

mod blocking;
mod client;
mod echo;
mod embedded;
mod engine;
mod expiry;
mod fanout;
mod growth;
mod histogram;
mod measure;
mod memory;
mod process;
mod queue;
mod replicas;
mod replies;
mod report;
mod saving;
mod scenario;
mod sys;
mod tls;
mod wakeup;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::measure::{Cpus, Plan};
use crate::process::Program;
use crate::report::{Section, Tables};
use crate::scenario::Field;

/// The allocator of the server, for the engine that runs in this process.
#[global_allocator]
static ALLOCATOR: keyspace::memory::Jemalloc = keyspace::memory::Jemalloc;

const USAGE: &str = "usage:
  lodestore-bench compare [--server PATH] [--peer PATH]... [--rows SUBSTRING,...] [--quick] [--list]
                          [--write FILE] [--rounds N] [--slice SECONDS] [--scratch DIR]
                          [--server-args 'WORDS'] [--peer-args 'WORDS']
  lodestore-bench engine [--rows SUBSTRING,...] [--rounds N] [--slice SECONDS] [--write FILE]
                         [--keys N] [--value-len N] [--shards N]
  lodestore-bench embedded [--rounds N] [--slice SECONDS] [--write FILE] [--keys N] [--value-len N]
  lodestore-bench echo mio|threads|tokio --port N --reply-len N

compare  starts the server (default: lodestore beside this program), its peers and the echo loops,
         measures CPU time per request and throughput, and prints tables in Markdown
engine   runs requests by function call, without sockets, on one thread and on two
embedded runs GET and SET of a store in this process by function call, over loopback, and on maps
echo     serves fixed replies; compare starts these itself";

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<()> {
    match words.next().as_deref() {
        Some("compare") => compare(&Options::parse(words)?),
        Some("engine") => engine::run(&engine::Options::parse(words).context(USAGE)?),
        Some("embedded") => embedded::run(&embedded::Options::parse(words).context(USAGE)?),
        Some("echo") => {
            let kind = words.next().context(USAGE)?;
            let (mut port, mut reply_len) = (6379, 64);
            while let Some(word) = words.next() {
                let value = words
                    .next()
                    .with_context(|| format!("{word} needs a value"))?;
                match word.as_str() {
                    "--port" => port = value.parse()?,
                    "--reply-len" => reply_len = value.parse()?,
                    _ => bail!("unknown option {word}\n{USAGE}"),
                }
            }
            echo::serve(&kind, port, reply_len)
        }
        _ => bail!("{USAGE}"),
    }
}

/// The command line of `compare`.
struct Options {
    server: PathBuf,
    peers: Vec<PathBuf>,
    server_args: Vec<String>,
    peer_args: Vec<String>,
    list: bool,
    write: Option<PathBuf>,
    plan: Plan,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Options> {
        let mut options = Options {
            server: std::env::current_exe()?.with_file_name("lodestore"),
            peers: Vec::new(),
            server_args: Vec::new(),
            peer_args: Vec::new(),
            list: false,
            write: None,
            plan: Plan {
                quick: false,
                slice: Duration::ZERO,
                rounds: 0,
                filter: Vec::new(),
                scratch: std::env::temp_dir(),
                cpus: Cpus::detect()?,
            },
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => options.plan.quick = true,
                "--list" => options.list = true,
                "--help" => bail!("{USAGE}"),
                _ => {
                    let value = words
                        .next()
                        .with_context(|| format!("{word} needs a value\n{USAGE}"))?;
                    options.set(&word, value)?;
                }
            }
        }
        let (slice, rounds) = if options.plan.quick {
            (Duration::from_millis(250), 5)
        } else {
            (Duration::from_secs(1), 7)
        };
        let plan = &mut options.plan;
        plan.slice = if plan.slice.is_zero() {
            slice
        } else {
            plan.slice
        };
        plan.rounds = if plan.rounds == 0 {
            rounds
        } else {
            plan.rounds
        };
        Ok(options)
    }

    fn set(&mut self, word: &str, value: String) -> Result<()> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        match word {
            "--server" => self.server = value.into(),
            "--peer" => self.peers.push(value.into()),
            "--rows" => self.plan.filter = value.split(',').map(str::to_owned).collect(),
            "--write" => self.write = Some(value.into()),
            "--rounds" => self.plan.rounds = value.parse::<usize>()?.clamp(1, 1000),
            "--slice" => {
                self.plan.slice =
                    Duration::try_from_secs_f64(value.parse::<f64>()?.clamp(0.01, 60.0))?
            }
            "--scratch" => self.plan.scratch = value.into(),
            "--server-args" => self.server_args = words(&value),
            "--peer-args" => self.peer_args = words(&value),
            _ => bail!("unknown option {word}\n{USAGE}"),
        }
        Ok(())
    }
}

fn compare(options: &Options) -> Result<()> {
    let field = Field {
        subject: Program::server(&options.server, &options.server_args)?,
        peers: options
            .peers
            .iter()
            .map(|path| Program::server(path, &options.peer_args))
            .collect::<Result<_>>()?,
        loops: echo::Kind::ALL
            .iter()
            .map(|&kind| Program::echo_loop(kind))
            .collect::<Result<_>>()?,
    };
    let scenarios = scenario::all(&field);
    if options.list {
        scenarios
            .iter()
            .flat_map(|scenario| &scenario.rows)
            .for_each(|row| println!("{}", row.id));
        memory::ids()
            .chain(saving::IDS)
            .chain(fanout::ids())
            .chain(replicas::IDS)
            .chain(tls::ids())
            .chain([queue::ID, growth::ID, expiry::ID, wakeup::ID])
            .for_each(|id| println!("{id}"));
        return Ok(());
    }
    let plan = &options.plan;
    process::remove_leftovers(&plan.scratch)?;
    let mut tables = Tables::default();
    describe_environment(&field, plan, &mut tables)?;
    let mut failures = Vec::new();
    // A server that lacks something must not cost the rows that it can run.
    for scenario in &scenarios {
        failures.extend(measure::run_scenario(scenario, plan, &mut tables).err());
    }
    failures.extend(queue::run(&field, plan, &mut tables).err());
    failures.extend(wakeup::run(&field, plan, &mut tables).err());
    failures.extend(fanout::run(&field, plan, &mut tables).err());
    failures.extend(tls::run(&field, plan, &mut tables).err());
    failures.extend(replicas::run(&field, plan, &mut tables).err());
    failures.extend(memory::run(&field, plan, &mut tables).err());
    failures.extend(saving::run(&field, plan, &mut tables).err());
    failures.extend(growth::run(&field, plan, &mut tables).err());
    failures.extend(expiry::run(&field, plan, &mut tables).err());
    println!("{}", tables.to_markdown());
    if let Some(path) = &options.write {
        tables.write_into(path)?;
    }
    for failure in &failures {
        eprintln!("failed: {failure:#}");
    }
    if !failures.is_empty() {
        bail!("{} measurements failed", failures.len());
    }
    Ok(())
}

fn describe_environment(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let programs: Vec<&str> = std::iter::once(&field.subject)
        .chain(&field.peers)
        .map(|program| program.name.as_str())
        .collect();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let lines = [
        ("programs", programs.join(", ")),
        ("date", today()?),
        (
            "processor",
            format!("{}, {} CPUs used", processor(), plan.cpus.all.len()),
        ),
        ("memory", proc_line("/proc/meminfo", "MemTotal")),
        ("kernel", format!("Linux {}", kernel.trim())),
        (
            "profile",
            if plan.quick { "quick" } else { "full" }.to_owned(),
        ),
        (
            "rounds",
            format!(
                "{} of {:.1} s per server and row",
                plan.rounds,
                plan.slice.as_secs_f64()
            ),
        ),
    ];
    for (what, value) in lines {
        tables.add(Section::Environment, vec![what.to_owned(), value]);
    }
    Ok(())
}

/// The name of the processor.
fn processor() -> String {
    proc_line("/proc/cpuinfo", "model name")
}

/// The value behind the first `key` of a file of lines "key: value"; empty without one.
fn proc_line(path: &str, key: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with(key))
        .and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

/// Today's date in UTC as year-month-day.
fn today() -> Result<String> {
    let days = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    Ok(civil_date(days))
}

/// The Gregorian date of a number of days since 1970-01-01 (Howard Hinnant's algorithm: years begin
/// in March, so that the leap day is the last of its year).
fn civil_date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::civil_date;

    #[test]
    fn dates() {
        assert_eq!(civil_date(0), "1970-01-01");
        assert_eq!(civil_date(11_016), "2000-02-29");
        assert_eq!(civil_date(20_454), "2026-01-01");
    }
}

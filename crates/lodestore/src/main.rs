//! `lodestore [FILE] [--option value ...]`: the server. `lodestore check ...`: checks of its files;
//! `lodestore config ...`: its parameters; `lodestore ping ...`: whether a server serves.

mod check;
mod explain;
mod ping;
mod restore;

use std::ffi::OsStr;
use std::process::ExitCode;

use engine::config::{Config, P, Supervised};
use persist::Moment;
use server::config::args::{self, Invocation, USAGE};
use server::{Instance, StartError};

/// All memory of the process, also that of libraries, is counted and bounded by `maxmemory`.
#[cfg(not(feature = "system-allocator"))]
#[global_allocator]
static ALLOCATOR: keyspace::memory::Jemalloc = keyspace::memory::Jemalloc;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && let Some(tool) = tool(first)
    {
        let rest: Vec<String> = rest
            .iter()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect();
        return tool(&rest);
    }
    let moment = match restore::take(&mut arguments) {
        Ok(moment) => moment,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
    };
    match args::parse(arguments) {
        Invocation::Version => {
            println!("{}", version_line());
            ExitCode::SUCCESS
        }
        Invocation::Help => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Invocation::Run(command_line) => {
            match command_line.load(std::env::vars_os(), &mut std::io::stdin()) {
                Ok(config) => run(config, moment),
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// What runs instead of a server.
fn tool(name: &OsStr) -> Option<fn(&[String]) -> ExitCode> {
    match name.to_str()? {
        "check" => Some(check::run),
        "config" => Some(explain::run),
        "ping" => Some(ping::run),
        _ => None,
    }
}

/// In the form of Redis, which tools parse: the first version in it is the one of Redis that INFO
/// reports by default, because they decide by it whether the server is new enough.
fn version_line() -> String {
    let build = lodestore::BUILD;
    format!(
        "Lodestore server v={} sha={}:{} malloc={} bits={} build={} lodestore={}",
        engine::version::REDIS_VERSION,
        build.sha(),
        u8::from(build.is_modified),
        server::allocator(),
        usize::BITS,
        build.id(),
        engine::version::LODESTORE_VERSION,
    )
}

fn run(config: Config, moment: Option<Moment>) -> ExitCode {
    let supervised = config.choice::<Supervised>(P::Supervised) != Supervised::No;
    if config.bool(P::Daemonize)
        && !supervised
        && let Err(error) = server::daemonize()
    {
        eprintln!("Going to the background failed: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(error) = server::start_logging(&config) {
        eprintln!("Can't open the log file: {error}");
        return ExitCode::FAILURE;
    }
    log::info!("oO0OoO0OoO0Oo Lodestore is starting oO0OoO0OoO0Oo");
    log::info!(
        "Lodestore version={}, bits={}, pid={}, just started",
        env!("CARGO_PKG_VERSION"),
        usize::BITS,
        std::process::id()
    );
    match config.file() {
        Some(_) => log::info!("Configuration loaded"),
        None => log::warn!(
            "Warning: no config file specified, using the default config. In order to specify a config file use lodestore /path/to/lodestore.conf"
        ),
    }
    for notice in config.notices() {
        match notice.is_warning {
            true => log::warn!("{}", notice.text),
            false => log::info!("{}", notice.text),
        }
    }
    if let Some(moment) = moment
        && let Err(reason) = restore::run(&config, moment)
    {
        log::error!("{reason}");
        return ExitCode::FAILURE;
    }
    match start(config) {
        Ok(instance) => ExitCode::from(u8::try_from(instance.wait()).unwrap_or(1)),
        Err(error) => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(config: Config) -> Result<Instance, StartError> {
    server::handle_signals()?;
    server::report_crashes(config.bool(P::CrashLogEnabled));
    server::take_title(&config);
    let in_background = config.bool(P::BackgroundHugePages);
    if config.bool(P::DisableThp) {
        server::disable_huge_pages(in_background);
    }
    server::limit_clients(&config).map_err(StartError::Config)?;
    let instance = Instance::start(config, lodestore::BUILD)?;
    if in_background {
        server::make_huge_pages(instance.server());
    }
    Ok(instance)
}

//! Functions that several chores share: paths of the project, and running programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    // xtask is only ever run through cargo, from the tree it was built in.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest
        .parent()
        .context("xtask lies outside the workspace")?
        .to_owned())
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()?);
    Ok(command)
}

/// The directory of cargo's builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().map(|root| root.join("target")),
        |dir| Ok(dir.into()),
    )?;
    Ok(root()?.join(target))
}

/// The directory of cargo's release builds.
pub(crate) fn release_dir() -> Result<PathBuf> {
    Ok(target_dir()?.join("release"))
}

/// Builds the server without optimisations: its path.
pub(crate) fn debug_server() -> Result<PathBuf> {
    let words = ["build", "--quiet", "--package", "lodestore", "--locked"];
    run("cargo build", cargo()?.args(words))?;
    Ok(target_dir()?.join("debug").join("lodestore"))
}

/// Runs `command` to its end; an exit status other than 0 is an error that calls it `what`.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {what}"))?;
    if !status.success() {
        bail!("{what} failed: {status}");
    }
    Ok(())
}

/// The place of a program in the path.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

//! Tries what was made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::text_of;
use crate::tools;

/// The Debian that the package is installed into.
const RELEASE: &str = "bookworm";

/// Compares files with those of the same name in another directory.
///
/// # Errors
/// Some differ: they depend on more than their contents.
pub(super) fn same(files: &[PathBuf], dir: &Path) -> Result<()> {
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        if fs::read(file)? != fs::read(dir.join(name))? {
            bail!("{}: other bytes when made again", name.to_string_lossy());
        }
    }
    println!("{} files are the same when made again", files.len());
    Ok(())
}

/// Installs, uses and purges the package in a Debian of its own, or says why not.
///
/// # Errors
/// A step of `contrib/debian/check.sh` fails.
pub(super) fn in_a_debian(files: &[PathBuf], root: &Path) -> Result<()> {
    let package = files
        .iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .context("no package was made")?;
    if text_of(Command::new("id").arg("-u"))? != "0" {
        println!("SKIPPED: only root can install the package in a directory of its own");
        return Ok(());
    }
    if !root.exists() && !bootstrap(root)? {
        return Ok(());
    }
    let name = package.file_name().context("a file has a name")?;
    fs::copy(package, root.join("tmp").join(name))?;
    fs::copy(
        tools::root()?.join("contrib/debian/check.sh"),
        root.join("tmp/check.sh"),
    )?;
    tools::run(
        "contrib/debian/check.sh",
        Command::new("chroot")
            .arg(root)
            .args(["/bin/sh", "/tmp/check.sh"])
            .arg(Path::new("/tmp").join(name))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Makes a small Debian; false where that cannot be done.
fn bootstrap(root: &Path) -> Result<bool> {
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", RELEASE]).arg(root);
    match command.output() {
        Ok(output) if output.status.success() => Ok(true),
        Ok(output) => {
            // A part of a Debian is none.
            if root.exists() {
                fs::remove_dir_all(root)?;
            }
            bail!(
                "debootstrap failed: {}",
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Err(_) => {
            println!(
                "SKIPPED: debootstrap is not installed, so the package is not installed anywhere"
            );
            Ok(false)
        }
    }
}

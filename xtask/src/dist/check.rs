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

/// Looks for directories of this machine in what is left of a program when it is stripped.
///
/// # Errors
/// Some are named: another machine would make other bytes.
pub(super) fn without_paths(program: &Path, dirs: &[&Path]) -> Result<()> {
    let stripped = program.with_extension("stripped");
    text_of(
        Command::new("strip")
            .args(["--strip-debug", "-o"])
            .arg(&stripped)
            .arg(program),
    )?;
    let bytes = fs::read(&stripped)?;
    fs::remove_file(&stripped)?;
    for dir in dirs {
        let dir = dir.to_string_lossy();
        let name = dir.as_bytes();
        if bytes.windows(name.len()).any(|window| window == name) {
            bail!("{}: it names {dir}", program.display());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_machine_are_found() {
        let program = std::env::temp_dir().join(format!("xtask-paths-{}", std::process::id()));
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        // `tools::root` has the name of its directory in the program.
        let root = tools::root().unwrap();
        assert!(without_paths(&program, &[&root]).is_err());
        let other: String = "hcus-on/".chars().rev().collect();
        without_paths(&program, &[Path::new(&other)]).unwrap();
        fs::remove_file(&program).unwrap();
    }
}

//! Tells the program which commit it is built from: `-v` and INFO show it.

use std::path::Path;
use std::process::Command;

fn main() {
    let commit = git(&["rev-parse", "--short=8", "HEAD"]).unwrap_or_default();
    let status = git(&["status", "--porcelain", "--untracked-files=no"]);
    let is_modified = status.is_some_and(|status| !status.is_empty());
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let variant = format!(
        "{} {} {}",
        variable("TARGET"),
        variable("PROFILE"),
        variable("OPT_LEVEL")
    );
    // Cargo also sets these where it runs the program, which takes names with its own prefix for
    // parameters.
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=BUILD_MODIFIED={}", u8::from(is_modified));
    println!("cargo::rustc-env=BUILD_VARIANT={variant}");
    println!("cargo::rerun-if-changed=build.rs");
    for file in ["logs/HEAD", "index"] {
        let path = git(&["rev-parse", "--git-path", file]).unwrap_or_default();
        // Cargo runs the script each time while a file that it names is not there.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// What git prints, without the line end; `None` without git or outside of a repository.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

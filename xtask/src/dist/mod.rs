//! What is handed out: an archive, a Debian package, a list of what is inside, and checksums.
//!
//! dpkg-deb makes the package, and not cargo-deb: it is on every Debian, the archive needs the same
//! tree of files, and a tool that is built first would cost CI minutes.
//!
//! Both are the same bytes when they are made twice: times are `SOURCE_DATE_EPOCH` (by default that
//! of the last commit), names are sorted, owners are root, and paths of the machine are not in the
//! program (`--remap-path-prefix`).

mod check;
mod sbom;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools;
use stage::Stage;

const USAGE: &str = "usage: cargo xtask dist [--check] [--program PATH] [--out DIR] [--root DIR]";

/// What to make.
struct Options {
    /// A program that is there; otherwise one is built.
    program: Option<PathBuf>,
    out: PathBuf,
    /// Whether the result is tried.
    is_checked: bool,
    /// A Debian to install into. It is made when it is not there.
    root: PathBuf,
}

/// Facts that all files of one distribution share.
pub(super) struct Release {
    pub version: String,
    /// As Debian names the processor: `amd64`.
    pub architecture: String,
    /// Seconds since 1970 that all files carry.
    pub epoch: u64,
}

/// Makes everything, and with `--check` tries it.
///
/// # Errors
/// A tool is missing or fails, or a check does.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = options(arguments)?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build()?,
    };
    let release = Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: text_of(Command::new("dpkg").arg("--print-architecture"))?,
        epoch: epoch()?,
    };
    let files = make(&release, &program, &options.out)?;
    for file in &files {
        println!("{}", file.display());
    }
    if options.is_checked {
        let again = options.out.with_extension("again");
        make(&release, &program, &again)?;
        check::same(&files, &again)?;
        fs::remove_dir_all(&again)?;
        check::in_a_debian(&files, &options.root)?;
    }
    Ok(())
}

fn options(arguments: &[String]) -> Result<Options> {
    let target = tools::target_dir()?;
    let mut options = Options {
        program: None,
        out: target.join("dist"),
        is_checked: false,
        root: target.join("dist-debian"),
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut path =
            || Ok::<_, anyhow::Error>(std::path::absolute(words.next().context(USAGE)?)?);
        match word.as_str() {
            "--check" => options.is_checked = true,
            "--program" => options.program = Some(path()?),
            "--out" => options.out = path()?,
            "--root" => options.root = path()?,
            _ => bail!(USAGE),
        }
    }
    Ok(options)
}

/// Builds the program in a directory of its own, because its flags are others.
fn build() -> Result<PathBuf> {
    let target = tools::target_dir()?.join("dist-build");
    let root = tools::root()?;
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("no HOME")?).join(".cargo"),
    };
    let places = places(&root, &target, &home)?;
    let flags = |option: &str| {
        let flags = places.iter();
        let flags = flags.map(|(from, to)| format!("{option}={}={to}", from.display()));
        flags.collect::<Vec<_>>().join(" ")
    };
    let words = ["build", "--release", "--locked", "--package", "lodestore"];
    tools::run(
        "cargo build",
        tools::cargo()?
            .args(words)
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", flags("--remap-path-prefix"))
            .env("CFLAGS", flags("-ffile-prefix-map"))
            .env("SOURCE_DATE_EPOCH", epoch()?.to_string()),
    )?;
    let program = target.join("release/lodestore");
    check::without_paths(&program, &[&root, &home])?;
    Ok(program)
}

/// Directories of this machine with the names that the program has for them. rustc and gcc take the
/// last one that matches.
fn places(root: &Path, target: &Path, home: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
    let mut places = vec![(home.to_owned(), "/cargo")];
    // One directory for each registry, named by its address.
    let sources = home.join("registry/src");
    if sources.is_dir() {
        for entry in fs::read_dir(sources)? {
            places.push((entry?.path(), "/cargo/registry"));
        }
    }
    places.push((root.to_owned(), "/lodestore"));
    places.push((target.to_owned(), "/target"));
    Ok(places)
}

/// Makes all files of a distribution in `out`.
fn make(release: &Release, program: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    let stage = Stage::new(release, program, &out.join("tree"))?;
    let mut files = vec![stage.archive(out)?, stage.debian(out)?];
    let sbom = out.join(format!("lodestore-{}.cdx.json", release.version));
    fs::copy(stage.sbom(), &sbom)?;
    files.push(sbom);
    stage.remove()?;
    let names = files.iter().filter_map(|path| path.file_name());
    let sums = text_of(Command::new("sha256sum").args(names).current_dir(out))?;
    let path = out.join("SHA256SUMS");
    fs::write(&path, sums + "\n")?;
    files.push(path);
    Ok(files)
}

/// The time that all files get.
fn epoch() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let words = ["log", "-1", "--format=%ct"];
            text_of(Command::new("git").args(words).current_dir(tools::root()?))?
        }
    };
    text.parse()
        .with_context(|| format!("SOURCE_DATE_EPOCH is '{text}'"))
}

/// What a command prints, without the last line end.
pub(super) fn text_of(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("{name} is needed"))?;
    if !output.status.success() {
        bail!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

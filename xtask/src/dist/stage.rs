//! The trees of files that become the archive and the package.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::{Release, sbom, text_of};
use crate::tools;

/// Pages for users that go along, besides those of docs.
const PAGES: [&str; 4] = ["README.md", "CHANGELOG.md", "COMPAT.md", "SECURITY.md"];
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
/// Pages for those who change the code.
const LEFT_OUT: [&str; 3] = ["ARCHITECTURE.md", "STYLE.md", "testing.md"];

/// The descriptions of the package, apart from what is measured.
const CONTROL: &str = "\
Package: lodestore
Section: database
Priority: optional
Maintainer: Lodestore developers <maintainers@lodestore.invalid>
Description: in-memory data store that speaks the Redis protocol
 Lodestore takes the place of Redis and Valkey: clients, tools, configuration
 files, snapshots and append-only files keep working. It uses all cores, and
 writes each change to its log before it is acknowledged.
";

/// Places in the package of files of the common tree, with their modes.
const PLACES: [(&str, &str, u32); 8] = [
    ("lodestore", "usr/bin/lodestore", 0o755),
    (
        "pages/lodestore.conf",
        "etc/lodestore/lodestore.conf",
        0o644,
    ),
    (
        "lodestore.service",
        "usr/lib/systemd/system/lodestore.service",
        0o644,
    ),
    ("pages/lodestore.1", "usr/share/man/man1/lodestore.1", 0o644),
    (
        "pages/lodestore.conf.5",
        "usr/share/man/man5/lodestore.conf.5",
        0o644,
    ),
    (
        "pages/lodestore.bash",
        "usr/share/bash-completion/completions/lodestore",
        0o644,
    ),
    (
        "pages/_lodestore",
        "usr/share/zsh/vendor-completions/_lodestore",
        0o644,
    ),
    (
        "pages/lodestore.fish",
        "usr/share/fish/vendor_completions.d/lodestore.fish",
        0o644,
    ),
];

/// A directory with everything that is handed out, once for both forms.
pub(super) struct Stage<'a> {
    release: &'a Release,
    dir: PathBuf,
}

impl<'a> Stage<'a> {
    /// Gathers the files in `dir`: the stripped program, its own pages, those of the project, and
    /// the list of the libraries in it with their licences.
    pub(super) fn new(release: &'a Release, program: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let stage = Self {
            release,
            dir: dir.to_owned(),
        };
        let stripped = stage.common("lodestore");
        fs::create_dir_all(stage.common("docs"))?;
        // Names of functions stay, for reports of crashes.
        text_of(
            Command::new("strip")
                .args(["--strip-debug", "-o"])
                .arg(&stripped)
                .arg(program),
        )?;
        let pages = stage.common("pages");
        text_of(
            Command::new(&stripped)
                .args(["config", "--write"])
                .arg(&pages),
        )?;
        let root = tools::root()?;
        for name in PAGES.iter().chain(&LICENCES) {
            fs::copy(root.join(name), stage.common(name))?;
        }
        for entry in fs::read_dir(root.join("docs"))? {
            let path = entry?.path();
            let name = path.file_name().context("a file of docs")?;
            if path.is_file() && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                fs::copy(&path, stage.common("docs").join(name))?;
            }
        }
        fs::copy(
            root.join("contrib/systemd/lodestore.service"),
            stage.common("lodestore.service"),
        )?;
        let inside = sbom::read()?;
        fs::write(stage.sbom(), inside.cyclonedx(&release.version)?)?;
        fs::write(stage.common("THIRD-PARTY.txt"), inside.licences()?)?;
        Ok(stage)
    }

    /// The list of libraries.
    pub(super) fn sbom(&self) -> PathBuf {
        self.common("sbom.cdx.json")
    }

    fn common(&self, name: &str) -> PathBuf {
        self.dir.join("common").join(name)
    }

    /// Removes the trees.
    pub(super) fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.dir)?)
    }

    /// Writes the archive into `out`.
    pub(super) fn archive(&self, out: &Path) -> Result<PathBuf> {
        let name = format!(
            "lodestore-{}-linux-{}",
            self.release.version, self.release.architecture
        );
        let tree = self.dir.join("archive").join(&name);
        let mut files = vec![
            ("lodestore", "lodestore", 0o755),
            ("pages/lodestore.conf", "lodestore.conf", 0o644),
            ("lodestore.service", "lodestore.service", 0o644),
            ("pages/lodestore.1", "man/man1/lodestore.1", 0o644),
            ("pages/lodestore.conf.5", "man/man5/lodestore.conf.5", 0o644),
            ("pages/lodestore.bash", "completions/lodestore.bash", 0o644),
            ("pages/_lodestore", "completions/_lodestore", 0o644),
            ("pages/lodestore.fish", "completions/lodestore.fish", 0o644),
            ("THIRD-PARTY.txt", "THIRD-PARTY.txt", 0o644),
            ("sbom.cdx.json", "sbom.cdx.json", 0o644),
            ("docs", "docs", 0o644),
        ];
        files.extend(PAGES.iter().chain(&LICENCES).map(|it| (*it, *it, 0o644)));
        self.fill(&tree, &files)?;
        set_times(&tree, self.time())?;
        let path = out.join(format!("{name}.tar.gz"));
        let tar = path.with_extension("");
        text_of(
            Command::new("tar")
                .args([
                    "--create",
                    "--format=ustar",
                    "--sort=name",
                    "--owner=root:0",
                ])
                .args(["--group=root:0", "--directory"])
                .arg(self.dir.join("archive"))
                .arg("--file")
                .arg(&tar)
                .arg(&name),
        )?;
        text_of(Command::new("gzip").args(["--best", "--no-name"]).arg(&tar))?;
        Ok(path)
    }

    /// Writes the package into `out`.
    pub(super) fn debian(&self, out: &Path) -> Result<PathBuf> {
        let tree = self.dir.join("debian");
        let root = tools::root()?;
        let doc = "usr/share/doc/lodestore";
        let mut files: Vec<(&str, String, u32)> = PLACES
            .map(|(from, to, mode)| (from, to.to_owned(), mode))
            .into();
        let documents = PAGES.iter().chain(&LICENCES);
        for name in documents.chain(&["THIRD-PARTY.txt", "sbom.cdx.json", "docs"]) {
            files.push((name, format!("{doc}/{name}"), 0o644));
        }
        let files: Vec<(&str, &str, u32)> = files
            .iter()
            .map(|(from, to, mode)| (*from, to.as_str(), *mode))
            .collect();
        self.fill(&tree, &files)?;
        place(
            &root.join("contrib/debian/copyright"),
            &tree.join(doc).join("copyright"),
            0o644,
        )?;
        for page in ["man1/lodestore.1", "man5/lodestore.conf.5"] {
            let page = tree.join("usr/share/man").join(page);
            text_of(Command::new("gzip").args(["--best", "--no-name"]).arg(page))?;
        }
        self.control(&tree, &root)?;
        set_times(&tree, self.time())?;
        let path = out.join(format!(
            "lodestore_{}_{}.deb",
            self.release.version, self.release.architecture
        ));
        text_of(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", "--build", "-Zxz"])
                .arg(&tree)
                .arg(&path)
                .env("SOURCE_DATE_EPOCH", self.release.epoch.to_string()),
        )?;
        Ok(path)
    }

    /// What dpkg reads: the description, scripts, configuration files, sums.
    fn control(&self, tree: &Path, root: &Path) -> Result<()> {
        let sums = text_of(
            Command::new("sh")
                .args([
                    "-c",
                    "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum",
                ])
                .current_dir(tree),
        )?;
        let size = text_of(
            Command::new("du")
                .args(["-sk", "--apparent-size"])
                .arg(tree),
        )?;
        let size = size.split_whitespace().next().unwrap_or("0");
        let control = format!(
            "{CONTROL}Version: {}\nArchitecture: {}\nInstalled-Size: {size}\n\
             Depends: adduser, libgcc-s1, libc6 (>= {})\n",
            self.release.version,
            self.release.architecture,
            libc_version(&tree.join("usr/bin/lodestore"))?
        );
        let dir = tree.join("DEBIAN");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("control"), control)?;
        fs::write(dir.join("conffiles"), "/etc/lodestore/lodestore.conf\n")?;
        fs::write(dir.join("md5sums"), sums + "\n")?;
        for script in ["postinst", "prerm", "postrm"] {
            place(
                &root.join("contrib/debian").join(script),
                &dir.join(script),
                0o755,
            )?;
        }
        Ok(())
    }

    /// Copies files, and the files of directories, of the common tree.
    fn fill(&self, tree: &Path, files: &[(&str, &str, u32)]) -> Result<()> {
        for (from, to, mode) in files {
            let (from, to) = (self.common(from), tree.join(to));
            if !from.is_dir() {
                place(&from, &to, *mode)?;
                continue;
            }
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                place(&entry.path(), &to.join(entry.file_name()), *mode)?;
            }
        }
        Ok(())
    }

    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.release.epoch)
    }
}

/// Copies a file, and makes the directories above it, with modes that do not depend on the umask.
fn place(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let dir = to.parent().context("a file has a directory")?;
    fs::create_dir_all(dir)?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Gives everything below `path` the same time, and directories the same mode.
fn set_times(path: &Path, time: SystemTime) -> Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            set_times(&entry?.path(), time)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(File::open(path)?.set_modified(time)?)
}

/// The version of the C library that a program needs.
fn libc_version(program: &Path) -> Result<String> {
    let symbols = text_of(Command::new("objdump").arg("-T").arg(program))?;
    let versions = symbols.split(|c: char| c.is_whitespace() || "()".contains(c));
    let newest = versions
        .filter_map(|word| word.strip_prefix("GLIBC_2."))
        .filter_map(|minor| minor.split('.').next()?.parse::<u32>().ok())
        .max();
    let minor = newest.context("the program is not linked to the C library of GNU")?;
    Ok(format!("2.{minor}"))
}

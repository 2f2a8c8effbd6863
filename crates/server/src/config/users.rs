//! Users in files: `user` lines of the configuration, and `aclfile`.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine::config::{P, UserLine};
use engine::engine::Engine;
use engine::users::{DEFAULT_USER, FileUsers, Rules, RulesError, has_spaces, parse_file};

use persist::storage::errno_text as os_text;

use super::rewrite::replace_file;

/// Largest ACL file, in bytes: some ten thousand users.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Takes over the users of the configuration: `requirepass`, `user` lines, and those of `aclfile`.
///
/// # Errors
/// The reason why the server must not start: with other rights than it was given it would be open.
pub(crate) fn take_over(engine: &Engine) -> Result<(), String> {
    let config = &engine.config;
    let required = config.bytes(P::RequirePass);
    if !required.is_empty() {
        engine.users.set_default_password(&required);
    }
    let has_file = !config.bytes(P::AclFile).is_empty();
    if has_file && !config.users().is_empty() {
        return Err(
            "Users are defined in the configuration file and in an ACL file (aclfile). Such a setup leads to mistakes \
             and security holes: define them in one of the two."
                .to_owned(),
        );
    }
    for (index, line) in config.users().iter().enumerate() {
        let is_known = |other: &UserLine| other.arguments.first() == line.arguments.first();
        let is_duplicate = config.users()[..index].iter().any(is_known);
        take_line(engine, line, is_duplicate)
            .map_err(|reason| line.location.error(reason).to_string())?;
    }
    if has_file {
        let users = read_file(engine).map_err(|errors| {
            let errors = String::from_utf8_lossy(&errors).into_owned();
            format!("Aborting Lodestore startup because of ACL errors: {errors}")
        })?;
        engine.replace_users(users);
    }
    Ok(())
}

fn take_line(engine: &Engine, line: &UserLine, is_duplicate: bool) -> Result<(), String> {
    let Some((name, rules)) = line.arguments.split_first() else {
        return Err("A user needs a name".to_owned());
    };
    let shown = String::from_utf8_lossy(name);
    if is_duplicate {
        return Err(format!(
            "Error in user declaration '{shown}': Duplicate user found. A user can only be defined once in config files"
        ));
    }
    if has_spaces(name) {
        return Err("Spaces not allowed in ACL usernames".to_owned());
    }
    let mut words: Vec<&[u8]> = vec![b"reset"];
    words.extend(rules.iter().map(Vec::as_slice));
    engine.set_user(name, &words).map_err(|error| {
        format!(
            "Error loading the user named '{shown}': {}",
            for_log(&error)
        )
    })?;
    let is_off = engine
        .users
        .get(name)
        .is_some_and(|user| !user.rules().enabled);
    if is_off {
        log::info!(
            "The user '{shown}' is disabled (there is no 'on' modifier in the user description). Make sure this is \
             not a configuration error."
        );
    }
    Ok(())
}

/// The text of an error without passwords.
fn for_log(error: &RulesError) -> String {
    match error {
        RulesError::Rule { rule, error } if rule.starts_with(b"<") || rule.starts_with(b">") => {
            format!("{error}")
        }
        other => String::from_utf8_lossy(&other.text()).into_owned(),
    }
}

/// Reads the users of `aclfile`.
///
/// # Errors
/// The text of Redis.
pub(crate) fn read_file(engine: &Engine) -> Result<FileUsers, Vec<u8>> {
    let name = engine.config.text(P::AclFile);
    let text = read_text(&path(engine)).map_err(|error| {
        let reason = os_text(&error);
        format!("Error loading ACLs, opening file '{name}': {reason}").into_bytes()
    })?;
    parse_file(&text, &name, &engine.commands, engine.acl_defaults())
}

fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(path)?;
    if fs::metadata(path)?.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    Ok(text)
}

/// Writes all users into `aclfile`, in one piece.
///
/// # Errors
/// The reason, for the log. The file is as it was.
pub(crate) fn write_file(engine: &Engine) -> Result<(), String> {
    let _changing = engine.users.lock_changes();
    let mut text = Vec::new();
    for user in engine.users.all() {
        let rules = user.rules().describe();
        text.extend_from_slice(&[b"user ", user.name(), b" ", &rules, b"\n"].concat());
    }
    replace_file(&path(engine), &text).map_err(|error| os_text(&error))
}

/// The path of `aclfile`, relative to `dir`.
fn path(engine: &Engine) -> PathBuf {
    let name = engine.config.bytes(P::AclFile);
    let own = || PathBuf::from(OsStr::from_bytes(&name));
    let path = engine.config.path(P::AclFile).unwrap_or_else(own);
    path.canonicalize().unwrap_or(path)
}

/// The arguments of the `user` lines for CONFIG REWRITE. None when users stand in `aclfile`, and no
/// line for a default user who has what `requirepass` gives.
pub(crate) fn lines(engine: &Engine) -> Vec<Vec<u8>> {
    if !engine.config.bytes(P::AclFile).is_empty() {
        return Vec::new();
    }
    let mut implied = Rules::unrestricted();
    implied.set_only_password(&engine.config.bytes(P::RequirePass));
    let users = engine.users.all().into_iter();
    let told =
        users.filter(|user| user.name() != DEFAULT_USER.as_bytes() || *user.rules() != implied);
    told.map(|user| {
        let line = [user.name(), b" ", &user.rules().describe()].concat();
        let words = line.split(|byte| *byte == b' ').map(quoted);
        words.collect::<Vec<_>>().join(&b' ')
    })
    .collect()
}

/// A word as the reader of configuration files needs it.
fn quoted(word: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    match word.iter().all(is_plain) {
        true => word.to_vec(),
        false => resp::quoted(word).into_bytes(),
    }
}

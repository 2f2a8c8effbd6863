//! Checks of text parameters; each error is the reason clients read.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Accepts a text or says why not. The parameter's name comes along because reasons mention it.
pub type Check = fn(name: &str, text: &[u8]) -> Result<(), String>;

/// The longest `hash-seed`, in bytes.
const HASH_SEED_MAX: usize = 256;
/// The longest text form of an address and the terminating byte C programs need.
const IP_TEXT_MAX: usize = 46;
const HOSTNAME_MAX: usize = 256;

fn refuse_if(bad: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if bad { Err(reason()) } else { Ok(()) }
}

pub(super) fn any(_name: &str, _text: &[u8]) -> Result<(), String> {
    Ok(())
}

pub(super) fn not_empty(name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(text.is_empty(), || format!("{name} can't be empty"))
}

fn has_separator(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'/' | b'\\'))
}

/// A file in the working directory, not a path to somewhere else. A NUL cannot be part of any file
/// name.
pub(super) fn file_name(name: &str, text: &[u8]) -> Result<(), String> {
    not_empty(name, text)?;
    let bad = has_separator(text) || text.contains(&0);
    refuse_if(bad, || format!("{name} can't be a path, just a filename"))
}

pub(super) fn dir_name(name: &str, text: &[u8]) -> Result<(), String> {
    not_empty(name, text)?;
    let bad = has_separator(text) || text.contains(&0) || text == b"." || text == b"..";
    refuse_if(bad, || format!("{name} can't be a path, just a dirname"))
}

pub(super) fn hash_seed(name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(text.len() > HASH_SEED_MAX, || {
        format!("{name} must be less than or equal to {HASH_SEED_MAX} characters")
    })
}

/// Bytes that would break the cluster's nodes.conf.
fn has_reserved_bytes(text: &[u8]) -> bool {
    text.iter()
        .any(|&byte| byte <= b',' || byte == 0x7f || b";<=>?@[]^{|}~\\".contains(&byte))
}

pub(super) fn announced_ip(name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(text.len() >= IP_TEXT_MAX, || format!("{name} is too long"))?;
    refuse_if(has_reserved_bytes(text), || {
        format!("{name} contains invalid character")
    })
}

pub(super) fn node_name(_name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(has_reserved_bytes(text), || {
        "Announced human node name contained invalid character".to_owned()
    })
}

pub(super) fn hostname(_name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(text.len() >= HOSTNAME_MAX, || {
        format!("Hostnames must be less than {HOSTNAME_MAX} characters")
    })?;
    let bad = text
        .iter()
        .any(|&byte| !(byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'));
    refuse_if(bad, || {
        "Hostnames may only contain alphanumeric characters, hyphens or dots".to_owned()
    })
}

/// A version as clients parse it: three numbers with points between them.
pub(super) fn version(_name: &str, text: &[u8]) -> Result<(), String> {
    let is_number =
        |part: &[u8]| matches!(part.len(), 1..=3) && part.iter().all(u8::is_ascii_digit);
    let mut parts = text.split(|byte| *byte == b'.');
    let fits = parts.clone().count() == 3 && parts.all(is_number);
    refuse_if(!fits, || {
        "argument must be a version, three numbers with points between them".to_owned()
    })
}

fn parses_as<T: std::str::FromStr>(text: &[u8]) -> bool {
    text.is_empty() || str::from_utf8(text).is_ok_and(|text| text.parse::<T>().is_ok())
}

pub(super) fn ipv4(_name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(!parses_as::<Ipv4Addr>(text), || {
        "Invalid IPv4 address".to_owned()
    })
}

pub(super) fn ipv6(_name: &str, text: &[u8]) -> Result<(), String> {
    refuse_if(!parses_as::<Ipv6Addr>(text), || {
        "Invalid IPv6 address".to_owned()
    })
}

/// Versions of TLS in any case, with spaces between them. Those before 1.2 are refused: they are
/// not safe, and RFC 8996 forbids them.
pub(super) fn tls_protocols(_name: &str, text: &[u8]) -> Result<(), String> {
    for word in text.split(u8::is_ascii_whitespace) {
        match word.to_ascii_lowercase().as_slice() {
            b"" | b"tlsv1.2" | b"tlsv1.3" => {}
            b"tlsv1" | b"tlsv1.1" => {
                return Err("TLSv1 and TLSv1.1 are not safe and not supported".to_owned());
            }
            _ => {
                return Err(
                    "Invalid tls-protocols specified. Use a combination of 'TLSv1.2' and 'TLSv1.3'."
                        .to_owned(),
                );
            }
        }
    }
    Ok(())
}

/// The variables a process title may name in braces.
const TITLE_VARIABLES: &[&str] = &[
    "title",
    "listen-addr",
    "server-mode",
    "config-file",
    "port",
    "tls-port",
    "unixsocket",
];

/// A process title: text with `{variable}` in it, `{{` for a brace, and something left when all
/// variables are empty.
pub(super) fn title_template(_name: &str, text: &[u8]) -> Result<(), String> {
    let refusal = || "template format is invalid or contains unknown variables".to_owned();
    let mut rest = str::from_utf8(text).map_err(|_| refusal())?;
    let mut fixed = 0;
    while let Some((before, after)) = rest.split_once('{') {
        fixed += before.trim().len();
        if let Some(after) = after.strip_prefix('{') {
            fixed += 1;
            rest = after;
            continue;
        }
        let (variable, after) = after.split_once('}').ok_or_else(refusal)?;
        refuse_if(!TITLE_VARIABLES.contains(&variable), refusal)?;
        fixed += usize::from(variable != "title");
        rest = after;
    }
    refuse_if(fixed + rest.trim().len() == 0, refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_not_paths() {
        assert_eq!(
            file_name("dbfilename", b""),
            Err("dbfilename can't be empty".into())
        );
        assert_eq!(
            file_name("dbfilename", b"a/b"),
            Err("dbfilename can't be a path, just a filename".into())
        );
        assert_eq!(
            dir_name("appenddirname", b".."),
            Err("appenddirname can't be a path, just a dirname".into())
        );
        assert_eq!(file_name("dbfilename", b"dump.rdb"), Ok(()));
    }

    #[test]
    fn title_templates() {
        for good in [
            "{title} {listen-addr} {server-mode}",
            "x",
            "{{",
            "--my--title",
        ] {
            assert_eq!(title_template("", good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["", "{title}", "{nope}", "{title", "{"] {
            assert!(title_template("", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_three_numbers() {
        for good in ["7.2.4", "8.10.0", "0.0.0"] {
            assert_eq!(version("", good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "8",
            "8.4",
            "8.4.0.1",
            "8..0",
            "8.4.x",
            "8.4.0-rc1",
            "8.4.0000",
        ] {
            assert!(version("", bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_host_names() {
        assert!(
            ipv4("", b"1.2.3.4").is_ok() && ipv4("", b"").is_ok() && ipv4("", b"1.2.3").is_err()
        );
        assert!(ipv6("", b"::1").is_ok() && ipv6("", b"1.2.3.4").is_err());
        assert!(hostname("", b"a-b.c").is_ok() && hostname("", b"a b").is_err());
        assert!(node_name("", b"node-1:a").is_ok() && node_name("", b"node,1").is_err());
    }
}

//! A small stand-in for `redis-cli` where none is installed: one command, and its reply as
//! `redis-cli` prints it, for people (`--no-raw`) or for scripts.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use resp::Value;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the options say.
struct Options<'a> {
    host: &'a str,
    port: u16,
    user: Option<&'a str>,
    password: Option<String>,
    database: Option<&'a str>,
    /// Replies are for people.
    is_shown: bool,
    command: &'a [String],
}

/// Runs `redis-cli ARGUMENTS` and prints the reply.
///
/// # Errors
/// An option that the stand-in does not have, or no reply.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options = options(arguments)?;
    let mut stream = TcpStream::connect((options.host, options.port)).with_context(|| {
        format!(
            "Could not connect to Redis at {}:{}",
            options.host, options.port
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if let Some(password) = &options.password {
        let login = ["AUTH", options.user.unwrap_or("default"), password].map(str::to_owned);
        if let Value::Error(reason) = ask(&mut stream, &login)? {
            println!("AUTH failed: {}", String::from_utf8_lossy(&reason));
        }
    }
    if let Some(database) = options.database {
        ask(&mut stream, &["SELECT".to_owned(), database.to_owned()])?;
    }
    let reply = ask(&mut stream, options.command)?;
    let is_text = ["info", "lolwut"].contains(&options.command[0].to_lowercase().as_str());
    let mut text = String::new();
    match options.is_shown && !is_text {
        true => shown(&reply, 0, &mut text),
        false => raw(&reply, &mut text),
    }
    print!("{text}");
    Ok(())
}

fn options(arguments: &[String]) -> Result<Options<'_>> {
    let mut options = Options {
        host: "127.0.0.1",
        port: 6379,
        user: None,
        password: std::env::var("REDISCLI_AUTH").ok(),
        database: None,
        is_shown: false,
        command: &[],
    };
    let mut rest = arguments;
    while let [option, others @ ..] = rest {
        match (option.as_str(), others) {
            ("--no-raw", _) => options.is_shown = true,
            ("--no-auth-warning", _) => {}
            ("-h", [host, ..]) => options.host = host,
            ("-p", [port, ..]) => options.port = port.parse()?,
            ("-a" | "--pass", [password, ..]) => options.password = Some(password.clone()),
            ("--user", [user, ..]) => options.user = Some(user),
            ("-n", [database, ..]) => options.database = Some(database),
            (other, _) if other.starts_with('-') => bail!("no redis-cli here knows {other}"),
            _ => break,
        }
        let is_alone = option.starts_with("--no-");
        rest = if is_alone { others } else { &others[1..] };
    }
    if rest.is_empty() {
        bail!("a redis-cli without a command needs the real one");
    }
    options.command = rest;
    Ok(options)
}

/// Sends a command and waits for the reply.
fn ask(stream: &mut TcpStream, words: &[String]) -> Result<Value> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        // Writing to a string does not fail.
        let _ = write!(request, "${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes())?;
    let mut input = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        if let Some((value, _)) = resp::decode(&input)? {
            return Ok(value);
        }
        let read = stream.read(&mut chunk).context("no reply")?;
        if read == 0 {
            // SHUTDOWN has no reply.
            return Ok(Value::Bulk(Vec::new()));
        }
        input.extend_from_slice(&chunk[..read]);
    }
}

/// As it is written to a pipe.
fn raw(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| raw(item, out)),
        Value::Simple(text) | Value::Error(text) | Value::Bulk(text) => {
            // Some texts bring their line end.
            let text = String::from_utf8_lossy(text);
            out.push_str(text.trim_end_matches('\n'));
            out.push('\n');
        }
        Value::Integer(number) => {
            let _ = writeln!(out, "{number}");
        }
        _ => out.push('\n'),
    }
}

/// As it is written to a terminal; items of arrays inside of others stand `indent` columns to the
/// right.
fn shown(value: &Value, indent: usize, out: &mut String) {
    let _ = match value {
        Value::Simple(text) => writeln!(out, "{}", String::from_utf8_lossy(text)),
        Value::Error(text) => writeln!(out, "(error) {}", String::from_utf8_lossy(text)),
        Value::Bulk(text) => {
            let text = String::from_utf8_lossy(text);
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            writeln!(out, "\"{}\"", text.replace('\n', "\\n"))
        }
        Value::Integer(number) => writeln!(out, "(integer) {number}"),
        Value::Array(items) if items.is_empty() => writeln!(out, "(empty array)"),
        Value::Array(items) => {
            items_shown(items, indent, out);
            Ok(())
        }
        Value::Verbatim(_, text) => writeln!(out, "{}", String::from_utf8_lossy(text)),
        _ => writeln!(out, "(nil)"),
    };
}

/// The items of an array with their numbers, which are as wide as the last one.
fn items_shown(items: &[Value], indent: usize, out: &mut String) {
    let width = items.len().to_string().len();
    for (index, item) in items.iter().enumerate() {
        let columns = if index == 0 { 0 } else { indent };
        let _ = write!(out, "{:columns$}{:>width$}) ", "", index + 1);
        shown(item, indent + width + 2, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(print: impl Fn(&Value, &mut String), value: &Value) -> String {
        let mut out = String::new();
        print(value, &mut out);
        out
    }

    #[test]
    fn replies_look_as_those_of_redis_cli() {
        let bulk = |text: &str| Value::Bulk(text.into());
        let value = Value::Array(vec![
            bulk("a\"b"),
            Value::Array(vec![Value::Integer(1), bulk("c")]),
            Value::Array(vec![]),
        ]);
        let shown = |value: &Value, out: &mut String| super::shown(value, 0, out);
        assert_eq!(
            text(shown, &value),
            "1) \"a\\\"b\"\n2) 1) (integer) 1\n   2) \"c\"\n3) (empty array)\n"
        );
        assert_eq!(text(raw, &value), "a\"b\n1\nc\n");
        assert_eq!(
            text(shown, &Value::Error("ERR x".into())),
            "(error) ERR x\n"
        );
        assert_eq!(text(shown, &Value::Simple("OK".into())), "OK\n");
    }

    #[test]
    fn options_come_before_the_command() {
        let words = ["--no-raw", "-p", "7", "--user", "u", "-a", "p", "GET", "-p"];
        let words = words.map(str::to_owned);
        let options = options(&words).unwrap();
        assert_eq!((options.port, options.user), (7, Some("u")));
        assert_eq!(options.command, ["GET", "-p"]);
        assert!(super::options(&["--bigkeys".to_owned()]).is_err());
    }
}

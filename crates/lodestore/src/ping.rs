//! `lodestore ping`: asks a server whether it serves, for health checks of containers.
//!
//! The image then needs no other program for that, and no shell. The exit code is the answer:
//! container runtimes take 0 for healthy and anything else for unhealthy; the two other codes tell
//! people a server that is loading from one that is gone.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use resp::{Value, decode, request};
use server::ClientFiles;

const USAGE: &str = "\
Usage: lodestore ping [--host HOST] [--port PORT] [--socket PATH] [--timeout SECONDS]
                      [--user USER] [--pass PASSWORD]
                      [--tls --cacert FILE [--cert FILE --key FILE]]

Sends PING. The password may also stand in the environment variable REDISCLI_AUTH, the port in LODESTORE_PORT.

Exit codes: 0 the server serves; 1 it answers with an error, as while it loads data; 2 it does not answer, or the
options are wrong.
";

/// Exit code: the server answers, but it does not serve.
const REFUSED: u8 = 1;
/// Exit code: there is no answer.
const SILENT: u8 = 2;

/// Longest reply that is read: errors are lines.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// What to ask, and how.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// Name or address of the server.
    host: String,
    port: u16,
    /// A Unix socket instead of the host and the port.
    socket: Option<PathBuf>,
    /// For connecting, and for each read and write.
    timeout: Duration,
    /// `None`: the default user.
    user: Option<String>,
    /// `None`: PING is sent without AUTH.
    password: Option<String>,
    tls: bool,
    /// The certificates that the server's one must come from; there with `tls`.
    authorities: Option<PathBuf>,
    /// What is shown to a server that asks for a certificate; `key` belongs to it.
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Options {
    /// The defaults, with what the environment says. In a container the server has its port from
    /// there as well.
    fn new(environment: impl Fn(&str) -> Option<String>) -> Self {
        let port = environment("LODESTORE_PORT").and_then(|port| port.parse().ok());
        Self {
            host: "127.0.0.1".to_owned(),
            port: port.unwrap_or(6379),
            socket: None,
            timeout: Duration::from_secs(3),
            user: None,
            password: environment("REDISCLI_AUTH").filter(|password| !password.is_empty()),
            tls: false,
            authorities: None,
            certificate: None,
            key: None,
        }
    }

    /// Reads the arguments; an error is what is wrong with them.
    fn read(mut self, arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter();
        while let Some(name) = rest.next() {
            if name == "--tls" {
                self.tls = true;
                continue;
            }
            let value = rest
                .next()
                .ok_or_else(|| format!("{name}: there is no value, or no such option"));
            let value = value?.clone();
            let wrong = || format!("{name}: '{value}' is no number");
            match name.as_str() {
                "--host" | "-h" => self.host = value,
                "--port" | "-p" => self.port = value.parse().map_err(|_| wrong())?,
                "--socket" | "-s" => self.socket = Some(value.into()),
                "--timeout" | "-t" => {
                    let seconds = value.parse::<u32>().map_err(|_| wrong())?;
                    self.timeout = Duration::from_secs(u64::from(seconds.max(1)));
                }
                "--user" => self.user = Some(value),
                "--pass" | "-a" => self.password = Some(value),
                "--cacert" => self.authorities = Some(value.into()),
                "--cert" => self.certificate = Some(value.into()),
                "--key" => self.key = Some(value.into()),
                _ => return Err(format!("{name}: there is no such option")),
            }
        }
        if self.tls && self.authorities.is_none() {
            return Err("--tls needs --cacert".to_owned());
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err("--cert and --key go together".to_owned());
        }
        Ok(self)
    }
}

/// Runs the check that the arguments behind `ping` describe.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::new(|name| std::env::var(name).ok()).read(arguments) {
        Ok(options) => options,
        Err(reason) => {
            eprint!("{reason}\n{USAGE}");
            return ExitCode::from(SILENT);
        }
    };
    match ask(&options) {
        Ok(Value::Error(line)) => {
            eprintln!("{}", String::from_utf8_lossy(&line));
            ExitCode::from(REFUSED)
        }
        Ok(_) => {
            println!("PONG");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", persist::storage::errno_text(&error));
            ExitCode::from(SILENT)
        }
    }
}

/// A connection of any kind.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The reply to PING, or the error that came before it.
fn ask(options: &Options) -> io::Result<Value> {
    let mut stream = connect(options)?;
    let mut input = Vec::new();
    if let Some(password) = &options.password {
        let user = options.user.iter().map(String::as_bytes);
        let words: Vec<&[u8]> = [b"AUTH".as_slice()]
            .into_iter()
            .chain(user)
            .chain([password.as_bytes()])
            .collect();
        let reply = call(&mut *stream, &mut input, &words)?;
        if reply.is_error() {
            return Ok(reply);
        }
    }
    call(&mut *stream, &mut input, &[b"PING"])
}

/// Connects as the options say, with the handshake of TLS.
fn connect(options: &Options) -> io::Result<Box<dyn Stream>> {
    let limit = Some(options.timeout);
    if let Some(path) = &options.socket {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        return Ok(Box::new(stream));
    }
    let stream = connect_tcp(options)?;
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let Some(authorities) = options.authorities.as_deref().filter(|_| options.tls) else {
        return Ok(Box::new(stream));
    };
    let (certificate, key) = (options.certificate.as_deref(), options.key.as_deref());
    let files = ClientFiles {
        authorities,
        identity: certificate.zip(key),
    };
    let stream = server::connect_tool(stream, &options.host, files)?;
    Ok(Box::new(stream))
}

/// Tries the addresses of the host one after the other.
fn connect_tcp(options: &Options) -> io::Result<TcpStream> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in (options.host.as_str(), options.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&addr, options.timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Sends a request and reads its reply. `input` has what came behind the reply before.
fn call(stream: &mut dyn Stream, input: &mut Vec<u8>, words: &[&[u8]]) -> io::Result<Value> {
    let mut bytes = Vec::new();
    request::encode(&mut bytes, words);
    stream.write_all(&bytes)?;
    stream.flush()?;
    let mut chunk = [0; 1024];
    loop {
        let decoded = decode(input).map_err(|_| io::Error::other("that is no Redis server"))?;
        if let Some((value, used)) = decoded {
            input.drain(..used);
            return Ok(value);
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 || input.len() > REPLY_BYTES_MAX {
            return Err(io::Error::other("the server closed the connection"));
        }
        input.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let arguments: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Options::new(|_| None).read(&arguments)
    }

    #[test]
    fn options_are_read() {
        let options = read(&["--port", "7", "-h", "db", "--user", "u", "--pass", "p"]).unwrap();
        assert_eq!((options.port, options.host.as_str()), (7, "db"));
        assert_eq!(options.user.as_deref(), Some("u"));
        assert_eq!(options.password.as_deref(), Some("p"));
        for wrong in [
            &["--port"][..],
            &["--port", "x"],
            &["--nosuch", "1"],
            &["--tls"],
            &["--cert", "a"],
            &["--timeout", "-1"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_environment_has_the_port_and_the_password() {
        let options = Options::new(|name| match name {
            "LODESTORE_PORT" => Some("7".to_owned()),
            "REDISCLI_AUTH" => Some("secret".to_owned()),
            _ => None,
        });
        assert_eq!(
            (options.port, options.password.as_deref()),
            (7, Some("secret"))
        );
    }
}

//! The server under test in external mode.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long the server may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);

/// Settings that the suite expects of an external server, where they are not the defaults.
const SETTINGS: &str = "bind 127.0.0.1
databases 16
save \"\"
appendonly no
enable-debug-command yes
enable-protected-configs yes
";

/// A running server. Dropping it kills the process and removes its directory.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    dir: PathBuf,
}

impl Server {
    /// Starts `program` in a directory of its own below `scratch` and waits until it answers.
    pub(crate) fn start(
        program: &Path,
        scratch: &Path,
        port: Option<u16>,
        settings: &[String],
    ) -> Result<Server> {
        let dir = scratch.join("external");
        fs::create_dir_all(&dir)?;
        let port = match port {
            Some(port) => port,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port(),
        };
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            bail!("something else listens on port {port}");
        }
        let config = dir.join("test.conf");
        fs::write(
            &config,
            format!("port {port}\n{SETTINGS}{}\n", settings.join("\n")),
        )?;
        let log = File::create(dir.join("log"))?;
        let child = Command::new(program)
            .arg(&config)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut server = Server { child, port, dir };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while let Err(error) = ping(self.port) {
            let exit = self.child.try_wait()?;
            if exit.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                bail!("{error:#}\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing can be done about an error here: the process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ping(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    if answer != *b"+PONG" {
        bail!(
            "unexpected answer to PING: {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

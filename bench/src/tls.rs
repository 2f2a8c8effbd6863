//! The cost of encrypted connections. The load is that of valkey-benchmark, which stands beside the
//! peer: the clients of this program speak plain TCP only.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables};
use crate::scenario::Field;
use crate::sys;

struct Row {
    id: &'static str,
    what: &'static str,
    /// Words for valkey-benchmark.
    words: &'static [&'static str],
    requests: u64,
}

const ROWS: [Row; 4] = [
    Row {
        id: "tls-get",
        what: "CPU µs per GET over TLS, 50 clients",
        words: &["-t", "get", "-d", "64", "-r", "1000000"],
        requests: 100_000,
    },
    Row {
        id: "tls-get-p16",
        what: "CPU µs per GET over TLS, 50 clients, pipeline 16",
        words: &["-t", "get", "-d", "64", "-r", "1000000", "-P", "16"],
        requests: 1_000_000,
    },
    Row {
        id: "tls-set-100k",
        what: "CPU µs per SET of 100,000 bytes over TLS, 50 clients",
        words: &["-t", "set", "-d", "100000", "-r", "1000"],
        requests: 10_000,
    },
    Row {
        id: "tls-handshake",
        what: "CPU µs per full handshake and PING",
        words: &["-t", "ping_mbulk", "-k", "0"],
        requests: 3_000,
    },
];

/// The ids of the rows, for listing.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.id)
}

/// A server, the directory of its certificates, and its samples.
type Rival = (String, Server, Vec<f64>);

/// Measures the selected rows.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| plan.selects(row.id, false))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let client = field
        .peers
        .iter()
        .map(|peer| peer.path.with_file_name("valkey-benchmark"))
        .find(|path| path.is_file())
        .context("no valkey-benchmark beside a peer")?;
    let cpus = plan.cpus.arrange(true)?;
    for row in rows {
        let mut rivals: Vec<Rival> = Vec::new();
        for entrant in field.entrants(Setup::PLAIN) {
            let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
            listen(&server)?;
            rivals.push((entrant.label, server, Vec::new()));
        }
        for round in 0..plan.rounds {
            for (label, server, samples) in &mut rivals {
                eprintln!("{label}, {}, round {round}", row.id);
                samples.push(measure(&client, server, row, &plan.cpus.client)?);
            }
        }
        let samples: Vec<_> = rivals
            .into_iter()
            .map(|(label, _, samples)| (label, samples))
            .collect();
        tables.compare(Section::Tls, row.what, &samples);
    }
    Ok(())
}

/// Makes a certificate in the server's directory and opens its port for TLS, the plain one plus
/// one.
fn listen(server: &Server) -> Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let files: [(&str, String); 2] = [
        ("cert.pem", made.cert.pem()),
        ("key.pem", made.signing_key.serialize_pem()),
    ];
    for (name, text) in files {
        std::fs::write(server.dir.join(name), text)?;
    }
    let path = |name: &str| server.dir.join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let port = tls_port(server).to_string();
    crate::blocking::Client::connect(server.address)?.line(&format!(
        "CONFIG SET tls-cert-file {cert} tls-key-file {key} tls-ca-cert-file {cert} tls-auth-clients no \
         tls-protocols TLSv1.3 tls-port {port}"
    ))
}

fn tls_port(server: &Server) -> u16 {
    server.address.port() ^ 1
}

/// CPU time of the server per request in microseconds.
fn measure(client: &Path, server: &Server, row: &Row, cpus: &[usize]) -> Result<f64> {
    let before = server.cpu_ns()?;
    let mut command = Command::new(client);
    command
        .args(["--tls", "--insecure", "-q", "-c", "50", "-p"])
        .arg(tls_port(server).to_string())
        .args(["-n", &row.requests.to_string()])
        .args(row.words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    sys::confine_child(&mut command, cpus);
    let output = command.output().context("running valkey-benchmark")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valkey-benchmark: {complaint}");
    Ok((server.cpu_ns()? - before) as f64 / 1e3 / row.requests as f64)
}

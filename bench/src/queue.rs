//! The cost of delivering entries of a stream to a consumer of a group and of its acknowledgements.

use anyhow::Result;

use crate::blocking::Client;
use crate::measure::Plan;
use crate::process::{Server, Setup};
use crate::report::{Section, Tables, median, number, spread};
use crate::scenario::Field;
use crate::workload::push_request;

/// The id of the row, for listing.
pub(crate) const ID: &str = "queue";

/// Entries of the stream.
const ENTRIES: u64 = 200_000;
/// Entries that are delivered together.
const DELIVERED: u64 = 10;

/// Measures every server: in each round a new group reads and acknowledges the whole stream.
pub(crate) fn run(field: &Field, plan: &Plan, tables: &mut Tables) -> Result<()> {
    if !plan.selects(ID, true) {
        return Ok(());
    }
    let cpus = plan.cpus.arrange(true)?;
    let mut rivals = Vec::new();
    for entrant in field.entrants(Setup::PLAIN) {
        let server = Server::start(&entrant.program, &entrant.setup, cpus, &plan.scratch)?;
        let mut client = Client::connect(server.address)?;
        client.fill(ENTRIES, |index, bytes| {
            let fields: [&[u8]; 4] = [b"job", b"resize", b"file", b"/var/data/picture.png"];
            let id = entry_id(index);
            let mut words: Vec<&[u8]> = vec![b"XADD", b"queue", id.as_bytes()];
            words.extend(fields);
            push_request(bytes, &words);
        })?;
        rivals.push((entrant.label, server, client, Vec::new()));
    }
    for round in 0..plan.rounds {
        for (label, server, client, samples) in &mut rivals {
            eprintln!("{label} delivers a queue, round {round}");
            samples.push(consume(server, client, round)?);
        }
    }
    let Some(((_, _, _, own), others)) = rivals.split_first() else {
        return Ok(());
    };
    for (label, _, _, theirs) in others {
        let ratios = own.iter().zip(theirs).map(|(a, b)| a / b);
        let cells = [
            label.clone(),
            number(median(own.iter().copied())),
            number(median(theirs.iter().copied())),
            spread(ratios),
        ];
        tables.add(Section::Queue, cells.to_vec());
    }
    Ok(())
}

/// Reads the stream with a new group; the server's CPU time per entry in microseconds.
fn consume(server: &Server, client: &mut Client, round: usize) -> Result<f64> {
    let group = format!("group{round}");
    client.command(&[b"XGROUP", b"CREATE", b"queue", group.as_bytes(), b"0"])?;
    let count = DELIVERED.to_string();
    let before = server.cpu_ns()?;
    // Requests for a batch of entries and their acknowledgement take turns.
    client.fill(2 * ENTRIES / DELIVERED, |index, bytes| {
        let first = index / 2 * DELIVERED;
        if index.is_multiple_of(2) {
            let read: [&[u8]; 9] = [
                b"XREADGROUP",
                b"GROUP",
                group.as_bytes(),
                b"worker",
                b"COUNT",
                count.as_bytes(),
                b"STREAMS",
                b"queue",
                b">",
            ];
            return push_request(bytes, &read);
        }
        let ids: Vec<String> = (first..first + DELIVERED).map(entry_id).collect();
        let mut words: Vec<&[u8]> = vec![b"XACK", b"queue", group.as_bytes()];
        words.extend(ids.iter().map(|id| id.as_bytes()));
        push_request(bytes, &words);
    })?;
    Ok((server.cpu_ns()? - before) as f64 / 1e3 / ENTRIES as f64)
}

fn entry_id(index: u64) -> String {
    format!("1{index:012}-0")
}

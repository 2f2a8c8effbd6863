//! Publishing without subscribers, keyspace notifications, and reads that are tracked.

use super::{Entrant, Field, MILLION, Row, Scenario, row};
use crate::process::Setup;
use crate::report::Section;
use crate::workload::{Operation, Workload};

pub(super) fn all(field: &Field) -> Vec<Scenario> {
    vec![publish(field), notifications(field), tracking(field)]
}

fn publish(field: &Field) -> Scenario {
    let rows = [1, 16].map(|pipeline| Row {
        section: Section::Events,
        id: format!("{}-publish-p{pipeline}", Section::Events.name()),
        title: super::titled("PUBLISH without subscribers", pipeline),
        workload: Workload {
            operation: Operation::Command("PUBLISH channel:# $"),
            connections: 50,
            pipeline,
            keys: 1_000,
            value_len: 64,
            first: &[],
        },
        quick: true,
    });
    scenario(field.entrants(Setup::PLAIN), 0, rows.into())
}

/// The last rival shows the price of the notifications.
fn notifications(field: &Field) -> Scenario {
    let mut entrants = field.entrants(Setup {
        options: &["--notify-keyspace-events", "KEA"],
        ..Setup::PLAIN
    });
    entrants.push(field.subject_as("notifications off", Setup::PLAIN));
    let row = row(Section::Events, Operation::Set, 50, 16);
    let rows = vec![Row {
        id: format!("{}-notify", Section::Events.name()),
        title: format!("{}, KEA and no subscriber", row.title),
        ..row
    }];
    scenario(entrants, MILLION, rows)
}

/// Each connection reads with CLIENT TRACKING on. No key changes meanwhile.
fn tracking(field: &Field) -> Scenario {
    let rows = [1, 16].map(|pipeline| {
        let row = row(Section::Events, Operation::Get, 50, pipeline);
        Row {
            id: format!("{}-tracked-p{pipeline}", Section::Events.name()),
            title: format!("{}, tracked", row.title),
            workload: Workload {
                // Below tracking-table-max-keys: nothing is evicted from the table.
                keys: 100_000,
                first: &["HELLO 3", "CLIENT TRACKING ON"],
                ..row.workload
            },
            ..row
        }
    });
    scenario(field.entrants(Setup::PLAIN), 100_000, rows.into())
}

fn scenario(entrants: Vec<Entrant>, keys: u64, rows: Vec<Row>) -> Scenario {
    Scenario {
        entrants,
        keys,
        value_len: 64,
        prepare: &[],
        fill: &[],
        pinned: true,
        rows,
    }
}

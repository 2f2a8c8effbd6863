//! Reads of users with few and with many rules.

use super::{Field, MILLION, Row, Scenario, row};
use crate::process::Setup;
use crate::report::Section;
use crate::workload::{Operation, Workload};

/// One key pattern; and 20 patterns and 3 selectors of which the last pattern fits.
const USERS: &[&str] = &[
    "ACL SETUSER one on >secret ~key:* +get +set",
    "ACL SETUSER many on >secret ~a:* ~b:* ~c:* ~d:* ~e:* ~f:* ~g:* ~h:* ~i:* ~j:* ~l:* ~m:* ~n:* ~o:* ~p:* ~q:* ~r:* ~s:* ~t:* ~key:* +get +set (~u:*␣+get) (~v:*␣+get) (~w:*␣+get)",
];

pub(super) fn all(field: &Field) -> Scenario {
    let users: [(&str, &str, &'static [&'static str]); 3] = [
        ("default", "the default user", &[]),
        ("one", "a user with one pattern", &["AUTH one secret"]),
        (
            "many",
            "a user with 20 patterns and 3 selectors",
            &["AUTH many secret"],
        ),
    ];
    let rows = users.map(|(id, title, first)| {
        let row = row(Section::Users, Operation::Get, 50, 16);
        Row {
            id: format!("{}-{id}", Section::Users.name()),
            title: format!("{}, {title}", row.title),
            workload: Workload {
                first,
                ..row.workload
            },
            ..row
        }
    });
    Scenario {
        entrants: field.entrants(Setup::PLAIN),
        keys: MILLION,
        value_len: 64,
        prepare: USERS,
        fill: &[],
        pinned: true,
        rows: rows.into(),
    }
}

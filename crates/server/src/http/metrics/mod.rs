//! `/metrics`: what redis_exporter shows of a server, under the same names, and figures that only
//! this server has, under `lodestore_`.

mod commands;
mod exposition;
mod own;
mod server_wide;
mod table;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use exposition::{Kind, Page};
use table::{FIELDS, Form};

use crate::observe::info::{self, KeyspaceTotals};
use crate::server::Server;

/// How long a page waits for shards that others have locked. Beyond it the page has the sums of
/// the page before.
const PATIENCE: Duration = Duration::from_millis(500);

/// About the size of a page, in bytes.
const PAGE_BYTES: usize = 64 * 1024;

/// The fields of INFO by their names.
type Fields<'a> = HashMap<&'a str, &'a str>;

/// What pages remember from one to the next.
#[derive(Default)]
pub(super) struct Metrics {
    /// The sums over the shards when they were last added up.
    keyspace: Mutex<KeyspaceTotals>,
}

impl Metrics {
    /// The page of metrics.
    pub(super) fn render(&self, server: &Server) -> String {
        let (keyspace, is_fresh) = self.keyspace(server);
        let text = info::figures(server, &keyspace);
        let fields: Fields<'_> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let mut page = Page::with_capacity(PAGE_BYTES);
        page.single("redis_up", Kind::Gauge, "The server answers.", 1);
        figures(&fields, &mut page);
        server_wide::write(server, &fields, &keyspace, &mut page);
        commands::write(server, &mut page);
        own::write(server, is_fresh, &mut page);
        page.into_text()
    }

    /// The sums over the shards, and whether they are those of now.
    fn keyspace(&self, server: &Server) -> (KeyspaceTotals, bool) {
        let began = Instant::now();
        let now = KeyspaceTotals::gather_apart(&server.engine, || began.elapsed() < PATIENCE);
        let mut last = self.keyspace.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = now.is_some();
        if let Some(now) = now {
            *last = now;
        }
        (last.clone(), is_fresh)
    }
}

/// Metrics of fields that are single figures.
fn figures(fields: &Fields<'_>, page: &mut Page) {
    for row in FIELDS {
        let Some(value) = fields.get(row.field).and_then(|text| number(text)) else {
            continue;
        };
        let name = format!("redis_{}", row.name);
        match row.form {
            Form::Gauge => page.single(&name, Kind::Gauge, row.help, value),
            Form::Counter => page.single(&name, Kind::Counter, row.help, value),
            Form::Micros => page.single(&name, Kind::Gauge, row.help, value / 1e6),
        }
    }
}

/// The value of a field of INFO.
fn number(text: &str) -> Option<f64> {
    match text {
        "ok" => Some(1.0),
        "err" => Some(0.0),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_there_once() {
        let names: HashSet<_> = FIELDS.iter().map(|row| row.name).collect();
        let fields: HashSet<_> = FIELDS.iter().map(|row| row.field).collect();
        assert_eq!((names.len(), fields.len()), (FIELDS.len(), FIELDS.len()));
        for name in names {
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
        }
    }

    #[test]
    fn fields_are_numbers_or_states() {
        assert_eq!(number("ok"), Some(1.0));
        assert_eq!(number("err"), Some(0.0));
        assert_eq!(number("-1"), Some(-1.0));
        assert_eq!(number("12.50"), Some(12.5));
        assert_eq!(number("none"), None);
        assert_eq!(number("50.00%"), None);
    }
}

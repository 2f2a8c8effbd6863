//! Errors of commands as values of Lua, and what they say.

use mlua::{Lua, Table, Value};

/// The table of an error that a script sees, from its line with or without `-` and a code.
pub(crate) fn error_table(lua: &Lua, line: &[u8]) -> mlua::Result<Table> {
    fn trimmed(text: &[u8]) -> &[u8] {
        let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let start = text
            .iter()
            .position(|byte| !is_break(byte))
            .unwrap_or(text.len());
        let end = text
            .iter()
            .rposition(|byte| !is_break(byte))
            .map_or(start, |at| at + 1);
        &text[start..end]
    }
    // Errors are C strings, which end at a NUL.
    let line = &line[..memchr::memchr(0, line).unwrap_or(line.len())];
    let message = match line.strip_prefix(b"-") {
        Some(line) => match line.iter().position(|byte| *byte == b' ') {
            Some(space) => [&line[..space], b" ", trimmed(&line[space + 1..])].concat(),
            None => [b"ERR ", line].concat(),
        },
        None => [b"ERR ", trimmed(line)].concat(),
    };
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(message)?)?;
    Ok(table)
}

/// What an error table says.
pub(crate) struct ErrorInformation {
    pub(crate) message: Vec<u8>,
    /// The source and the line of the place that failed.
    pub(crate) place: Option<(Vec<u8>, Vec<u8>)>,
    /// Whether statistics count the error.
    pub(crate) counts: bool,
}

/// Reads an error table.
pub(crate) fn error_information(lua: &Lua, table: &Table) -> mlua::Result<ErrorInformation> {
    let text = |name: &str| -> mlua::Result<Option<Vec<u8>>> {
        let value: Value = table.raw_get(name)?;
        let text = match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) => lua.coerce_string(value)?,
            _ => None,
        };
        Ok(text.map(|text| text.as_bytes().to_vec()))
    };
    let ignored: Value = table.raw_get("ignore_error_stats_update")?;
    Ok(ErrorInformation {
        message: text("err")?.unwrap_or_else(|| b"ERR unknown error".to_vec()),
        place: text("source")?.zip(text("line")?),
        counts: ignored != Value::Boolean(true),
    })
}

//! The commands of a request, and which of them the console refuses.

use engine::command::Flags;
use engine::engine::Engine;
use engine::table::Resolved;
use resp::OwnedArgs;
use serde_json::Value;

/// Commands of one request: a page of elements with their deadlines needs the most.
const COMMANDS_MAX: usize = 256;

/// Administrative commands that only show something.
const SHOWING: [&str; 12] = [
    "acl|list",
    "client|info",
    "client|list",
    "commandlog|get",
    "config|get",
    "hotkeys|get",
    "latency|graph",
    "latency|history",
    "latency|latest",
    "memory|bigkeys",
    "slowlog|get",
    "slowlog|len",
];

/// Commands that change what a connection is, so that replies would not come one for one.
const NEVER: [&str; 14] = [
    "auth",
    "client|reply",
    "client|tracking",
    "hello",
    "monitor",
    "psubscribe",
    "psync",
    "quit",
    "replconf",
    "reset",
    "ssubscribe",
    "subscribe",
    "sync",
    "shutdown",
];

/// What a request asks for.
pub(super) struct Asked {
    /// The database.
    pub(super) db: u64,
    /// Commands that change something are allowed, where the user may run them.
    pub(super) writes: bool,
    /// Each with its arguments.
    pub(super) commands: Vec<Vec<Vec<u8>>>,
}

/// Reads the JSON of a request: `{"db": 0, "write": false, "commands": [["GET", "key"]]}`. An
/// argument is a string, or `{"hex": "00ff"}` where its bytes are no text.
///
/// # Errors
/// What is wrong, for the answer.
pub(super) fn parse(body: &[u8]) -> Result<Asked, &'static str> {
    let json: Value = serde_json::from_slice(body).map_err(|_| "The request is no JSON")?;
    let db = match json.get("db") {
        None => 0,
        Some(db) => db.as_u64().ok_or("db has to be a number")?,
    };
    let writes = json.get("write").and_then(Value::as_bool).unwrap_or(false);
    let listed = json.get("commands").and_then(Value::as_array);
    let listed = listed.ok_or("commands has to be a list")?;
    if listed.len() > COMMANDS_MAX {
        return Err("There are too many commands");
    }
    let commands = listed.iter().map(command).collect::<Result<_, _>>()?;
    Ok(Asked {
        db,
        writes,
        commands,
    })
}

fn command(listed: &Value) -> Result<Vec<Vec<u8>>, &'static str> {
    let args = listed.as_array().filter(|args| !args.is_empty());
    let args = args.ok_or("A command has to be a list of arguments")?;
    args.iter().map(argument).collect()
}

fn argument(arg: &Value) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "An argument has to be a string, or an object with hex";
    if let Some(text) = arg.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let hex = arg.get("hex").and_then(Value::as_str).ok_or(WRONG)?;
    if hex.len() % 2 != 0 || !hex.is_ascii() {
        return Err(WRONG);
    }
    let digits = hex.as_bytes().chunks_exact(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| WRONG)?;
            u8::from_str_radix(pair, 16).map_err(|_| WRONG)
        })
        .collect()
}

/// Why the console does not send a command; `None` for one that it sends. Commands that there are
/// not are sent: their errors say so.
pub(super) fn refusal(engine: &Engine, asked: &Asked, command: &[Vec<u8>]) -> Option<String> {
    let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    let args = OwnedArgs::from_slices(&words);
    let Resolved::Command(command) = engine.commands.resolve(args.as_args()) else {
        return None;
    };
    let (name, flags) = (command.full_name, command.spec.flags);
    if NEVER.contains(&name) {
        return Some(format!("The console does not run '{name}'"));
    }
    let changes = flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE);
    let administers = flags.has(Flags::ADMIN) && !SHOWING.contains(&name);
    if !asked.writes && (changes || administers) {
        return Some(format!(
            "'{name}' may change something: allow changes in the console first"
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let asked = parse(
            br#"{"db":3,"write":true,"commands":[["GET","a\u0000b"],["SET",{"hex":"00fF"},""]]}"#,
        )
        .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((asked.db, asked.writes), (3, true));
        assert_eq!(
            asked.commands,
            [
                vec![b"GET".to_vec(), b"a\0b".to_vec()],
                vec![b"SET".to_vec(), vec![0, 255], Vec::new()]
            ]
        );
        let plain = parse(br#"{"commands":[]}"#).unwrap_or_else(|error| panic!("{error}"));
        assert!(!plain.writes && plain.commands.is_empty());
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"commands":[[]]}"#,
            r#"{"commands":["GET"]}"#,
            r#"{"commands":[[1]]}"#,
            r#"{"commands":[[{"hex":"0"}]]}"#,
            r#"{"commands":[[{"hex":"zz"}]]}"#,
            r#"{"commands":[[{"hex":"ää"}]]}"#,
            r#"{"db":-1,"commands":[]}"#,
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let many = format!(
            "{{\"commands\":[{}[\"PING\"]]}}",
            "[\"PING\"],".repeat(COMMANDS_MAX)
        );
        assert!(parse(many.as_bytes()).is_err());
    }
}

//! CLIENT: settings of the connection itself, and operations on other connections.

mod filter;
mod kill;
mod list;
mod settings;
mod tracking;
mod waiting;

use crate::command::{Flags, Group};
use crate::context::Context;
use crate::execute::{CommandResult, CommandSpec, Outcome};

pub use settings::{NAME_REFUSED, is_valid_name, set_name};

use kill::CLIENT_KILL;
use list::{CLIENT_INFO, CLIENT_LIST};
use settings::{
    CLIENT_CAPA, CLIENT_GETNAME, CLIENT_ID, CLIENT_IMPORT_SOURCE, CLIENT_NO_EVICT, CLIENT_NO_TOUCH,
    CLIENT_REPLY, CLIENT_SETINFO, CLIENT_SETNAME,
};
use tracking::{CLIENT_CACHING, CLIENT_GETREDIR, CLIENT_TRACKING, CLIENT_TRACKINGINFO};
use waiting::{CLIENT_PAUSE, CLIENT_UNBLOCK, CLIENT_UNPAUSE};

pub(crate) const CLIENT: CommandSpec = CommandSpec::container("client", -2)
    .group(Group::Connection)
    .since("2.4.0")
    .summary("A container for commands about connections.")
    .complexity("Depends on the subcommand")
    .subcommands(&[
        &CLIENT_CACHING,
        &CLIENT_CAPA,
        &CLIENT_GETNAME,
        &CLIENT_GETREDIR,
        &CLIENT_HELP,
        &CLIENT_ID,
        &CLIENT_IMPORT_SOURCE,
        &CLIENT_INFO,
        &CLIENT_KILL,
        &CLIENT_LIST,
        &CLIENT_NO_EVICT,
        &CLIENT_NO_TOUCH,
        &CLIENT_PAUSE,
        &CLIENT_REPLY,
        &CLIENT_SETINFO,
        &CLIENT_SETNAME,
        &CLIENT_TRACKING,
        &CLIENT_TRACKINGINFO,
        &CLIENT_UNBLOCK,
        &CLIENT_UNPAUSE,
    ]);

pub(crate) const CLIENT_HELP: CommandSpec = CommandSpec::new("help", 2, client_help)
    .group(Group::Connection)
    .since("5.0.0")
    .flags(Flags::ANY_TIME)
    .summary("Lists the subcommands of CLIENT.")
    .complexity("O(1)");
fn client_help(ctx: &mut Context<'_, '_>) -> CommandResult {
    ctx.help(&[
        "CACHING (YES|NO)",
        "    Whether the keys of the next command are tracked (OPTIN and OPTOUT tracking).",
        "CAPA <capability> [<capability> ...]",
        "    Tells the server what the client can do. Known so far: REDIRECT.",
        "GETNAME",
        "    Name of this connection.",
        "GETREDIR",
        "    Client that gets the tracking messages of this one.",
        "ID",
        "    Number of this connection.",
        "IMPORT-SOURCE (ON|OFF)",
        "    Marks this connection as a source of imported data (import-mode).",
        "INFO",
        "    The line of CLIENT LIST for this connection.",
        "KILL <ip:port>",
        "    Closes the connection from this address.",
        "KILL <filter> [<filter> ...]",
        "    Closes all connections that fit; not this one unless SKIPME NO is given.",
        "LIST [<filter> ...]",
        "    One line per connection that fits. Filters of KILL and LIST:",
        "    * ID <id> [<id> ...], ADDR <ip:port>, LADDR <ip:port>, IP <ip>, USER <user>,",
        "      NAME <name>, LIB-NAME <name>, LIB-VER <version>, DB <db>, CAPA <letters>,",
        "      FLAGS <letters>, TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB); each also as NOT-...",
        "    * MAXAGE <seconds>, IDLE <seconds>: at least so old, at least so long without a command.",
        "    * SKIPME (YES|NO)",
        "NO-EVICT (ON|OFF)",
        "    Protects this connection from being closed to save memory.",
        "NO-TOUCH (ON|OFF)",
        "    Whether commands of this connection leave the access times of keys alone.",
        "PAUSE <milliseconds> [WRITE|ALL]",
        "    Lets all commands, or those that write, wait for a time.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether this connection gets replies.",
        "SETINFO (LIB-NAME <name>|LIB-VER <version>)",
        "    Tells which client library this is.",
        "SETNAME <name>",
        "    Names this connection.",
        "TRACKING (ON|OFF) [<option> ...]",
        "    Messages about changed keys, for caches in clients.",
        "TRACKINGINFO",
        "    State of tracking for this connection.",
        "UNBLOCK <id> [TIMEOUT|ERROR]",
        "    Ends the waiting of a blocked connection.",
        "UNPAUSE",
        "    Ends CLIENT PAUSE.",
    ]);
    Ok(Outcome::Done)
}

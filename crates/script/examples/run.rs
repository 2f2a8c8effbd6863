//! Runs scripts against a host that answers nothing: one per length-prefixed line of the input.
//!
//! The input is `<bytes>\n<script>` over and over; for each the reply in RESP2 is written. With the
//! name of a file as argument, that script runs instead.

use std::io::{BufRead, BufReader, Read, Write, stdin, stdout};

use resp::{Args, Output, Protocol, Reply};
use script::{
    AclVerdict, Arguments, Host, Identity, Limits, LogLevel, Replication, Script, Stop, Vm,
};

/// A host whose commands all reply with their arguments.
struct Echo;

impl Host for Echo {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        let mut reply = Reply::new(reply, protocol);
        match (args.arg(0), args.len()) {
            (b"echo", 2) => reply.bulk(args.arg(1)),
            (b"ping", 1) => reply.simple("PONG"),
            _ => reply.error("ERR Unknown command called from script"),
        }
    }

    fn set_replication(&mut self, _: Replication) {}

    fn log(&mut self, _: LogLevel, message: &[u8]) {
        eprintln!("{}", String::from_utf8_lossy(message));
    }

    fn acl_check(&mut self, _: &[&[u8]]) -> AclVerdict {
        AclVerdict::Allowed
    }

    fn interrupt(&mut self) -> Option<Stop> {
        None
    }
}

fn main() -> anyhow::Result<()> {
    let mut vm = Vm::new(Limits {
        memory: 64 << 20,
        identity: Identity {
            server_name: "valkey".to_owned(),
            redis_version: "7.2.4".to_owned(),
            valkey_version: "9.1.2".to_owned(),
        },
    })?;
    if let Some(path) = std::env::args().nth(1) {
        stdout().write_all(&run(&mut vm, &std::fs::read(path)?))?;
        return Ok(());
    }
    let mut input = BufReader::new(stdin().lock());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let mut code = vec![0; line.trim_end().parse()?];
        input.read_exact(&mut code)?;
        let reply = run(&mut vm, &code);
        let mut out = stdout().lock();
        writeln!(out, "{}", reply.len())?;
        out.write_all(&reply)?;
        out.flush()?;
        line.clear();
    }
    Ok(())
}

/// The reply to EVAL without keys.
fn run(vm: &mut Vm, code: &[u8]) -> Vec<u8> {
    let mut out = Output::default();
    let sha = [b'0'; 40];
    let script = Script { sha: &sha, code };
    let none = Args::new(&[], &[]);
    let arguments = Arguments {
        keys: none,
        args: none,
    };
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    if let Err(failure) = vm.run(script, arguments, &mut Echo, &mut reply) {
        reply.error(failure.message);
    }
    vm.forget_scripts();
    out.to_vec()
}

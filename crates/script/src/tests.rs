//! Tests of the interpreter as a whole, and of each guard around PUC Lua.

use resp::{Args, Output, OwnedArgs, Protocol, Reply};

use crate::{
    AclVerdict, Arguments, Failure, Host, Identity, Limits, LogLevel, Replication, Script, Stop, Vm,
};

/// A host with canned replies, which stops a run after some questions.
#[derive(Default)]
struct Canned {
    replies: Vec<(&'static str, &'static str)>,
    calls: Vec<Vec<Vec<u8>>>,
    questions: usize,
    /// Questions after which the run is stopped.
    patience: Option<usize>,
    logged: Vec<(LogLevel, Vec<u8>)>,
    replication: Vec<Replication>,
    protocols: Vec<Protocol>,
}

impl Host for Canned {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        self.calls.push(args.iter().map(<[u8]>::to_vec).collect());
        self.protocols.push(protocol);
        let name = String::from_utf8_lossy(args.arg(0)).to_lowercase();
        let canned = self.replies.iter().find(|(command, _)| *command == name);
        reply.raw(canned.map_or(b"+OK\r\n".as_slice(), |(_, reply)| reply.as_bytes()));
    }

    fn set_replication(&mut self, scope: Replication) {
        self.replication.push(scope);
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.logged.push((level, message.to_vec()));
    }

    fn acl_check(&mut self, args: &[&[u8]]) -> AclVerdict {
        match args[0] {
            b"get" => AclVerdict::Allowed,
            b"set" => AclVerdict::Denied,
            _ => AclVerdict::Invalid,
        }
    }

    fn interrupt(&mut self) -> Option<Stop> {
        self.questions += 1;
        let stopped = self
            .patience
            .is_some_and(|patience| self.questions > patience);
        stopped.then(|| Stop {
            message: "ERR Script killed by user with SCRIPT KILL.".into(),
        })
    }
}

fn limits(memory: usize) -> Limits {
    Limits {
        memory,
        identity: Identity {
            server_name: "lodestore".to_owned(),
            redis_version: "7.2.4".to_owned(),
            valkey_version: "9.1.2".to_owned(),
        },
    }
}

fn vm() -> Vm {
    Vm::new(limits(64 << 20)).unwrap()
}

/// Runs `code`, and returns the reply or the error with its minus sign.
fn run_with(vm: &mut Vm, code: &str, host: &mut Canned, protocol: Protocol) -> String {
    let (reply, failure) = run_raw(vm, code.as_bytes(), host, protocol);
    match failure {
        Some(failure) => format!("-{}", String::from_utf8_lossy(&failure.message)),
        None => String::from_utf8_lossy(&reply).into_owned(),
    }
}

fn run_raw(
    vm: &mut Vm,
    code: &[u8],
    host: &mut Canned,
    protocol: Protocol,
) -> (Vec<u8>, Option<Failure>) {
    let sha = digest(code);
    let mut out = Output::default();
    let result = vm.run(
        Script { sha: &sha, code },
        Arguments {
            keys: OwnedArgs::from_slices(&[b"k1", b"k2"]).as_args(),
            args: OwnedArgs::from_slices(&[b"a1", b"a2", b"a3"]).as_args(),
        },
        host,
        &mut Reply::new(&mut out, protocol),
    );
    (out.to_vec(), result.err())
}

fn digest(code: &[u8]) -> [u8; 40] {
    use sha1::{Digest, Sha1};
    let text: String = Sha1::digest(code)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    text.as_bytes().try_into().unwrap()
}

fn run(code: &str) -> String {
    run_with(&mut vm(), code, &mut Canned::default(), Protocol::Resp2)
}

/// What a script returns as a string.
fn text(code: &str) -> String {
    let reply = run(code);
    match reply.split_once("\r\n") {
        Some((head, rest)) if head.starts_with('$') => rest.trim_end_matches("\r\n").to_owned(),
        _ => reply,
    }
}

mod api;
mod functions;
mod guards;
mod libraries;
mod raw;
mod replies;

//! Scripts, and the parsers of their libraries: whatever the bytes are, a run ends and the next one
//! works.
//!
//! The first byte selects the input: a source, a text for `cjson`, bytes for `cmsgpack` or
//! `struct`, a pattern with its subject, or a header with its proof.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::{Args, Output, OwnedArgs, Protocol, Reply};
use script::profile::{CommandKeys, KeyPositions};
use script::{
    AclVerdict, Arguments, Host, Identity, Limits, LogLevel, Replication, Script, Stop, Vm,
};

/// Replies with arguments, and ends runs after some questions.
struct Echo(u32);

impl Host for Echo {
    fn call(&mut self, args: Args<'_>, protocol: Protocol, reply: &mut Output) {
        let mut reply = Reply::new(reply, protocol);
        reply.array(args.len());
        args.iter().for_each(|arg| reply.bulk(arg));
    }

    fn set_replication(&mut self, _: Replication) {}

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn acl_check(&mut self, _: &[&[u8]]) -> AclVerdict {
        AclVerdict::Allowed
    }

    fn interrupt(&mut self) -> Option<Stop> {
        self.0 += 1;
        (self.0 > 100).then(|| Stop {
            message: "ERR stopped".into(),
        })
    }
}

struct FirstKey;

impl CommandKeys for FirstKey {
    fn positions(&self, _: &[u8], arguments: usize, _: &[Option<Vec<u8>>]) -> KeyPositions {
        KeyPositions::At((1..=arguments.min(1)).collect())
    }
}

thread_local! {
    static VM: std::cell::RefCell<Option<Vm>> = const { std::cell::RefCell::new(None) };
}

fn run(code: &[u8], argument: &[u8]) {
    VM.with_borrow_mut(|vm| {
        let vm = vm.get_or_insert_with(|| {
            let identity = Identity {
                server_name: "lodestore".to_owned(),
                redis_version: "7.2.4".to_owned(),
                valkey_version: "9.1.2".to_owned(),
            };
            let memory = 16 << 20;
            Vm::new(Limits { memory, identity }).expect("Lua starts")
        });
        for (code, argument) in [(code, argument), (b"return 1".as_slice(), b"".as_slice())] {
            let mut out = Output::default();
            let sha = [b'0'; 40];
            vm.forget_scripts();
            let result = vm.run(
                Script { sha: &sha, code },
                Arguments {
                    keys: OwnedArgs::from_slices(&[b"key"]).as_args(),
                    args: OwnedArgs::from_slices(&[argument]).as_args(),
                },
                &mut Echo(0),
                &mut Reply::new(&mut out, Protocol::Resp3),
            );
            if code == b"return 1" {
                assert!(result.is_ok() && out.to_vec() == b":1\r\n");
            }
        }
    });
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => run(rest, b""),
        1 => run(b"return cjson.encode(cjson.decode(ARGV[1]))", rest),
        2 => run(b"return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))", rest),
        3 => run(
            b"local a, n = ARGV[1], ARGV[1]:find('\\0') or 0 \
              return {struct.unpack(a:sub(1, n - 1), a:sub(n + 1)), struct.size(a)}",
            rest,
        ),
        4 => run(
            b"local a, n = ARGV[1], ARGV[1]:find('\\0') or 0 \
              return {string.gsub(a:sub(n + 1), a:sub(1, n - 1), '%0%1')}",
            rest,
        ),
        _ => {
            let _ = script::header::script(rest);
            let _ = script::header::library(rest);
            script::profile::profile(rest, &FirstKey);
            script::profile::library_profile(rest, &FirstKey);
        }
    }
});

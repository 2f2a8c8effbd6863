//! Libraries of functions, and headers.

use super::*;
use crate::header::{self, Flags};
use crate::{FunctionInfo, Library};

fn load(code: &str) -> Result<Vec<FunctionInfo>, String> {
    let mut host = Canned::default();
    vm().load_library(code.as_bytes(), &mut host)
        .map_err(|text| String::from_utf8_lossy(&text).into_owned())
}

fn call(vm: &mut Vm, version: u64, code: &str, function: &str) -> String {
    let mut out = Output::default();
    let result = vm.call_function(
        Library {
            name: "lib",
            version,
            code: code.as_bytes(),
        },
        function.as_bytes(),
        Arguments {
            keys: OwnedArgs::from_slices(&[b"k1"]).as_args(),
            args: OwnedArgs::from_slices(&[b"a1", b"a2"]).as_args(),
        },
        &mut Canned::default(),
        &mut Reply::new(&mut out, Protocol::Resp2),
    );
    match result {
        Ok(()) => String::from_utf8_lossy(&out.to_vec()).into_owned(),
        Err(failure) => format!("-{}", String::from_utf8_lossy(&failure.message)),
    }
}

#[test]
fn libraries_register_functions() {
    let functions = load(
        "redis.register_function('f', function() end) \
         server.register_function{function_name='g', callback=function() end, \
         description='does g', flags={'no-writes', 'allow-oom'}}",
    )
    .unwrap();
    assert_eq!(functions.len(), 2);
    assert_eq!(functions[0].name, b"f");
    assert_eq!(
        functions[1].description.as_deref(),
        Some(b"does g".as_slice())
    );
    assert!(functions[1].flags.contains(Flags::ALLOW_OOM));
    assert!(!functions[1].flags.contains(Flags::ALLOW_CROSS_SLOT_KEYS));
    let names: Vec<_> = functions[1].flags.names().collect();
    assert_eq!(names, ["no-writes", "allow-oom"]);
}

#[test]
fn a_library_registers_as_many_functions_as_it_likes() {
    let code = "for i = 1, 1 do end \
        local n = 0 \
        while n < 20000 do n = n + 1 redis.register_function('f' .. n, function() return 1 end) end";
    assert_eq!(load(code).unwrap().len(), 20_000);
    let mut vm = vm();
    assert_eq!(call(&mut vm, 1, code, "f20000"), ":1\r\n");
}

#[test]
fn errors_of_loading() {
    for (code, expected) in [
        (
            "x =",
            "Error compiling function: user_function:1: unexpected symbol near '<eof>'",
        ),
        (
            "local x = 'x' .. nil",
            "Error registering functions: ERR user_function:1: attempt to concatenate a nil value",
        ),
        (
            "redis.call('get', 'x')",
            "Error registering functions: ERR user_function:1: Script attempted to access nonexistent global variable 'call'",
        ),
        (
            "local m = math",
            "Error registering functions: ERR user_function:1: Script attempted to access nonexistent global variable 'math'",
        ),
        (
            "x = 1",
            "Error registering functions: ERR user_function:1: Attempt to modify a readonly table",
        ),
        (
            "redis.register_function(1)",
            "Error registering functions: ERR calling server.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        (
            "redis.register_function('f')",
            "Error registering functions: ERR calling server.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        (
            "redis.register_function('f', 1)",
            "Error registering functions: ERR second argument to server.register_function must be a function",
        ),
        (
            "redis.register_function{function_name='f', callback=function() end, flags={'x'}}",
            "Error registering functions: ERR unknown flag given",
        ),
        (
            "redis.register_function{function_name='f', x=1}",
            "Error registering functions: ERR unknown argument given to server.register_function",
        ),
    ] {
        let error = load(code).unwrap_err();
        // The order of named arguments is that of the table.
        assert_eq!(error, expected, "{code}");
    }
}

#[test]
fn loading_ends_when_the_host_says_so() {
    let mut host = Canned {
        patience: Some(2),
        ..Canned::default()
    };
    let error = vm()
        .load_library(b"while true do end", &mut host)
        .unwrap_err();
    assert!(error.starts_with(b"Error registering functions: ERR Script killed"));
    assert_eq!(
        load("redis.register_function('f', function() end)")
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn functions_run() {
    let mut vm = vm();
    let code = "local n = 0 \
        redis.register_function('f', function(keys, args) n = n + 1 return {keys[1], args[2], n} end) \
        redis.register_function('fail', function() error('no') end) \
        redis.register_function('undefined', function() return KEYS end) \
        redis.register_function('late', function() redis.register_function('x', type) end)";
    assert_eq!(
        call(&mut vm, 1, code, "f"),
        "*3\r\n$2\r\nk1\r\n$2\r\na2\r\n:1\r\n"
    );
    assert_eq!(
        call(&mut vm, 1, code, "f"),
        "*3\r\n$2\r\nk1\r\n$2\r\na2\r\n:2\r\n"
    );
    assert_eq!(
        call(&mut vm, 2, code, "f"),
        "*3\r\n$2\r\nk1\r\n$2\r\na2\r\n:1\r\n"
    );
    assert_eq!(
        call(&mut vm, 2, code, "fail"),
        "-ERR user_function:1: no script: fail, on @user_function:1."
    );
    assert!(call(&mut vm, 2, code, "undefined").contains("nonexistent global variable 'KEYS'"));
    assert!(call(&mut vm, 2, code, "late").starts_with("-ERR "));
    assert_eq!(call(&mut vm, 2, code, "nosuch"), "-ERR Function not found");
    // Scripts of EVAL have their own globals.
    assert_eq!(
        run_with(
            &mut vm,
            "return #KEYS",
            &mut Canned::default(),
            Protocol::Resp2
        ),
        ":2\r\n"
    );
}

#[test]
fn many_scripts_are_kept_and_dropped() {
    let mut vm = vm();
    for index in 0..10_000 {
        let code = format!("return {index}");
        let sha = digest(code.as_bytes());
        vm.compile(Script {
            sha: &sha,
            code: code.as_bytes(),
        })
        .unwrap();
    }
    assert_eq!(
        run_with(
            &mut vm,
            "return 9999",
            &mut Canned::default(),
            Protocol::Resp2
        ),
        ":9999\r\n"
    );
    let sha = digest(b"return 9999");
    vm.forget_script(&sha);
    vm.forget_script(&digest(b"return 1"));
    assert_eq!(
        run_with(&mut vm, "return 1", &mut Canned::default(), Protocol::Resp2),
        ":1\r\n"
    );
    let full = vm.collect();
    vm.forget_scripts();
    assert!(vm.collect() < full / 2);
}

#[test]
fn headers_of_scripts() {
    let script = |body: &str| {
        header::script(body.as_bytes()).map_err(|text| String::from_utf8(text).unwrap())
    };
    let plain = script("return 1").unwrap();
    assert_eq!(
        (plain.engine.as_slice(), plain.flags, plain.code_start),
        (b"lua".as_slice(), None, 0)
    );
    let flagged = script("#!lua flags=no-writes,allow-stale\nreturn 1").unwrap();
    assert_eq!(
        flagged.flags,
        Some(Flags::NO_WRITES.union(Flags::ALLOW_STALE))
    );
    assert_eq!(flagged.code_start, 33);
    assert_eq!(
        script("#!lua flags=\nreturn 1").unwrap().flags,
        Some(Flags::default())
    );
    for (body, error) in [
        ("#!lua", "Invalid script shebang"),
        ("#!lua \"x\nreturn 1", "Invalid engine in script shebang"),
        (
            "#!lua flags=x\nreturn 1",
            "Unexpected flag in script shebang: x",
        ),
        (
            "#!lua flags=no-writes,\nreturn 1",
            "Unexpected flag in script shebang: ",
        ),
        (
            "#!lua name=x\nreturn 1",
            "Unknown lua shebang option: name=x",
        ),
    ] {
        assert_eq!(script(body).unwrap_err(), error, "{body}");
    }
}

#[test]
fn headers_of_libraries() {
    let library = |body: &str| {
        header::library(body.as_bytes()).map_err(|text| String::from_utf8(text).unwrap())
    };
    let header = library("#!lua name=mylib\nreturn 1").unwrap();
    assert_eq!(
        (
            header.engine.as_slice(),
            header.name.as_slice(),
            header.code_start
        ),
        (b"lua".as_slice(), b"mylib".as_slice(), 16)
    );
    for (body, error) in [
        ("return 1", "Missing library metadata"),
        ("#!lua name=x", "Invalid library metadata"),
        ("#!lua\nreturn 1", "Library name was not given"),
        (
            "#!lua name=x name=y\n",
            "Invalid metadata value, name argument was given multiple times",
        ),
        ("#!lua foo=x\n", "Invalid metadata value given: foo=x"),
    ] {
        assert_eq!(library(body).unwrap_err(), error, "{body}");
    }
}

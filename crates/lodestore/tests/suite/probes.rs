//! `lodestore ping` and `lodestore config`, and shares of memory.

use std::process::{Command, Output};

use super::harness::{TestServer, free_port, fresh_dir, program};

fn run(arguments: &[&str], password: Option<&str>) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("REDISCLI_AUTH");
    if let Some(password) = password {
        command.env("REDISCLI_AUTH", password);
    }
    command.output().expect("the program runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn ping_says_whether_a_server_serves() {
    let server = TestServer::start();
    let port = server.port().to_string();
    let output = run(&["ping", "--port", &port], None);
    assert_eq!(
        (code(&output), text_of(&output.stdout).as_str()),
        (0, "PONG\n")
    );
    let nowhere = free_port().to_string();
    let output = run(&["ping", "--port", &nowhere], None);
    assert_eq!(code(&output), 2);
    assert_eq!(text_of(&output.stderr), "Connection refused\n");
    assert_eq!(code(&run(&["ping", "--port"], None)), 2);
    assert_eq!(code(&run(&["ping", "--nosuch", "x"], None)), 2);
    assert_eq!(code(&run(&["ping", "--help"], None)), 0);
    // With a password PING is refused without one.
    server.connect().line("CONFIG SET requirepass secret");
    let output = run(&["ping", "--port", &port], None);
    assert_eq!(code(&output), 1);
    assert!(text_of(&output.stderr).starts_with("NOAUTH"));
    assert_eq!(code(&run(&["ping", "--port", &port], Some("secret"))), 0);
    assert_eq!(code(&run(&["ping", "--port", &port], Some("wrong"))), 1);
    let user = [
        "ping", "--port", &port, "--user", "default", "--pass", "secret",
    ];
    assert_eq!(code(&run(&user, None)), 0);
}

#[test]
fn ping_over_a_unix_socket() {
    let dir = fresh_dir();
    let path = dir.join("socket").to_string_lossy().into_owned();
    let server = TestServer::start_with(&["--unixsocket", &path]);
    assert_eq!(code(&run(&["ping", "--socket", &path], None)), 0);
    drop(server);
    assert_eq!(code(&run(&["ping", "--socket", &path], None)), 2);
    std::fs::remove_dir_all(dir).expect("the directory goes");
}

#[test]
fn config_explains_parameters() {
    let output = run(&["config"], None);
    assert_eq!(code(&output), 0);
    assert!(text_of(&output.stdout).lines().count() > 200);
    let output = run(&["config", "maxmemory-policy"], None);
    let shown = text_of(&output.stdout);
    assert!(
        shown.contains("noeviction") && shown.contains("allkeys-lru"),
        "{shown}"
    );
    assert!(shown.contains("CONFIG SET"), "{shown}");
    assert!(shown.contains("LODESTORE_MAXMEMORY_POLICY"), "{shown}");
    let output = run(&["config", "nosuch"], None);
    assert_eq!(code(&output), 1);
    assert!(text_of(&output.stderr).contains("no parameter 'nosuch'"));
}

#[test]
fn pages_are_written() {
    let dir = std::env::temp_dir().join(format!("lodestore-pages-{}", std::process::id()));
    let output = run(&["config", "--write", &dir.to_string_lossy()], None);
    assert_eq!(code(&output), 0, "{}", text_of(&output.stderr));
    for name in [
        "lodestore.1",
        "lodestore.conf.5",
        "lodestore.bash",
        "_lodestore",
    ] {
        let page = std::fs::read_to_string(dir.join(name)).expect(name);
        assert!(page.contains("lodestore"), "{name}");
    }
    std::fs::remove_dir_all(dir).expect("the pages go");
}

#[test]
fn maxmemory_may_be_a_share() {
    let server = TestServer::start_with(&["--maxmemory", "50%"]);
    let mut client = server.connect();
    let info = client.line("INFO memory");
    let field = |name: &str| {
        let start = info.find(&format!("{name}:")).expect(name) + name.len() + 1;
        let mut digits = info[start..].split(|letter: char| !letter.is_ascii_digit());
        digits.next().expect(name).parse::<u64>().expect(name)
    };
    let (system, group) = (field("total_system_memory"), field("cgroup_memory_limit"));
    let memory = if group == 0 {
        system
    } else {
        system.min(group)
    };
    assert_eq!(field("maxmemory"), memory / 2);
    client.check(&[
        ("CONFIG SET maxmemory 100%", "+OK"),
        (
            "CONFIG GET maxmemory",
            &format!("[\"maxmemory\" \"{memory}\"]"),
        ),
    ]);
    for wrong in ["0%", "101%", "x%", "%", "-5%"] {
        let reply = client.line(&format!("CONFIG SET maxmemory {wrong}"));
        assert!(
            reply.starts_with("-ERR CONFIG SET failed"),
            "{wrong}: {reply}"
        );
    }
}

#[test]
fn the_unit_for_systemd_is_valid() {
    let unit = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../contrib/systemd/lodestore.service"
    );
    let text = std::fs::read_to_string(unit).expect("the unit");
    // The program need not be installed.
    let text = text.replace("/usr/bin/lodestore", "/bin/true");
    let dir = fresh_dir();
    let copy = dir.join("lodestore.service");
    std::fs::write(&copy, text).expect("a copy");
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["verify", "--man=no"]).arg(&copy).output();
    match output {
        Err(error) => println!("skipped: systemd-analyze: {error}"),
        Ok(output) => {
            let said = text_of(&output.stderr);
            assert!(
                output.status.success() && !said.contains("lodestore.service:"),
                "{said}"
            );
        }
    }
    std::fs::remove_dir_all(dir).expect("the copy goes");
}

use proptest::prelude::*;
use resp::OwnedArgs;

use super::*;
use crate::execute::command_table;
use crate::table::CommandTable;

fn commands() -> CommandTable {
    command_table(crate::commands::GROUPS, &[])
        .expect("no renames")
        .0
}

fn rules(commands: &CommandTable, words: &[&str]) -> Result<Rules, RulesError> {
    let mut rules = Rules::new(Defaults::default());
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    rules.apply_all(commands, Defaults::default(), &words)?;
    Ok(rules)
}

fn described(commands: &CommandTable, words: &[&str]) -> String {
    let rules = rules(commands, words).expect("valid rules");
    String::from_utf8(rules.describe()).expect("text")
}

fn denied(
    commands: &CommandTable,
    rules: &Rules,
    request: &[&[u8]],
    db: u32,
) -> Option<(DeniedReason, usize)> {
    let args = OwnedArgs::from_slices(request);
    let args = args.as_args();
    let checked = Checked {
        command: commands.resolve(args).found().expect("known"),
        args,
        db,
        databases: 16,
    };
    let denied = rules.check(checked).err();
    denied.map(|denied| (denied.reason, denied.index))
}

#[test]
fn later_rules_remove_those_that_they_make_superfluous() {
    let commands = commands();
    for (words, text) in [
        (&["+get", "+get", "-get"][..], "-@all -get"),
        (&["+client|list", "+client|id", "-client"], "-@all -client"),
        (&["+client", "-client|id"], "-@all +client -client|id"),
        (&["+@read", "-get", "+@READ"], "-@all -get +@read"),
        (&["+@all", "-@write", "+@all"], "+@all"),
        (
            &["+select|0", "+SELECT|1", "+select|0"],
            "-@all +select|1 +select|0",
        ),
        (&["+get", "nocommands", "+set"], "-@all +set"),
    ] {
        let text = format!("off resetchannels {text}");
        assert_eq!(described(&commands, words), text, "{words:?}");
    }
}

#[test]
fn a_description_is_in_the_order_of_redis() {
    let commands = commands();
    let sha = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    let words = [
        "+get",
        "&c*",
        "%R~a",
        "db=3,1,3",
        ">password",
        "(%W~b",
        "alldbs",
        "&x)",
        "%RW~c",
        "%w~a",
        "on",
    ];
    assert_eq!(
        described(&commands, &words),
        format!(
            "on #{sha} ~a ~c resetchannels &c* db=1,3 -@all +get (%W~b resetchannels &x -@all)"
        )
    );
}

#[test]
fn rules_that_are_wrong_are_refused_with_their_reasons() {
    let commands = commands();
    for (word, error) in [
        ("+nosuch", RuleError::Unknown),
        ("-get|x", RuleError::Unknown),
        ("+client|nosuch", RuleError::Unknown),
        ("+@nosuch", RuleError::Unknown),
        ("+client|id|x", RuleError::FirstArgOfSubcommand),
        ("+select|", RuleError::Syntax),
        ("+select|a b", RuleError::Syntax),
        ("what", RuleError::Syntax),
        ("%~x", RuleError::Syntax),
        ("%RR~x", RuleError::Syntax),
        ("~a b", RuleError::Syntax),
        ("(+get (~a))", RuleError::Syntax),
        ("db=", RuleError::Syntax),
        ("db=1,,2", RuleError::Syntax),
        ("db=1x", RuleError::Syntax),
        ("db=-1", RuleError::DatabaseRange),
        ("db=2147483648", RuleError::DatabaseRange),
        ("<none", RuleError::NoSuchPassword),
        ("#12", RuleError::PasswordHash),
    ] {
        let rule = word.as_bytes().to_vec();
        assert_eq!(
            rules(&commands, &[word]),
            Err(RulesError::Rule { rule, error }),
            "{word}"
        );
    }
    let unmatched = RulesError::Unmatched(b"(+get".to_vec());
    assert_eq!(rules(&commands, &["(+get", "~a"]), Err(unmatched));
}

#[test]
fn bombs_are_refused() {
    let commands = commands();
    let selectors = vec!["()"; 100_000];
    let error = rules(&commands, &selectors).expect_err("too many");
    let rule = b"()".to_vec();
    let too_many = RuleError::TooMany;
    assert_eq!(
        error,
        RulesError::Rule {
            rule,
            error: too_many
        }
    );
    let long = format!("~{}", "a".repeat(1024 * 1024));
    assert!(rules(&commands, &[&long]).is_err());
    let patterns: Vec<String> = (0..100_000).map(|number| format!("~{number}")).collect();
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    assert!(rules(&commands, &patterns).is_err());
}

#[test]
fn the_deepest_failure_counts() {
    let commands = commands();
    let rules = rules(
        &commands,
        &["+get", "~a*", "(+mset", "~b*)", "(+set", "db=1)"],
    )
    .expect("valid");
    let denied = |request: &[&[u8]], db| denied(&commands, &rules, request, db);
    assert_eq!(denied(&[b"get", b"a1"], 0), None);
    assert_eq!(denied(&[b"get", b"c"], 0), Some((DeniedReason::Key, 1)));
    assert_eq!(
        denied(&[b"mset", b"b", b"1", b"c", b"2"], 0),
        Some((DeniedReason::Key, 3))
    );
    assert_eq!(
        denied(&[b"set", b"a", b"1"], 0),
        Some((DeniedReason::Command, 0))
    );
    assert_eq!(denied(&[b"ping"], 0), Some((DeniedReason::Command, 0)));
}

#[test]
fn keys_need_the_access_that_the_command_has() {
    let commands = commands();
    let rules = rules(&commands, &["+@all", "%R~r*", "%W~w*"]).expect("valid");
    let denied = |request: &[&[u8]]| denied(&commands, &rules, request, 0);
    let key = |index| Some((DeniedReason::Key, index));
    assert_eq!(denied(&[b"get", b"r"]), None);
    assert_eq!(denied(&[b"get", b"w"]), key(1));
    assert_eq!(denied(&[b"set", b"w", b"x"]), None);
    assert_eq!(denied(&[b"set", b"w", b"x", b"get"]), key(1));
    assert_eq!(denied(&[b"exists", b"r", b"w"]), None);
    assert_eq!(denied(&[b"exists", b"r", b"x"]), key(2));
    assert_eq!(denied(&[b"copy", b"r", b"w"]), None);
    assert_eq!(denied(&[b"copy", b"w", b"r"]), key(1));
    assert_eq!(denied(&[b"sort", b"r", b"store", b"w"]), None);
    assert_eq!(denied(&[b"sort", b"r", b"store", b"r"]), key(3));
    assert_eq!(denied(&[b"bitfield", b"r", b"get", b"u8", b"0"]), None);
}

#[test]
fn databases_are_checked_where_they_are_named() {
    let commands = commands();
    let rules = rules(&commands, &["+@all", "~*", "&*", "db=0,1"]).expect("valid");
    let denied = |request: &[&[u8]], db| denied(&commands, &rules, request, db);
    let database = |index| Some((DeniedReason::Database, index));
    assert_eq!(denied(&[b"get", b"a"], 1), None);
    assert_eq!(denied(&[b"get", b"a"], 2), database(0));
    assert_eq!(denied(&[b"ping"], 2), None);
    assert_eq!(denied(&[b"select", b"1"], 2), None);
    assert_eq!(denied(&[b"select", b"2"], 0), database(1));
    assert_eq!(denied(&[b"select", b"99"], 0), None);
    assert_eq!(denied(&[b"swapdb", b"0", b"3"], 0), database(2));
    assert_eq!(denied(&[b"move", b"a", b"3"], 0), database(2));
    let copy: &[&[u8]] = &[b"copy", b"a", b"b", b"db", b"3", b"db", b"1"];
    assert_eq!(denied(copy, 0), database(4));
    assert_eq!(denied(&[b"flushall"], 0), database(0));
    assert_eq!(denied(&[b"flushdb"], 0), None);
}

#[test]
fn patterns_of_channels_are_compared_as_texts() {
    let commands = commands();
    let rules = rules(&commands, &["+@all", "&a*", "&b?"]).expect("valid");
    let denied = |request: &[&[u8]]| denied(&commands, &rules, request, 0);
    let channel = |index| Some((DeniedReason::Channel, index));
    assert_eq!(denied(&[b"publish", b"a1", b"c"]), None);
    assert_eq!(denied(&[b"subscribe", b"a1", b"b1", b"c"]), channel(3));
    assert_eq!(denied(&[b"psubscribe", b"a*", b"b?"]), None);
    assert_eq!(denied(&[b"psubscribe", b"a1"]), channel(1));
    assert_eq!(denied(&[b"unsubscribe", b"c"]), None);
}

#[test]
fn a_login_needs_a_password_of_an_enabled_user() {
    let commands = commands();
    let is_accepted = |words: &[&str], password: &str| {
        let rules = rules(&commands, words).expect("valid");
        rules.accepts(password.as_bytes())
    };
    assert!(is_accepted(&["on", ">a", ">b"], "b"));
    assert!(!is_accepted(&["on", ">a", ">b", "<b"], "b"));
    assert!(!is_accepted(&[">a"], "a"));
    assert!(!is_accepted(&["on"], ""));
    assert!(is_accepted(&["on", "nopass"], "anything"));
    assert!(!is_accepted(&["on", "nopass", "resetpass"], "anything"));
}

#[test]
fn a_file_is_taken_whole_or_not_at_all() {
    let commands = commands();
    let parse = |text: &str| {
        let defaults = Defaults::default();
        parse_file(text.as_bytes(), "users.acl", &commands, defaults)
            .map_err(|errors| String::from_utf8(errors).expect("text"))
    };
    let users = parse("user a on  nopass +get\r\n\n user b (~x +set) \n").expect("valid");
    assert_eq!(users.len(), 2);
    let end =
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed";
    for (text, error) in [
        (
            "# comment",
            "users.acl:1 should start with user keyword followed by the username. ",
        ),
        (
            "user a\nuser a",
            "WARNING: Duplicate user 'a' found on line 2. ",
        ),
        (
            "\nuser a +nosuch ~* ~x #1",
            "users.acl:2: Error in applying operation '+nosuch': Unknown command or category name in ACL. \
             users.acl:2: Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have \
             any effect. Try 'resetkeys' to start with an empty list of patterns. ",
        ),
        (
            "user a (+get",
            "users.acl:1: Unmatched parenthesis in selector definition.",
        ),
    ] {
        assert_eq!(parse(text), Err(format!("{error}{end}")), "{text}");
    }
}

#[test]
fn events_that_are_alike_are_one_entry() {
    let log = AclLog::default();
    let event = |object: &str, now_ms| LogEvent {
        reason: LogReason::Auth,
        context: LogContext::TopLevel,
        object: object.into(),
        user: b"u".to_vec(),
        client: String::new(),
        now_ms,
    };
    log.add(event("a", 1000), 2);
    log.add(event("b", 2000), 2);
    log.add(event("a", 61_000), 2);
    let shown = |entries: Vec<LogEntry>| -> Vec<(Vec<u8>, u64, u64, u64)> {
        let shown = entries.into_iter();
        shown
            .map(|it| (it.event.object, it.count, it.id, it.created_ms))
            .collect()
    };
    let (a, b) = (b"a".to_vec(), b"b".to_vec());
    assert_eq!(
        shown(log.newest(9)),
        [(a.clone(), 2, 0, 1000), (b, 1, 1, 2000)]
    );
    log.add(event("a", 121_001), 2);
    assert_eq!(
        shown(log.newest(9)),
        [(a.clone(), 1, 2, 121_001), (a, 2, 0, 1000)]
    );
    log.trim(0);
    assert!(log.newest(9).is_empty());
}

fn word() -> impl Strategy<Value = String> {
    let fixed = [
        "on",
        "off",
        "nopass",
        "resetpass",
        "allkeys",
        "resetkeys",
        "allchannels",
        "resetchannels",
        "alldbs",
        "resetdbs",
        "db=1,2",
        "+@all",
        "-@all",
        "+@read",
        "-@write",
        "+get",
        "-get",
        "+client|id",
        "-client",
        "+config",
        "+select|0",
        "clearselectors",
        "reset",
        ">pw",
        "+SELECT|A",
        "+select|0",
        "-@connection",
    ];
    prop_oneof![
        proptest::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        "[~&][a-c*()\"'\\\\]{0,4}",
        "%[RW]~[a-c*()\"']{0,4}",
        "\\(([~&+][a-c)\"]{1,3} ?){0,3}\\)",
        "[ -~]{0,6}",
    ]
}

proptest! {
    /// What is described can be read back, and is the same then: in one piece as ACL LIST shows it,
    /// and split at its spaces as files have it.
    #[test]
    fn descriptions_are_read_back(words in proptest::collection::vec(word(), 0..12)) {
        let commands = commands();
        let mut given = Rules::new(Defaults::default());
        for word in &words {
            let mut changed = given.clone();
            if changed.apply(&commands, Defaults::default(), word.as_bytes()).is_ok() {
                given = changed;
            }
        }
        let text = given.describe();
        let words: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
        let mut read = Rules::new(Defaults::default());
        prop_assert_eq!(read.apply_all(&commands, Defaults::default(), &words), Ok(()));
        prop_assert_eq!(read, given);
    }
}

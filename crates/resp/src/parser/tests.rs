use proptest::prelude::*;

use super::*;
use crate::args::Args;

/// What a connection's stream turned out to be: requests as lists of arguments, and the error that
/// ended it.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    requests: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
    /// Bytes behind the last complete request.
    rest: usize,
}

fn copy(args: Args<'_>) -> Vec<Vec<u8>> {
    args.iter().map(<[u8]>::to_vec).collect()
}

/// Feeds `input` in pieces that end at `cuts`, the way a connection does.
fn hear_in_pieces(input: &[u8], cuts: &[usize], limits: &Limits) -> Heard {
    let mut parser = RequestParser::new();
    let mut heard = Heard::default();
    let mut start = 0;
    let mut needed = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        loop {
            let pending = &input[start..end];
            // A request in front makes sure that spans are appended and not replaced.
            let mut spans = vec![Span::default()];
            // Without cuts the short way is left out, so that the two are compared.
            let whole = match cuts.is_empty() {
                true => None,
                false => parser.parse_whole(pending, limits, &mut spans),
            };
            assert_eq!(spans.len(), 1 + whole.map_or(0, |(_, args)| args));
            let whole = whole.map(|(consumed, args)| Progress::Request { consumed, args });
            let parsed = match whole {
                Some(whole) => Ok(whole),
                None => parser.parse(pending, limits, &mut spans),
            };
            let progress = match parsed {
                Ok(progress) => progress,
                Err(error) => {
                    assert_eq!(spans.len(), 1);
                    assert_eq!(parser.parse(pending, limits, &mut spans), Err(error));
                    heard.error = Some(error);
                    heard.rest = 0;
                    return heard;
                }
            };
            match progress {
                Progress::Request { consumed, args } => {
                    assert_eq!(args, spans.len() - 1);
                    heard.requests.push(copy(Args::new(pending, &spans[1..])));
                    start += consumed;
                }
                Progress::Inline { consumed, args } => {
                    heard.requests.push(copy(args.as_args()));
                    start += consumed;
                }
                Progress::Empty { consumed } => start += consumed,
                Progress::NeedMore { hint } => {
                    assert_eq!(spans.len(), 1);
                    needed = pending.len() + hint;
                    break;
                }
            }
            assert!(
                pending.len() >= needed,
                "complete although {needed} bytes were needed"
            );
            assert_eq!(parser.partial_args(), 0);
            needed = 0;
        }
    }
    heard.rest = input.len() - start;
    heard
}

fn hear(input: &[u8]) -> Heard {
    hear_in_pieces(input, &[], &Limits::default())
}

fn error(input: &[u8]) -> String {
    error_with(input, &Limits::default())
}

fn error_with(input: &[u8], limits: &Limits) -> String {
    let all: Vec<usize> = (0..input.len()).collect();
    let heard = hear_in_pieces(input, &[], limits);
    assert_eq!(hear_in_pieces(input, &all, limits).error, heard.error);
    heard
        .error
        .map_or_else(|| "no error".to_owned(), |error| error.to_string())
}

#[test]
fn requests_of_both_kinds() {
    let heard = hear(b"*2\r\n$3\r\nGET\r\n$0\r\n\r\nPING\r\n\r\n\n*0\r\n*-1\r\nset 'a b' \"\\x00\"\n*1\r\n$1\r\n");
    let wanted: Vec<Vec<Vec<u8>>> = vec![
        vec![b"GET".to_vec(), b"".to_vec()],
        vec![b"PING".to_vec()],
        vec![b"set".to_vec(), b"a b".to_vec(), b"\0".to_vec()],
    ];
    assert_eq!(heard.requests, wanted);
    assert_eq!((heard.error, heard.rest), (None, 8));
}

#[test]
fn invalid_multibulk_lengths() {
    let wanted = "Protocol error: invalid multibulk length";
    for input in [
        "*\r\n", "*x\r\n", "*3x\r\n", "*03\r\n", "*+3\r\n", "* 3\r\n", "*3 \r\n", "*-0\r\n",
    ] {
        assert_eq!(error(input.as_bytes()), wanted, "{input:?}");
    }
    assert_eq!(error(b"*2147483648\r\n"), wanted);
    assert_eq!(error(b"*99999999999999999999\r\n"), wanted);
    assert_eq!(error(b"*2147483647\r\n"), "no error");
    assert_eq!(
        error_with(
            b"*4\r\n",
            &Limits {
                max_args: 3,
                ..Limits::default()
            }
        ),
        wanted
    );
}

#[test]
fn invalid_bulk_lengths() {
    let wanted = "Protocol error: invalid bulk length";
    for length in [
        "",
        "x",
        "-1",
        "03",
        "+3",
        " 3",
        "3 ",
        "-0",
        "536870913",
        "99999999999999999999",
    ] {
        assert_eq!(
            error(format!("*1\r\n${length}\r\n").as_bytes()),
            wanted,
            "{length:?}"
        );
    }
    assert_eq!(error(b"*1\r\n$536870912\r\n"), "no error");
    assert_eq!(
        error_with(
            b"*1\r\n$11\r\n",
            &Limits {
                max_bulk: 10,
                ..Limits::default()
            }
        ),
        wanted
    );
    let unlimited = Limits {
        max_bulk: usize::MAX,
        ..Limits::default()
    };
    assert_eq!(
        error_with(b"*1\r\n$9223372036854775807\r\n", &unlimited),
        "no error"
    );
}

#[test]
fn limits_of_unauthenticated_clients() {
    let limits = Limits::UNAUTHENTICATED;
    assert_eq!(
        error_with(b"*11\r\n", &limits),
        "Protocol error: unauthenticated multibulk length"
    );
    assert_eq!(
        error_with(b"*2147483648\r\n", &limits),
        "Protocol error: invalid multibulk length"
    );
    assert_eq!(
        error_with(b"*10\r\n$16385\r\n", &limits),
        "Protocol error: unauthenticated bulk length"
    );
    assert_eq!(
        error_with(b"*10\r\n$-1\r\n", &limits),
        "Protocol error: invalid bulk length"
    );
    assert_eq!(error_with(b"*10\r\n$16384\r\n", &limits), "no error");
}

#[test]
fn unexpected_characters() {
    assert_eq!(
        error(b"*1\r\nfoo\r\n"),
        "Protocol error: expected '$', got 'f'"
    );
    assert_eq!(
        error(b"*1\r\n:3\rx"),
        "Protocol error: expected '$', got ':'"
    );
    assert_eq!(
        error(b"*1\r\n\r\n"),
        "Protocol error: expected '$', got ' '"
    );
    assert_eq!(error(b"*1\r\nfoo"), "no error");
    assert_eq!(
        ProtocolError::ExpectedDollar(0xff).to_bytes(),
        b"Protocol error: expected '$', got '\xff'"
    );
    assert_eq!(
        ProtocolError::ExpectedDollar(b'x').to_bytes(),
        b"Protocol error: expected '$', got 'x'"
    );
}

#[test]
fn line_ends_are_strict() {
    let wanted = "Protocol error: invalid CRLF in request";
    assert_eq!(error(b"*1\rx"), wanted);
    assert_eq!(error(b"*x\rx"), wanted);
    assert_eq!(error(b"*1\r\n$1\rx"), wanted);
    assert_eq!(error(b"*1\r\n$1\r\nabc"), wanted);
    assert_eq!(error(b"*1\r\n$1\r\na\rx"), wanted);
    assert_eq!(error(b"*1\r"), "no error");
}

#[test]
fn lines_that_do_not_end() {
    let long = |prefix: &str, len| format!("{prefix}{}", "1".repeat(len - 1)).into_bytes();
    for (prefix, wanted) in [
        ("*", "Protocol error: too big mbulk count string"),
        ("P", "Protocol error: too big inline request"),
    ] {
        let mut input = long(prefix, INLINE_BYTES_MAX);
        assert_eq!(hear(&input).error, None);
        input.push(b'1');
        assert_eq!(
            hear(&input).error.map(|error| error.to_string()).as_deref(),
            Some(wanted)
        );
    }
    let input = [b"*1\r\n".to_vec(), long("$", INLINE_BYTES_MAX + 1)].concat();
    assert_eq!(hear(&input).error, Some(ProtocolError::TooBigBulkCount));
    // The same line is as long when its end has arrived as when it has not.
    for (len, wanted) in [
        (INLINE_BYTES_MAX, None),
        (INLINE_BYTES_MAX + 1, Some(ProtocolError::TooBigInline)),
    ] {
        let input = [long("P", len), b"\n".to_vec()].concat();
        assert_eq!(hear(&input).error, wanted);
    }
}

#[test]
fn a_nul_byte_hides_the_end_of_an_inline_request() {
    let limits = Limits {
        max_inline: 32,
        ..Limits::default()
    };
    assert_eq!(error_with(b"\0AAAA\nPING\r\n", &limits), "no error");
    let input = b"\0AAAAAAAA\nAAAAAAA\nAAAAAAA\nAAAAAAAAA\n";
    assert_eq!(
        error_with(input, &limits),
        "Protocol error: too big inline request"
    );
}

#[test]
fn unbalanced_quotes() {
    for line in ["set 'a\r\n", "set \"a\n", "a\"b\r\n", "set 'b'a'r\r\n"] {
        assert_eq!(
            error(line.as_bytes()),
            "Protocol error: unbalanced quotes in request",
            "{line:?}"
        );
    }
}

#[test]
fn hints_tell_how_much_is_missing() {
    let mut parser = RequestParser::new();
    let mut spans = Vec::new();
    let mut need = |input: &[u8]| parser.parse(input, &Limits::default(), &mut spans);
    let need_more = |hint| Ok(Progress::NeedMore { hint });
    assert_eq!(need(b""), need_more(0));
    assert_eq!(need(b"*2"), need_more(0));
    assert_eq!(need(b"*2\r\n$3"), need_more(0));
    assert_eq!(need(b"*2\r\n$3\r\nGET\r\n$100000\r\n"), need_more(100_002));
    assert_eq!(
        need(b"*2\r\n$3\r\nGET\r\n$100000\r\nabc"),
        need_more(99_999)
    );
    assert_eq!(parser.partial_args(), 1);
    assert!(parser.memory_usage() < 1024);
    parser.reset();
    assert_eq!(parser.partial_args(), 0);
    let whole = parser.parse(b"PING\n", &Limits::default(), &mut spans);
    assert!(matches!(whole, Ok(Progress::Inline { consumed: 5, .. })));
}

#[test]
fn claimed_lengths_reserve_nothing() {
    let mut parser = RequestParser::new();
    let mut spans = Vec::new();
    for input in [&b"*2147483647\r\n"[..], b"*2147483647\r\n$536870912\r\n"] {
        assert!(parser.parse(input, &Limits::default(), &mut spans).is_ok());
        assert_eq!(spans.capacity() + parser.memory_usage(), 0);
    }
}

#[test]
fn many_arguments_in_pieces_are_copied_once() {
    let mut input = b"*20000\r\n".to_vec();
    for _ in 0..20_000 {
        input.extend_from_slice(b"$1\r\nx\r\n");
    }
    let cuts: Vec<usize> = (0..input.len()).step_by(97).collect();
    let heard = hear_in_pieces(&input, &cuts, &Limits::default());
    assert_eq!(heard.requests.len(), 1);
    assert_eq!(heard.requests[0].len(), 20_000);
}

/// One request as a client may write it, with its arguments.
fn request() -> impl Strategy<Value = (Vec<u8>, Vec<Vec<u8>>)> {
    let args = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..5);
    (args, 0..4u8).prop_map(|(args, form)| {
        let mut bytes = Vec::new();
        match form {
            0 => {
                let words: Vec<String> = args.iter().map(|arg| crate::quoted(arg)).collect();
                bytes.extend_from_slice(words.join(" ").as_bytes());
                bytes.extend_from_slice(if args.len() % 2 == 0 { b"\n" } else { b"\r\n" });
            }
            1 => {
                let blank: [&[u8]; 4] = [b"\r\n", b"*0\r\n", b"*-7\r\n", b" \t\n"];
                bytes.extend_from_slice(blank[args.len() % 4]);
                return (bytes, Vec::new());
            }
            _ => {
                bytes.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
                for arg in &args {
                    bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                    bytes.extend_from_slice(arg);
                    bytes.extend_from_slice(b"\r\n");
                }
            }
        }
        (bytes, args)
    })
}

fn cuts(len: usize, seeds: &[prop::sample::Index]) -> Vec<usize> {
    let mut cuts: Vec<usize> = seeds.iter().map(|seed| seed.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn any_split_gives_the_same_requests(
        requests in prop::collection::vec(request(), 0..8),
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let input: Vec<u8> = requests.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let wanted: Vec<_> = requests.into_iter().map(|(_, args)| args).filter(|args| !args.is_empty()).collect();
        let heard = hear_in_pieces(&input, &cuts(input.len(), &seeds), &Limits::default());
        prop_assert_eq!(heard, Heard { requests: wanted, error: None, rest: 0 });
    }

    #[test]
    fn any_bytes_mean_the_same_in_any_split(
        input in prop::collection::vec(
            prop_oneof![prop::sample::select(b"*$\r\n\r\n0123-a'\"\\ \0".to_vec()), any::<u8>()],
            0..120,
        ),
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let limits = Limits { max_inline: 40, max_bulk: 50, max_args: 20, unauthenticated: false };
        let whole = hear_in_pieces(&input, &[], &limits);
        prop_assert_eq!(hear_in_pieces(&input, &cuts(input.len(), &seeds), &limits), whole);
    }

    #[test]
    fn damaged_requests_mean_the_same_in_any_split(
        requests in prop::collection::vec(request(), 1..4),
        at in any::<prop::sample::Index>(),
        byte: u8,
        seeds in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut input: Vec<u8> = requests.into_iter().flat_map(|(bytes, _)| bytes).collect();
        let at = at.index(input.len());
        input[at] = byte;
        let limits = Limits::default();
        let whole = hear_in_pieces(&input, &[], &limits);
        prop_assert_eq!(hear_in_pieces(&input, &cuts(input.len(), &seeds), &limits), whole);
    }
}

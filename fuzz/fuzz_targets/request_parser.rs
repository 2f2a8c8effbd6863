//! Requests mean the same however their bytes are cut into reads, and no bytes make the parser
//! panic.
//!
//! The first byte of the input picks the limits, the second the size of the reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::{Args, Limits, Progress, ProtocolError, RequestParser, Span};

#[derive(Debug, Default, PartialEq)]
struct Heard {
    requests: Vec<Vec<Vec<u8>>>,
    error: Option<ProtocolError>,
}

fn copy(args: Args<'_>) -> Vec<Vec<u8>> {
    args.iter().map(<[u8]>::to_vec).collect()
}

fn hear(input: &[u8], read: usize, limits: &Limits) -> Heard {
    let mut parser = RequestParser::new();
    let mut heard = Heard::default();
    let mut spans: Vec<Span> = Vec::new();
    let (mut start, mut end) = (0, 0);
    while end < input.len() {
        end = input.len().min(end + read);
        loop {
            let pending = &input[start..end];
            let consumed = match parser.parse(pending, limits, &mut spans) {
                Ok(Progress::Request { consumed, args }) => {
                    assert_eq!(spans.len(), args);
                    assert!(args > 0 && args <= limits.max_args);
                    let args = Args::new(pending, &spans);
                    assert!(args.iter().all(|arg| arg.len() <= limits.max_bulk));
                    heard.requests.push(copy(args));
                    consumed
                }
                Ok(Progress::Inline { consumed, args }) => {
                    assert!(!args.is_empty());
                    heard.requests.push(copy(args.as_args()));
                    consumed
                }
                Ok(Progress::Empty { consumed }) => consumed,
                Ok(Progress::NeedMore { .. }) => break,
                Err(error) => {
                    heard.error = Some(error);
                    return heard;
                }
            };
            assert!(consumed > 0 && consumed <= pending.len());
            assert_eq!(parser.partial_args(), 0);
            start += consumed;
            spans.clear();
        }
        assert!(spans.is_empty());
    }
    heard
}

fuzz_target!(|data: &[u8]| {
    let [limits, read, input @ ..] = data else {
        return;
    };
    let limits = match limits % 3 {
        0 => Limits::default(),
        1 => Limits::UNAUTHENTICATED,
        _ => Limits {
            max_args: 8,
            max_bulk: 32,
            max_inline: 40,
            unauthenticated: false,
        },
    };
    let whole = hear(input, input.len().max(1), &limits);
    assert_eq!(hear(input, usize::from(*read) + 1, &limits), whole);
    assert_eq!(hear(input, 1, &limits), whole);
});

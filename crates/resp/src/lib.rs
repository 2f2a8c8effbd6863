//! The Redis protocol as bytes: requests in, replies out, and numbers as text.
//!
//! Nothing here knows a socket, a key or a command. [`RequestParser`] turns the bytes of a
//! connection into requests that borrow from its input buffer ([`Args`]); [`Reply`] writes replies
//! in RESP2 or RESP3 into an [`Output`]; [`decode`] reads replies again, for tests and for the
//! connection to a primary; [`request`] writes requests, for logs and for other servers. [`number`]
//! reads and prints integers and floating-point numbers exactly as Redis clients know them.

mod args;
mod decode;
pub mod number;
mod output;
mod parser;
mod reply;
pub mod request;
mod text;

pub use args::{Args, ArgsIter, OwnedArgs, Span};
pub use decode::{DecodeError, DecodeLimits, Value, decode, decode_with};
pub use number::F80;
pub use output::{Mark, Output, SHARED_MIN_BYTES, SharedBytes};
pub use parser::{
    BULK_BYTES_MAX, INLINE_BYTES_MAX, Limits, Progress, ProtocolError, RequestParser,
    UNAUTHENTICATED_ARGS_MAX, UNAUTHENTICATED_BULK_BYTES_MAX,
};
pub use reply::{Deferred, Protocol, Reply};
pub use text::{UnbalancedQuotes, needs_quotes, quoted, split_args};

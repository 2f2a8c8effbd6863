//! The Redis protocol as bytes: requests in, replies out, and numbers as text.
//!
//! The crate has no sockets, keys or commands. [`RequestParser`] turns the bytes of a connection
//! into requests that borrow from its input buffer ([`Args`]); [`Reply`] writes replies in RESP2 or
//! RESP3 into an [`Output`]; [`decode`] reads replies again, for tests and for the connection to a
//! primary; [`request`] writes requests, for logs and for other servers. [`number`] reads and
//! prints integers and floating-point numbers exactly as Redis does.

mod args;
mod decode;
pub mod number;
mod output;
mod parser;
mod quote;
mod reply;
pub mod request;
mod split;

pub use args::{Args, ArgsIter, OwnedArgs, Span};
pub use decode::{DecodeError, DecodeLimits, Value, decode, decode_with};
pub use number::F80;
pub use output::{Mark, Output, SharedBytes};
pub use parser::{Limits, Progress, ProtocolError, RequestParser};
pub use quote::quoted;
pub use reply::{Deferred, Protocol, Reply};
pub use split::{UnbalancedQuotes, split_args};

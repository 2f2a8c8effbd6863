//! Options of `cjson`, which a run may set and which end with it.

/// What infinities and NaN become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidNumbers {
    Refused,
    Written,
    Null,
}

/// Options of one instance of the library.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) sparse_convert: bool,
    pub(crate) sparse_ratio: i32,
    pub(crate) sparse_safe: i32,
    pub(crate) encode_depth_max: i32,
    pub(crate) decode_depth_max: i32,
    pub(crate) encode_invalid: InvalidNumbers,
    pub(crate) decode_invalid: bool,
    pub(crate) precision: i32,
    pub(crate) keep_buffer: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth_max: 1000,
            decode_depth_max: 1000,
            encode_invalid: InvalidNumbers::Refused,
            decode_invalid: true,
            precision: 14,
            keep_buffer: true,
        }
    }
}

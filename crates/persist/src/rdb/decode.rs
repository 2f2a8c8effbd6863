//! Reading values and files.

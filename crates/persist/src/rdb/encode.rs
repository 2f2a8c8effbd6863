//! Writing values and files.

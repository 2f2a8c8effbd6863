//! Tests of the log through its public interface, on storage in memory that can fail.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, also in what its cases share"
)]

mod check;
mod crash;
mod faults;
mod files;
mod history;
mod loading;
mod received;
mod scopes;
mod support;

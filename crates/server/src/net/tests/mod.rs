//! Tests of the event loops.

mod simulation;

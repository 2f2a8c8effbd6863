mod harness;
mod keys;
mod strings;

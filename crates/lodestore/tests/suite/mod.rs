mod crash;
mod harness;
mod keys;
mod random;
mod strings;

mod clients;
mod connections;
mod crash;
mod harness;
mod keys;
mod linearizability;
mod random;
mod strings;

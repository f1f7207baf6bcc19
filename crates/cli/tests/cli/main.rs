//! One binary with every test of the program `timestop`, driven as its users drive it; a module a
//! subcommand.

mod dump;
mod lab;
mod run;
mod serve;
mod support;

//! One binary with every test of the program `timestop`, driven as its users drive it; a module a
//! subcommand, and one for programs that compute.

mod dump;
mod hogs;
mod lab;
mod preemption;
mod run;
mod serve;
mod support;

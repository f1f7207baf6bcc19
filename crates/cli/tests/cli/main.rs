//! One binary with every test of the program `timestop`, driven as its users drive it; a module a
//! subcommand, one for programs that compute, and one for what threads are promised.

mod check;
mod children;
mod conformance;
mod debugging;
mod dump;
mod fallback;
mod hogs;
mod html;
mod lab;
mod lab_outside;
mod lab_page;
mod lab_report;
mod lab_servers;
mod limits;
mod package;
mod preemption;
mod run;
mod serve;
mod stats;
mod support;
mod trace;

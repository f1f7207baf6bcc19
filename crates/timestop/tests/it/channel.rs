//! `timestop::channel` between fibers, and between fibers and OS threads.

mod basics;
mod cancelling;
mod crossbeam;
mod golang;
mod selecting;
mod stress;

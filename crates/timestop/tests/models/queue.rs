//! `timestop::queue` between fibers, and between fibers and OS threads.

mod cancelling;
mod comparing;
mod cpython;
mod stress;

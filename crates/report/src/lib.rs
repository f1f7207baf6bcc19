//! unfinished
#![allow(dead_code, missing_docs)]
mod modules;
pub mod unwind;

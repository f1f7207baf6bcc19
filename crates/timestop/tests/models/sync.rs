//! `timestop::sync` between fibers, and between fibers and OS threads. The modules are named after the parts
//! of Go whose tests' cases they have (Copyright The Go Authors, BSD-style), in our words and code.

mod context;
mod errgroup;
mod rate;
mod singleflight;
mod waitgroup;

/// What a panic says.
fn text<T>(f: impl FnOnce() -> T) -> String {
    let f = std::panic::AssertUnwindSafe(f);
    let payload = std::panic::catch_unwind(f).err().expect("it panics");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast_ref::<&str>().expect("a text")).to_owned(),
    }
}

//! Fibers that compute in code of every kind: their own, libc's, the allocator, a sort's comparator, formatting, the
//! unwinder, a thread-local's destructor, a callback under the dynamic linker's lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::hint::black_box;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once, OnceLock};
use std::{slice, thread};

use super::{Hogs, Tally, alone, assert_preempted, beside_hogs, compute, is_chaos, others_go_on};
use crate::support::pattern;

#[test]
fn endless_loops() {
    alone(1, || {
        for _ in 0..4 {
            // Never ends, and is not waited for: the process ends before them.
            timestop::spawn(|| -> () {
                loop {
                    std::hint::spin_loop();
                }
            });
        }
        for _ in 0..5 {
            others_go_on();
        }
        assert_preempted(4);
    });
}

#[test]
fn computing() {
    alone(1, || {
        let expected = [0, 1].map(|seed| compute(seed, 10));
        beside_hogs(move |index, _| assert_eq!(compute(index as u64, 10), expected[index]));
        assert_preempted(if is_chaos() { 200 } else { 2 });
    });
}

#[test]
fn on_two_workers() {
    alone(2, || {
        let expected: Vec<_> = (0..6).map(|seed| compute(seed, 10)).collect();
        let hogs = Hogs::start(6, move |index, _| {
            assert_eq!(compute(index as u64, 10), expected[index]);
        });
        for _ in 0..5 {
            others_go_on();
        }
        hogs.end();
        assert_preempted(6);
    });
}

#[test]
fn allocating() {
    alone(1, || {
        beside_hogs(|index, round| {
            let mut blocks: Vec<Box<[u8]>> = Vec::new();
            for step in 0..200_usize {
                let size = 1 + (round as usize * 31 + step * step * 7) % 5_000;
                blocks.push(vec![step as u8; size].into());
                if step % 3 == 0 {
                    blocks.swap_remove(step % blocks.len());
                }
            }
            // From the kernel and back to it.
            blocks.push(vec![index as u8; 300_000].into());
            for block in blocks {
                assert!(block.iter().all(|&byte| byte == block[0]), "two own one block");
            }
        });
    });
}

#[test]
fn allocating_for_one_another() {
    // A block is freed by another fiber than its own: the caches of both are at work.
    alone(2, || {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<Vec<u64>>>(4);
        let receiver = Arc::new(std::sync::Mutex::new(receiver));
        let takers = Hogs::start(2, move |_, _| {
            let next = receiver.lock().expect("nobody panics").recv();
            for block in next.into_iter().flatten() {
                assert!(block.iter().all(|&word| word == block[0]));
            }
        });
        let makers = Hogs::start(2, move |index, round| {
            let blocks = (1..200).map(|size| vec![round << 8 | index as u64; size]).collect();
            sender.send(blocks).expect("a taker listens");
        });
        for _ in 0..3 {
            others_go_on();
        }
        // Without makers the takers find the channel closed, and take nothing until they are stopped.
        makers.end();
        takers.end();
    });
}

#[test]
fn copying() {
    alone(1, || {
        let bytes = pattern(7, 8 << 20);
        beside_hogs(move |_, _| {
            let copy = bytes.clone();
            assert!(copy == bytes);
            let mut shifted = copy;
            let end = shifted.len() - 1;
            shifted.copy_within(..end, 1);
            assert!(shifted[1..] == bytes[..end]);
        });
    });
}

unsafe extern "C" fn compare(left: *const c_void, right: *const c_void) -> c_int {
    // SAFETY: qsort passes elements of the array, which are of this type.
    let left = unsafe { *left.cast::<u64>() };
    // SAFETY: as above.
    let right = unsafe { *right.cast::<u64>() };
    black_box(left).cmp(&black_box(right)) as c_int
}

#[test]
fn sorting() {
    alone(1, || {
        beside_hogs(|index, round| {
            let mut numbers: Vec<u64> = (0..20_000)
                .map(|number: u64| (number ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .chain([index as u64])
                .collect();
            let sum = numbers.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number));
            // SAFETY: the array is of that many elements of that size, and `compare` takes such.
            unsafe {
                libc::qsort(
                    numbers.as_mut_ptr().cast(),
                    numbers.len(),
                    size_of::<u64>(),
                    Some(compare),
                );
            }
            assert!(numbers.is_sorted());
            assert_eq!(numbers.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number)), sum);
        });
    });
}

#[test]
fn formatting() {
    alone(1, || {
        beside_hogs(|index, round| {
            let number = round as f64 * 1.5 + index as f64;
            let text = format!("{index} {round:>20} {number:.3e} {:?}", [number; 4]);
            assert!(text.starts_with(&format!("{index} ")), "{text}");

            let mut buffer = [0_u8; 128];
            // SAFETY: the buffer is as long as said, and the arguments are what the format asks for.
            let length = unsafe {
                libc::snprintf(
                    buffer.as_mut_ptr().cast::<c_char>(),
                    buffer.len(),
                    c"%d %.17g %20llu %s".as_ptr(),
                    index as c_int,
                    number,
                    round,
                    c"tail".as_ptr(),
                )
            };
            let text = std::str::from_utf8(&buffer[..length as usize]).expect("ASCII");
            let words: Vec<_> = text.split_whitespace().collect();
            assert_eq!(words[1].parse(), Ok(number), "{text}");
            assert_eq!((words[2].parse(), words[3]), (Ok(round), "tail"), "{text}");

            // Standard output's own lock, which others take too.
            writeln!(std::io::stdout(), "{index}").expect("a pipe to the parent");
        });
    });
}

/// Adds one as it is dropped.
struct Count<'a>(&'a RefCell<HashMap<u32, u64>>, u32);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        assert!(thread::panicking());
        black_box(compute(u64::from(self.1), 1));
        *self.0.borrow_mut().entry(self.1).or_default() += 1;
    }
}

fn descend(levels: u32, drops: &RefCell<HashMap<u32, u64>>) {
    let _count = Count(drops, levels);
    if levels == 0 {
        panic::resume_unwind(Box::new(7_usize));
    }
    descend(levels - 1, drops);
    // Not a tail call.
    black_box(levels);
}

#[test]
fn unwinding() {
    const DEPTH: u32 = 100;
    alone(2, || {
        beside_hogs(|_, _| {
            let drops = RefCell::new(HashMap::new());
            let payload = panic::catch_unwind(AssertUnwindSafe(|| descend(DEPTH, &drops)))
                .expect_err("it panics");
            assert_eq!(payload.downcast_ref(), Some(&7_usize));
            assert!(!thread::panicking());
            let drops = drops.into_inner();
            assert_eq!(drops.len(), DEPTH as usize + 1);
            assert!(drops.values().all(|&count| count == 1), "a frame unwound twice");
        });
    });
}

#[test]
fn destructors_of_thread_locals() {
    struct Computes(Arc<Tally>);
    impl Drop for Computes {
        fn drop(&mut self) {
            let expected = compute(1, 20);
            for _ in 0..50 {
                assert_eq!(compute(1, 20), expected);
            }
            self.0.add();
        }
    }
    thread_local!(static LAST: RefCell<Option<Computes>> = const { RefCell::new(None) });

    alone(1, || {
        let (begun, ended) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
        let (begin, end) = (begun.clone(), ended.clone());
        beside_hogs(move |_, _| {
            begin.add();
            let computes = Computes(end.clone());
            timestop::spawn(move || LAST.set(Some(computes))).join().expect("no panic");
        });
        assert_eq!(ended.get(), begun.get());
    });
}

#[test]
fn callbacks_of_the_dynamic_linker() {
    unsafe extern "C" fn visit(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: the dynamic linker passes a record that lives through the call.
        let info = unsafe { &*info };
        // SAFETY: the record says where the table is and how long.
        let headers = unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).count();
        // SAFETY: what our own caller passes.
        let count = unsafe { &mut *data.cast::<u64>() };
        black_box(compute(*count, 10));
        *count += loaded as u64;
        0
    }
    fn segments() -> u64 {
        let mut count = 0_u64;
        // SAFETY: `visit` takes a counter as its data, and this one lives through the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut count).cast()) };
        count
    }

    // The callback computes under the lock that every panic takes.
    alone(2, || {
        let expected = segments();
        assert!(expected > 0);
        beside_hogs(move |index, _| {
            if index == 0 {
                assert_eq!(segments(), expected);
            } else {
                panic::catch_unwind(|| panic::resume_unwind(Box::new(()))).expect_err("it panics");
            }
        });
    });
}

#[test]
fn initialisers_that_run_once() {
    alone(1, || {
        beside_hogs(|_, round| {
            let once = Arc::new((Once::new(), OnceLock::new(), Tally::default()));
            let all: Vec<_> = (0..3)
                .map(|_| {
                    let once = once.clone();
                    timestop::spawn(move || {
                        let (once, value, calls) = &*once;
                        once.call_once(|| {
                            compute(round, 50);
                            calls.add();
                        });
                        assert_eq!(calls.get(), 1);
                        *value.get_or_init(|| compute(round, 50))
                    })
                })
                .collect();
            let expected = compute(round, 50);
            for one in all {
                assert_eq!(one.join().expect("no panic"), expected);
            }
        });
    });
}

#[test]
fn adopted_threads() {
    alone(1, || {
        timestop::adopt_threads().expect("fibers run here");
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let hogs: Vec<_> = (0..2)
            .map(|seed| {
                let stop = stop.clone();
                thread::spawn(move || {
                    assert!(timestop::is_fiber());
                    let expected = compute(seed, 10);
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        assert_eq!(compute(seed, 10), expected);
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            others_go_on();
        }
        // Threads among themselves: scoped ones, parked ones.
        let parked = thread::spawn(thread::park);
        let sum = thread::scope(|scope| {
            let parts = [1, 2, 3].map(|part| scope.spawn(move || part));
            parts.map(|part| part.join().expect("no panic")).iter().sum::<i32>()
        });
        assert_eq!(sum, 6);
        parked.thread().unpark();
        parked.join().expect("no panic");
        assert_preempted(2);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        hogs.into_iter().for_each(|hog| hog.join().expect("no panic"));
    });
}

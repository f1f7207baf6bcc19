//! Where a program, or a part of it, is not preempted, or at other times: by settings, and by
//! `timestop::without_preemption`. Others go on all the same.

use std::hint::{self, black_box};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, panic, thread};

use rustix::thread::gettid;
use timestop::without_preemption;

use super::{
    Hogs, Tally, alone, alone_with, assert_preempted, beside_hogs, compute, others_go_on,
    preemptions,
};
use crate::support::{is_child, until};

#[test]
fn by_settings() {
    for settings in [
        // Handed off instead.
        [("TIMESTOP_WORKERS", "1"), ("TIMESTOP_PREEMPT", "off")],
        [("TIMESTOP_WORKERS", "1"), ("TIMESTOP_SLICE", "1")],
        [("TIMESTOP_WORKERS", "2"), ("TIMESTOP_SLICE", "100")],
    ] {
        alone_with(&settings, || {
            beside_hogs(|index, _| {
                assert_eq!(compute(index as u64, 10), compute(index as u64, 10))
            });
            match env::var("TIMESTOP_PREEMPT").as_deref() {
                Ok("off") => assert_eq!(preemptions(), 0),
                _ => assert_preempted(1),
            }
        });
    }
}

#[test]
fn forbidden() {
    alone(1, || {
        // Others go on meanwhile: by hand-off.
        beside_hogs(|index, round| {
            let value = without_preemption(|| {
                let inner = without_preemption(|| compute(round, 10));
                // The outer one still holds.
                inner ^ compute(index as u64, 30)
            });
            assert_eq!(value, compute(round, 10) ^ compute(index as u64, 30));
        });

        // Alone, so that every preemption there is would be of this fiber.
        until("the others end", || timestop::stats().fibers == 1);
        let before = preemptions();
        without_preemption(|| {
            without_preemption(|| compute(1, 1_000));
            compute(2, 5_000);
        });
        assert_eq!(preemptions(), before, "preempted in a section that forbids it");
    });
}

#[test]
fn handed_off_after_two_slices() {
    alone_with(&[("TIMESTOP_WORKERS", "1")], || {
        let before = timestop::stats();
        let done = Arc::new(Tally::default());
        let adds = done.clone();
        // On the only worker, which this fiber does not let go of.
        let other = without_preemption(|| {
            let other = timestop::spawn(move || adds.add());
            while done.get() == 0 {
                hint::spin_loop();
            }
            other
        });
        let after = timestop::stats();
        assert_eq!(after.hand_offs, before.hand_offs + 1);
        // It was asked again and again before.
        assert!(after.refusals.disabled >= before.refusals.disabled + 2, "{after:?}");
        other.join().expect("no panic");
    });
}

#[test]
fn pinned() {
    // Resumed on another OS thread it would find out; it is handed off instead.
    alone(2, || {
        let hogs = Hogs::start(3, |index, _| {
            let _pin = timestop::pin();
            let own = gettid();
            for _ in 0..20 {
                black_box(compute(index as u64, 50));
                assert_eq!(gettid(), own, "a pinned fiber was moved");
            }
        });
        for _ in 0..3 {
            others_go_on();
        }
        hogs.end();
        assert!(timestop::stats().refusals.pinned > 0);
    });
}

#[test]
fn by_another_signal() {
    if is_child() {
        let config = timestop::Config::new().preempt_signal(libc::SIGUSR2);
        config.start().expect("fibers run here");
    }
    alone_with(&[("TIMESTOP_WORKERS", "1")], || {
        beside_hogs(|index, _| {
            assert_eq!(compute(index as u64, 10), compute(index as u64, 10));
        });
        assert_preempted(1);
        let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.expect("Linux has it").trim(), 16);
        let caught = caught.expect("a number");
        let has = |signal: libc::c_int| caught & 1 << (signal - 1) != 0;
        assert!(has(libc::SIGUSR2) && !has(libc::SIGURG), "{caught:#x}");
    });
}

#[test]
fn a_panic_ends_a_section() {
    alone(1, || {
        let payload = panic::catch_unwind(|| {
            without_preemption(|| {
                let inner = panic::catch_unwind(|| {
                    without_preemption(|| panic::resume_unwind(Box::new(1)));
                });
                assert_eq!(inner.expect_err("it panics").downcast_ref(), Some(&1));
                panic::resume_unwind(Box::new(2));
            });
        });
        assert_eq!(payload.expect_err("it panics").downcast_ref(), Some(&2));
        // Preempted again: the endless loop is this very fiber, and another ends it.
        let before = preemptions();
        let (stop, others) = (Arc::new(Tally::default()), Arc::new(Tally::default()));
        let (stops, other) = (stop.clone(), others.clone());
        let ends = timestop::spawn(move || {
            others_go_on();
            other.add();
            stops.add();
        });
        while stop.get() == 0 {
            hint::spin_loop();
        }
        ends.join().expect("no panic");
        assert_eq!(others.get(), 1);
        assert!(preemptions() > before, "a panic left preemption off");
    });
}

#[test]
fn waiting_in_a_section() {
    alone(1, || {
        beside_hogs(|_, _| {
            without_preemption(|| {
                thread::sleep(Duration::from_micros(10));
                thread::yield_now();
            })
        });
        // The sections were the fibers' own.
        let hogs = Hogs::start(2, |index, _| {
            black_box(compute(index as u64, 10));
        });
        others_go_on();
        hogs.end();
        assert_preempted(1);
    });
}

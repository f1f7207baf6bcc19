//! Everything that a fiber has in registers is there when it goes on, on whichever OS thread that is.
//!
//! A few fibers on fewer workers fill classes of registers with patterns of their own, spin in assembly that touches
//! nothing else, and look at what is there afterwards (`timestop_registers`). `TIMESTOP_PREEMPTIONS` says how many
//! preemptions each test has to survive.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::gettid;
use timestop_registers::Class;

use super::{CHAOS, passes_within, preempted, preemptions};
use crate::support::{DEADLINE, child, fan_out, is_child, on_fiber_within, splitmix};

/// Preemptions that each class survives by default, and all of them among one another.
const FEW: u64 = 3_000;
const MANY: u64 = 100_000;

/// Turns of the loop in which registers are held: some hundred microseconds, more than lies between two preemptions.
const TURNS: u64 = 200_000;

/// More than workers, so that they change places.
const FIBERS: usize = 5;
const WORKERS: usize = 2;

/// Holds registers of these classes in turn, in fibers that are preempted all the time.
fn survives(name: &str, classes: &'static [Class], by_default: u64) {
    let (missing, classes): (Vec<_>, Vec<_>) =
        classes.iter().copied().partition(|class| class.missing().is_some());
    for class in missing {
        println!("skipped: {class:?}: {}", class.missing().expect("it was"));
    }
    if classes.is_empty() {
        return;
    }
    let wanted = env::var("TIMESTOP_PREEMPTIONS")
        .map_or(by_default, |text| text.parse().unwrap_or_else(|_| panic!("{text} is no number")));
    // A tenth of that where nobody else wants the machine.
    let limit = DEADLINE + Duration::from_millis(2 * wanted);
    if !is_child() {
        let mut command = child(&format!("preemption::registers::{name}"));
        command.env("TIMESTOP_WORKERS", WORKERS.to_string()).env("TIMESTOP_CHAOS", CHAOS);
        let printed = passes_within(limit, &mut command);
        if let Some((_, count)) = printed.split_once(&format!("{name}: ")) {
            println!("{name}: {}", count.lines().next().unwrap_or_default());
        }
        return;
    }
    let name = name.to_owned();
    on_fiber_within(limit, move || {
        let enough = preemptions() + wanted;
        let moves = Arc::new(AtomicU64::new(0));
        let moved = moves.clone();
        fan_out(FIBERS.max(classes.len()), move |index| {
            let mut seed = index as u64;
            for number in index.. {
                if preempted(enough) {
                    break;
                }
                let class = classes[number % classes.len()];
                let hold =
                    move |seed| class.hold(seed, TURNS).unwrap_or_else(|what| panic!("{what}"));
                let before = gettid();
                hold(splitmix(&mut seed));
                moved.fetch_add(u64::from(gettid() != before), Ordering::Relaxed);
                if number % 16 == 0 {
                    // Now and then one that waits, which makes room and takes it.
                    timestop::spawn(move || hold(splitmix(&mut seed))).join().expect("no panic");
                }
            }
        });
        let moves = moves.load(Ordering::Relaxed);
        println!("{name}: {} preemptions, {moves} moves to another OS thread", preemptions());
        assert!(preempted(enough));
        assert!(moves > 0, "none was moved as it held registers");
    });
}

/// A test a class.
macro_rules! classes {
    ($($name:ident: $class:ident,)*) => {$(
        #[test]
        fn $name() {
            survives(stringify!($name), &[Class::$class], FEW);
        }
    )*};
}

classes! {
    general: General,
    flags: Flags,
    red_zone: RedZone,
    x87: X87,
    mxcsr: Mxcsr,
    xmm: Xmm,
    ymm: Ymm,
    zmm: Zmm,
    tiles: Tiles,
}

/// What one fiber leaves in the registers of an OS thread is not what the next one finds.
#[test]
fn all_at_once() {
    survives("all_at_once", &Class::ALL, MANY);
}

//! Fibers that come and go: joined, scoped, named, cancelled.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::dice::Dice;
use super::part::{self, Outcome, Part, same};

/// What is cancelled would sleep for so long.
const LONG: Duration = Duration::from_secs(3600);

pub(super) fn part() -> Part {
    Part::of("spawning", 3, |_| round)
}

fn round(dice: &mut Dice) -> Outcome {
    let inputs: Vec<u64> = (0..dice.up_to(8)).map(|_| dice.number() >> 32).collect();
    let expected: Vec<u64> = inputs.iter().map(|&input| work(input)).collect();

    let fibers: Vec<_> =
        inputs.iter().map(|&input| part::spawn(None, move || work(input))).collect();
    let joined: Result<Vec<u64>, _> = fibers.into_iter().map(|fiber| fiber.join()).collect();
    same("results of fibers", joined.ok().as_ref(), Some(&expected))?;

    let scoped: Option<Vec<u64>> = timestop::scope(|scope| {
        let fibers: Vec<_> = inputs.iter().map(|input| scope.spawn(|| work(*input))).collect();
        fibers.into_iter().map(|fiber| fiber.join().ok()).collect()
    });
    same("results of a scope", scoped, Some(expected))?;

    let name = format!("chaos {}", dice.below(1000));
    let named = part::spawn(Some(&name), || thread::current().name().map(str::to_owned));
    same("a name", named.join().ok().flatten(), Some(name))?;

    let (started, starts) = mpsc::channel();
    let sleeper = part::spawn(None, move || {
        started.send(()).map_err(|_| "nobody waits for the sleeper")?;
        thread::sleep(LONG);
        Ok::<_, &str>(())
    });
    // Before it sleeps, or while it does.
    if dice.below(2) == 0 {
        same("a sleeper starts", starts.recv(), Ok(()))?;
    }
    sleeper.cancel();
    let ended = sleeper.join().map_err(|_| "a sleeper panicked".to_owned())?;
    // Dropped only now: a sleeper that starts late still has somebody to tell.
    drop(starts);
    same("a cancelled sleeper ends", ended, Ok(()))
}

fn work(input: u64) -> u64 {
    (0..1_000).fold(input, |sum, step| std::hint::black_box(sum.wrapping_mul(31) ^ step))
}

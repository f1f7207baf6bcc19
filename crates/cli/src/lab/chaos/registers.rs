//! Registers: each class is filled with random bits, held for some tens of microseconds, and read back
//! (`timestop_registers`).

use timestop_registers::Class;

use super::dice::Dice;
use super::part::Part;

/// Turns of the holding loop, at most: a tenth of a millisecond or so.
const MOST_TURNS: usize = 100_000;

pub(super) fn part() -> Part {
    let classes: Vec<_> =
        Class::ALL.into_iter().filter(|class| class.missing().is_none()).collect();
    Part::of("registers", 4, |_| {
        let classes = classes.clone();
        move |dice: &mut Dice| {
            let turns = dice.up_to(MOST_TURNS) as u64;
            classes.iter().try_for_each(|class| class.hold(dice.number(), turns))
        }
    })
}

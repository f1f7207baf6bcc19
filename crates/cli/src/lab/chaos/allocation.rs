//! The heap: blocks of all sizes that come, grow and go, maps, sorting. What was written must still be there.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::dice::Dice;
use super::part::{Outcome, Part, same};

const BLOCKS: usize = 64;
const KEYS: usize = 512;

pub(super) fn part() -> Part {
    Part::of("allocation", 4, |_| {
        let mut heap = Heap::default();
        move |dice| heap.round(dice)
    })
}

#[derive(Default)]
struct Heap {
    blocks: Vec<Block>,
    keys: VecDeque<u64>,
    map: HashMap<u64, String>,
    tree: BTreeMap<u64, Box<[u64]>>,
}

struct Block {
    first: u8,
    bytes: Vec<u8>,
}

impl Block {
    fn new(dice: &mut Dice) -> Self {
        let mut block = Block { first: dice.number() as u8, bytes: Vec::new() };
        block.grow(dice);
        block
    }

    /// Small ones mostly; beyond 128 KiB malloc asks the kernel for each.
    fn grow(&mut self, dice: &mut Dice) {
        let most = if dice.below(64) == 0 { 256 * 1024 } else { 2048 };
        let from = self.bytes.len();
        let to = from + dice.up_to(most);
        self.bytes.extend((from..to).map(|at| self.first.wrapping_add(at as u8)));
    }

    fn check(&self) -> Outcome {
        let wrong = |(at, byte): (usize, &u8)| *byte != self.first.wrapping_add(at as u8);
        match self.bytes.iter().enumerate().find(|each| wrong(*each)) {
            None => Ok(()),
            Some((at, byte)) => {
                let length = self.bytes.len();
                Err(format!("byte {at} of a block of {length} is {byte:#x}"))
            }
        }
    }
}

impl Heap {
    fn round(&mut self, dice: &mut Dice) -> Outcome {
        for _ in 0..16 {
            self.churn(dice)?;
            self.look_up(dice)?;
        }
        sort(dice)
    }

    fn churn(&mut self, dice: &mut Dice) -> Outcome {
        if self.blocks.len() < BLOCKS {
            self.blocks.push(Block::new(dice));
            return Ok(());
        }
        let at = dice.below(BLOCKS);
        self.blocks[at].check()?;
        match dice.below(4) {
            0 if self.blocks[at].bytes.len() < 16 * 1024 => self.blocks[at].grow(dice),
            1 => {
                let Block { first, bytes } = &self.blocks[at];
                self.blocks[at] = Block { first: *first, bytes: bytes.clone() };
            }
            _ => {
                self.blocks.swap_remove(at);
            }
        }
        Ok(())
    }

    fn look_up(&mut self, dice: &mut Dice) -> Outcome {
        let key = dice.number();
        self.keys.push_back(key);
        self.map.insert(key, format!("{key:x}"));
        self.tree.insert(key, vec![key; 1 + (key % 32) as usize].into());
        if self.keys.len() < KEYS {
            return Ok(());
        }
        let Some(oldest) = self.keys.pop_front() else { return Ok(()) };
        same("a value of a map", self.map.remove(&oldest), Some(format!("{oldest:x}")))?;
        let words = self.tree.remove(&oldest);
        let intact = words.is_some_and(|words| words.iter().all(|word| *word == oldest));
        same("a value of a tree is intact", intact, true)
    }
}

fn sort(dice: &mut Dice) -> Outcome {
    let mut numbers: Vec<u64> = (0..500).map(|_| dice.number() >> 16).collect();
    let sum: u64 = numbers.iter().sum();
    numbers.sort_unstable();
    same("numbers are sorted", numbers.is_sorted(), true)?;
    same("a sum after sorting", numbers.iter().sum(), sum)
}

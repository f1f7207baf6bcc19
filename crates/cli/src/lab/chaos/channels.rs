//! Channels: numbers go to a partner and come back, all of them and in order.

use std::sync::mpsc;

use super::dice::Dice;
use super::part::{self, Outcome, Part, same};

pub(super) fn part() -> Part {
    Part::of("channels", 3, |nth| {
        // Opened on the loop's own fiber: the partner is one more.
        let mut line = None;
        move |dice: &mut Dice| line.get_or_insert_with(|| Line::open(nth)).round(dice)
    })
}

/// To the partner, which answers until there is nobody to ask.
struct Line {
    ask: Box<dyn Fn(u64) -> Result<(), String> + Send>,
    answers: mpsc::Receiver<u64>,
}

impl Line {
    fn open(nth: usize) -> Self {
        let (answer, answers) = mpsc::channel();
        let gone = "the partner of a channel is gone";
        let ask: Box<dyn Fn(u64) -> Result<(), String> + Send> = match nth {
            0 => {
                let (sender, questions) = mpsc::channel();
                part::spawn(None, move || reply_to(questions.iter(), &answer));
                Box::new(move |number| sender.send(number).map_err(|_| gone.to_owned()))
            }
            1 => {
                let (sender, questions) = mpsc::sync_channel(4);
                part::spawn(None, move || reply_to(questions.iter(), &answer));
                Box::new(move |number| sender.send(number).map_err(|_| gone.to_owned()))
            }
            _ => {
                let (sender, questions) = crossbeam_channel::bounded(1);
                part::spawn(None, move || reply_to(questions.iter(), &answer));
                Box::new(move |number| sender.send(number).map_err(|_| gone.to_owned()))
            }
        };
        Line { ask, answers }
    }

    fn round(&mut self, dice: &mut Dice) -> Outcome {
        let numbers: Vec<u64> = (0..dice.up_to(32)).map(|_| dice.number()).collect();
        numbers.iter().try_for_each(|&number| (self.ask)(number))?;
        for &number in &numbers {
            same("an answer over a channel", self.answers.recv(), Ok(answer_to(number)))?;
        }
        same("answers beyond the last", self.answers.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}

fn reply_to(mut questions: impl Iterator<Item = u64>, answer: &mpsc::Sender<u64>) {
    // Nobody to answer to: nobody asks.
    let _ = questions.try_for_each(|question| answer.send(answer_to(question)));
}

fn answer_to(question: u64) -> u64 {
    question.rotate_left(7) ^ 1
}

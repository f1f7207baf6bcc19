//! Formatting, and reading back what was written.

use std::fmt::Write;

use super::dice::Dice;
use super::part::{Outcome, Part, same};

pub(super) fn part() -> Part {
    Part::of("text", 2, |_| {
        let mut buffer = String::new();
        move |dice: &mut Dice| (0..16).try_for_each(|_| round(&mut buffer, dice))
    })
}

fn round(buffer: &mut String, dice: &mut Dice) -> Outcome {
    let whole = dice.number();
    let part = whole as f64 / 1024.0;
    let words = vec![(whole >> 32) as u32, whole as u32];
    buffer.clear();
    write!(buffer, "{whole} {whole:#x} {part:?} {part:e} {words:?}").map_err(|e| e.to_string())?;
    let mut fields = buffer.splitn(5, ' ');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    same("a number in digits", field().parse(), Ok(whole))?;
    let hexadecimal = field();
    let digits = hexadecimal.trim_start_matches("0x");
    same("a number in hexadecimal", u64::from_str_radix(digits, 16), Ok(whole))?;
    same("a float", field().parse(), Ok(part))?;
    same("a float with an exponent", field().parse(), Ok(part))?;
    same("a list", field(), format!("[{}, {}]", words[0], words[1]))
}

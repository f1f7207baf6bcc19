//! Numbers as people read them.

/// `12 ms`, `3.2 s`, `5 min`.
pub(crate) fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match nanoseconds / 1_000_000 {
        0..1_000 => format!("{} ms", nanoseconds / 1_000_000),
        1_000..120_000 => format!("{seconds:.1} s"),
        120_000..7_200_000 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// `0.2–9.8 s`: one where both are the same.
pub(crate) fn durations(least: u64, most: u64) -> String {
    let (from, to) = (duration(least), duration(most));
    if from == to {
        return to;
    }
    match (from.rsplit_once(' '), to.rsplit_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number}–{to}"),
        _ => format!("{from}–{to}"),
    }
}

/// `12,345`.
pub(crate) fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["1", "999", "1,000", "12,345", "1,234,567"].map(str::to_owned),
            [number(1), number(999), number(1000), number(12345), number(1_234_567)]
        );
        assert_eq!(durations(1_200_000_000, 9_800_000_000), "1.2–9.8 s");
        assert_eq!(durations(200_000_000, 9_800_000_000), "200 ms–9.8 s");
        assert_eq!(durations(5_000_000, 5_100_000), "5 ms");
    }
}

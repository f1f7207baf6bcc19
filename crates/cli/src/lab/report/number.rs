//! Numbers as people read them.

/// Three significant digits or more, and thousands apart.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        // Not "0.00" for what is not nothing.
        size if size >= 0.01 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let whole = text.find('.').unwrap_or(text.len());
    let digits = text[..whole].trim_start_matches('-').len();
    let mut grouped = String::new();
    for (at, character) in text.char_indices() {
        let after = whole.saturating_sub(at);
        if at < whole && after < digits && after % 3 == 0 && character.is_ascii_digit() {
            grouped.push(',');
        }
        grouped.push(character);
    }
    grouped
}

/// A round number at an axis: `20k`, `1.5M`.
pub(crate) fn short(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        size if size >= 1e-3 || size == 0.0 => (value, ""),
        _ => return format!("{value:e}"),
    };
    // Steps like 0.30000000000000004 are of the machine's making.
    let text = format!("{scaled:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if scaled.abs() >= 1000.0 {
        format!("{}{suffix}", number(scaled))
    } else {
        format!("{text}{suffix}")
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, text) in [
            (0.0, "0"),
            (64.0, "64"),
            (0.0123, "0.012"),
            (0.00123, "0.0012"),
            (0.123, "0.12"),
            (2.345678, "2.35"),
            (23.45678, "23.5"),
            (234.5678, "235"),
            (1000.0, "1,000"),
            (-1234567.0, "-1,234,567"),
            (123456.7, "123,457"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn numbers_at_an_axis_are_shorter() {
        for (value, text) in [
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (0.00001, "1e-5"),
            (2000.0, "2,000"),
            (20_000.0, "20k"),
            (1_500_000.0, "1.5M"),
            (2e9, "2G"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn words_are_listed() {
        let words = |words: &[&str]| list(&words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["a"]), "a");
        assert_eq!(words(&["a", "b", "c"]), "a, b and c");
    }
}

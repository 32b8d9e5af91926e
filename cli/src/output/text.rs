//! Numbers and foreign text for people.

use std::borrow::Cow;

/// Text that cannot drive a terminal: control characters are shown as escapes. Content of events
/// comes from anywhere, and is not to move the cursor or to turn the writing round.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for one in text.chars() {
        if is_dangerous(one) {
            shown.extend(one.escape_unicode());
        } else {
            shown.push(one);
        }
    }
    Cow::Owned(shown)
}

fn is_dangerous(one: char) -> bool {
    let turns_the_writing = matches!(
        one,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    (one.is_control() && one != '\n' && one != '\t') || turns_the_writing
}

/// The beginning of a text, on one line.
pub(crate) fn preview(text: &str, width: usize) -> String {
    let mut shown = String::new();
    let mut left = width;
    for one in text.chars() {
        if left == 0 {
            // The last one gives way to the mark.
            shown.pop();
            shown.push('\u{2026}');
            return shown;
        }
        left -= 1;
        shown.push(if one == '\n' || one == '\t' || one == '\r' {
            ' '
        } else {
            one
        });
    }
    shown
}

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 run`, `12,345 runs`.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    let unit = if number == 1 { one } else { many };
    format!("{} {unit}", count(number as u64))
}

/// `1.4 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = "B";
    let (mut whole, mut tenths) = (number, 0);
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "B" {
        format!("{whole} B")
    } else {
        format!("{whole}.{tenths} {unit}")
    }
}

/// `$1.2345` from micro-dollars.
pub(crate) fn usd(micros: u64) -> String {
    format!(
        "${}.{:04}",
        count(micros / 1_000_000),
        micros % 1_000_000 / 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let runs = |number| counted(number, "run", "runs");
        assert_eq!([0, 1, 1_234].map(runs), ["0 runs", "1 run", "1,234 runs"]);
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(printable("a \u{e9}\n\tb"), "a \u{e9}\n\tb");
        assert_eq!(printable("\u{1b}[2J\u{9b}1m"), "\\u{1b}[2J\\u{9b}1m");
        assert_eq!(printable("a\u{202e}b\r"), "a\\u{202e}b\\u{d}");
    }

    #[test]
    fn previews_are_one_line_of_the_width() {
        assert_eq!(preview("abc", 3), "abc");
        assert_eq!(preview("ab\ncd", 4), "ab \u{2026}");
        assert_eq!(preview("abc", 0), "\u{2026}");
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), shown);
        }
        for (number, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(usd(1_234_567), "$1.2345");
        assert_eq!(usd(90), "$0.0000");
    }
}

//! The whole terminal, for as long as somebody plays on it.

use super::printable;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Print, SetAttribute};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use unicode_width::UnicodeWidthChar as _;

/// Whether the terminal is taken now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken; it is given back however this ends.
#[derive(Debug)]
pub(crate) struct Screen(());

impl Screen {
    pub(crate) fn take() -> io::Result<Self> {
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        let this = Self(());
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(this)
    }

    /// Columns and rows.
    pub(crate) fn size() -> io::Result<(usize, usize)> {
        let (columns, rows) = size()?;
        Ok((columns.into(), rows.into()))
    }

    /// Draws these lines from the top, the first and the last one standing out; what is too much is
    /// cut. No character of them drives the terminal.
    pub(crate) fn draw(lines: &[String]) -> io::Result<()> {
        let (columns, rows) = Self::size()?;
        let mut out = io::stdout().lock();
        for (row, line) in (0..).zip(lines.iter().take(rows)) {
            let stands_out = row == 0 || usize::from(row) + 1 == lines.len();
            queue!(out, MoveTo(0, row))?;
            if stands_out {
                queue!(out, SetAttribute(Attribute::Reverse))?;
            }
            queue!(out, Print(cell(line, columns)))?;
            if stands_out {
                queue!(out, SetAttribute(Attribute::Reset))?;
            }
        }
        if lines.len() < rows {
            queue!(out, Clear(ClearType::FromCursorDown))?;
        }
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Gives the terminal back, if it is taken: also where the program is at fault, before that is said.
pub(crate) fn restore_terminal() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Whoever sees it is gone if this fails. What a terminal that reads nothing holds up is last.
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    }
}

/// Text on one line of exactly so many columns.
pub(crate) fn cell(text: &str, columns: usize) -> String {
    let (mut shown, mut left) = (String::new(), columns);
    let text = printable(text);
    for one in text.chars() {
        let one = if one == '\n' || one == '\t' { ' ' } else { one };
        let width = one.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        shown.push(one);
    }
    shown.extend(std::iter::repeat_n(' ', left));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_its_width_whatever_is_in_it() {
        for (text, columns, shown) in [
            ("abc", 5, "abc  "),
            ("abcdef", 3, "abc"),
            ("\u{65e5}\u{672c}", 3, "\u{65e5} "),
            ("a\u{301}b", 2, "a\u{301}b"),
            ("a\nb\tc", 5, "a b c"),
            ("", 2, "  "),
            ("\u{1b}[2J", 12, "\\u{1b}[2J   "),
            ("\u{202e}x", 9, "\\u{202e}x"),
        ] {
            assert_eq!(cell(text, columns), shown, "{text:?}");
        }
    }
}

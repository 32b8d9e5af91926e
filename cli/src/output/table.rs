//! Aligned tables and colour.

use super::Output;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, presets,
};

/// What something means, which decides its colour.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    Plain,
    /// Less important.
    Dim,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// Text in the colour of its tone.
pub(crate) fn paint(color: bool, tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Plain => return text.to_owned(),
        _ if !color => return text.to_owned(),
        Tone::Dim => Style::new().dimmed(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Warn => AnsiColor::Yellow.on_default().bold(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    };
    format!("{style}{text}{style:#}")
}

/// Where a column's text stands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
    columns: Vec<Align>,
    /// Columns without anything but dashes, which leave their room to others on a terminal.
    unfilled: Option<Vec<bool>>,
}

impl Table {
    pub(crate) fn new(output: &Output, columns: &[(&str, Align)]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING);
        if output.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
        table.force_no_tty();
        if let Some(width) = width(output) {
            table.set_width(width);
        }
        if output.color {
            table.enforce_styling();
        }
        let mut this = Self {
            inner: table,
            columns: columns.iter().map(|(_, align)| *align).collect(),
            unfilled: output.terminal.then(|| vec![true; columns.len()]),
        };
        let header: Vec<_> = columns
            .iter()
            .map(|(name, align)| aligned(Cell::new(name), *align).add_attribute(Attribute::Bold))
            .collect();
        this.inner.set_header(header);
        for column in this.inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        this
    }

    pub(crate) fn row(&mut self, cells: Vec<(String, Tone)>) {
        for (unfilled, (text, _)) in self.unfilled.iter_mut().flatten().zip(&cells) {
            *unfilled &= text == "-";
        }
        let cells: Vec<_> = cells
            .into_iter()
            .zip(&self.columns)
            .map(|((text, tone), align)| {
                let cell = aligned(Cell::new(super::printable(&text)), *align);
                match tone {
                    Tone::Plain => cell,
                    Tone::Dim => cell.add_attribute(Attribute::Dim),
                    Tone::Good => cell.fg(Color::Green),
                    Tone::Warn => cell.fg(Color::Yellow).add_attribute(Attribute::Bold),
                    Tone::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
                }
            })
            .collect();
        self.inner.add_row(cells);
    }

    pub(crate) fn text(&mut self) -> String {
        let unfilled = self.unfilled.iter().flatten();
        for (column, unfilled) in self.inner.column_iter_mut().zip(unfilled) {
            if *unfilled {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        self.inner.trim_fmt()
    }
}

fn aligned(cell: Cell, align: Align) -> Cell {
    match align {
        Align::Left => cell,
        Align::Right => cell.set_alignment(CellAlignment::Right),
    }
}

/// How many columns people have: those of the terminal that stdout is, else what was given.
pub(super) fn width(output: &Output) -> Option<u16> {
    if !output.terminal {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    let columns = size.ok().map(|size| size.ws_col);
    columns.filter(|columns| *columns > 0).or(output.columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(color: bool) -> Output {
        Output {
            color,
            ..Output::new(false, false)
        }
    }

    #[test]
    fn columns_are_aligned_without_trailing_space() {
        let mut table = Table::new(
            &output(false),
            &[("name", Align::Left), ("n", Align::Right)],
        );
        table.row(vec![("a".into(), Tone::Plain), ("1".into(), Tone::Bad)]);
        table.row(vec![
            ("abcdef".into(), Tone::Plain),
            ("1,000".into(), Tone::Plain),
        ]);
        let text = table.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, ["name        n", "a           1", "abcdef  1,000"]);
    }

    #[test]
    fn columns_that_nobody_fills_are_left_out_on_a_terminal() {
        for (terminal, expected) in [
            (true, ["name  n", "a     1", "b     -"]),
            (
                false,
                ["name  holder  n", "a     -       1", "b     -       -"],
            ),
        ] {
            let output = Output {
                terminal,
                ..output(false)
            };
            let columns = ["name", "holder", "n"].map(|name| (name, Align::Left));
            let mut table = Table::new(&output, &columns);
            for cells in [["a", "-", "1"], ["b", "-", "-"]] {
                let cells = cells.map(|text| (text.to_owned(), Tone::Plain));
                table.row(cells.to_vec());
            }
            assert_eq!(table.text().lines().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn foreign_text_stays_in_its_cell() {
        let mut table = Table::new(&output(true), &[("name", Align::Left)]);
        table.row(vec![("\u{1b}[2Jx".into(), Tone::Plain)]);
        assert!(!table.text().contains("\u{1b}[2J"));
    }

    #[test]
    fn colour_is_left_out_where_it_is_not_wanted() {
        assert_eq!(paint(false, Tone::Bad, "x"), "x");
        assert_eq!(paint(true, Tone::Plain, "x"), "x");
        assert!(paint(true, Tone::Bad, "x").starts_with("\u{1b}["));
    }
}

//! Aligned tables and colour.

use super::Output;
use super::text::preview;
use clap::builder::styling::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Width, presets,
};
use unicode_width::UnicodeWidthStr;

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
    /// Left, and cut where the terminal is too narrow: nobody needs it to go on.
    Cut,
    Right,
}

/// Columns between two columns.
const GAP: u16 = 2;
/// Columns that something that is cut keeps.
const LEAST: usize = 12;

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<(String, Tone)>>,
    /// Columns of the terminal; `None`: there is none, and everything stands in a line.
    width: Option<u16>,
    terminal: bool,
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
        let width = width(output);
        if let Some(width) = width {
            // Behind the last column there is no gap.
            table.set_width(width.saturating_add(GAP));
        }
        if output.color {
            table.enforce_styling();
        }
        let mut this = Self {
            inner: table,
            columns: columns
                .iter()
                .map(|(name, align)| ((*name).to_owned(), *align))
                .collect(),
            rows: Vec::new(),
            width,
            terminal: output.terminal,
        };
        let header: Vec<_> = columns
            .iter()
            .map(|(name, align)| aligned(Cell::new(name), *align).add_attribute(Attribute::Bold))
            .collect();
        this.inner.set_header(header);
        for column in this.inner.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        this
    }

    pub(crate) fn row(&mut self, cells: Vec<(String, Tone)>) {
        let cells = cells.into_iter();
        let cells = cells.map(|(text, tone)| (super::printable(&text).into_owned(), tone));
        self.rows.push(cells.collect());
    }

    pub(crate) fn text(mut self) -> String {
        let mut hidden = vec![self.terminal && !self.rows.is_empty(); self.columns.len()];
        for row in &self.rows {
            for (hidden, (text, _)) in hidden.iter_mut().zip(row) {
                *hidden &= text == "-";
            }
        }
        let least = self.fit(&hidden);
        for (number, column) in self.inner.column_iter_mut().enumerate() {
            if hidden.get(number) == Some(&true) {
                column.set_constraint(ColumnConstraint::Hidden);
            } else if let Some(width) = least.get(number) {
                let width = u16::try_from(*width).unwrap_or(u16::MAX);
                let width = Width::Fixed(width.saturating_add(GAP));
                column.set_constraint(ColumnConstraint::LowerBoundary(width));
            }
        }
        for row in self.rows {
            let cells = row.into_iter().zip(&self.columns);
            let cells = cells.map(|((text, tone), (_, align))| {
                let cell = aligned(Cell::new(text), *align);
                match tone {
                    Tone::Plain => cell,
                    Tone::Dim => cell.add_attribute(Attribute::Dim),
                    Tone::Good => cell.fg(Color::Green),
                    Tone::Warn => cell.fg(Color::Yellow).add_attribute(Attribute::Bold),
                    Tone::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
                }
            });
            self.inner.add_row(cells);
        }
        self.inner.trim_fmt()
    }

    /// Cuts what may be cut until no other word has to be broken, and answers the width that each column
    /// needs for that; none, if everything fits, or nothing helps.
    fn fit(&mut self, hidden: &[bool]) -> Vec<usize> {
        let Some(width) = self.width else {
            return Vec::new();
        };
        let count = self.columns.len();
        let (mut whole, mut least) = (vec![0; count], vec![0; count]);
        let names = self.columns.iter().map(|(name, _)| name.as_str());
        let rows = self.rows.iter();
        let lines = std::iter::once(names.collect::<Vec<_>>())
            .chain(rows.map(|row| row.iter().map(|(text, _)| text.as_str()).collect()));
        for line in lines {
            let columns = whole.iter_mut().zip(&mut least).zip(hidden);
            for (text, ((whole, least), hidden)) in line.into_iter().zip(columns) {
                if !hidden {
                    *whole = text.width().max(*whole);
                    let words = text.split_whitespace().map(UnicodeWidthStr::width);
                    *least = words.max().unwrap_or_default().max(*least);
                }
            }
        }
        let shown = hidden.iter().filter(|hidden| !**hidden).count();
        let gaps = shown.saturating_sub(1).saturating_mul(usize::from(GAP));
        let room = usize::from(width).saturating_sub(gaps);
        if whole.iter().sum::<usize>() <= room {
            return Vec::new();
        }
        while least.iter().sum::<usize>() > room {
            let cut = self.columns.iter().map(|(_, align)| *align == Align::Cut);
            let widest = least.iter_mut().zip(cut);
            let widest = widest.filter(|(least, cut)| *cut && **least > LEAST);
            let Some((widest, _)) = widest.max_by_key(|(least, _)| **least) else {
                return Vec::new();
            };
            *widest = widest.saturating_sub(1);
        }
        for row in &mut self.rows {
            for (((text, _), (_, align)), least) in row.iter_mut().zip(&self.columns).zip(&least) {
                if *align == Align::Cut && text.split_whitespace().any(|word| word.width() > *least)
                {
                    *text = preview(text, *least);
                }
            }
        }
        least
    }
}

fn aligned(cell: Cell, align: Align) -> Cell {
    match align {
        Align::Left | Align::Cut => cell,
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
    fn on_a_narrow_terminal_no_word_is_broken_and_what_is_not_needed_is_cut() {
        let narrow = Output {
            terminal: true,
            columns: Some(34),
            ..output(false)
        };
        let columns = [
            ("key", Align::Left),
            ("holder", Align::Cut),
            ("why", Align::Left),
        ];
        let mut table = Table::new(&narrow, &columns);
        for cells in [
            ["invoice=1", "system:keyring#06467269", "it is late"],
            ["invoice=2", "ann", "no"],
        ] {
            table.row(cells.map(|text| (text.to_owned(), Tone::Plain)).to_vec());
        }
        let text = table.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "key        holder             why",
                "invoice=1  system:keyring#0\u{2026}  it",
                "                              is",
                "                              late",
                "invoice=2  ann                no",
            ]
        );
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

//! The committed table: a line a path.

use anyhow::{Context as _, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table as Shown, presets};
use std::fmt::Write as _;

const HEAD: &str = "\
# Instructions of one operation of each hot path, by callgrind; README.md says how to compare and update.
# path, instructions without SHA-256, instructions of SHA-256, what one operation is. Valgrind's processor
# has no SHA instructions and no AES instructions wider than 128 bits: hashing and sealing count for more
# than they take, and hashing stands by itself.
";

/// What counted, and what was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) compiler: String,
    pub(super) profile: String,
    pub(super) valgrind: String,
}

impl Made {
    /// This program, under that valgrind.
    pub(super) fn here(valgrind: String) -> Self {
        Self {
            compiler: env!("BENCHES_COMPILER").to_owned(),
            profile: env!("BENCHES_PROFILE").to_owned(),
            valgrind,
        }
    }

    fn named(&self) -> [(&'static str, &str); 3] {
        [
            ("compiler", &self.compiler),
            ("profile", &self.profile),
            ("valgrind", &self.valgrind),
        ]
    }

    /// Where counts that were made so cannot be compared with those that are made so now.
    pub(super) fn differences(&self, now: &Self) -> Vec<String> {
        let both = self.named().into_iter().zip(now.named());
        both.filter(|(then, now)| then != now)
            .map(|((name, then), (_, now))| {
                format!(
                    "another {name}, counts differ by that too: committed `{then}`, now `{now}`"
                )
            })
            .collect()
    }
}

/// A path and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) name: String,
    /// Instructions without hashing.
    pub(super) other: u64,
    /// Instructions of hashing.
    pub(super) hashing: u64,
    /// What is counted once.
    pub(super) each: String,
}

/// Percent more than before.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn more(now: u64, before: u64) -> f64 {
    if now == before {
        return 0.0;
    }
    (now as f64 - before as f64) * 100.0 / before.max(1) as f64
}

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) made: Made,
    pub(super) lines: Vec<Counted>,
}

impl Table {
    /// One without lines.
    pub(super) fn new(made: Made) -> Self {
        let lines = Vec::new();
        Self { made, lines }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut said = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            let said = line.and_then(|line| line.strip_prefix(": "));
            said.map(str::to_owned).context(name.to_owned())
        };
        let made = Made {
            compiler: said("compiler")?,
            profile: said("profile")?,
            valgrind: said("valgrind")?,
        };
        let counted = lines.map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_owned();
            let (other, hashing) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let each = words.collect::<Vec<_>>().join(" ");
            Some(Counted {
                name,
                other,
                hashing,
                each,
            })
        });
        let lines = counted.collect::<Option<_>>().context("a line of a path")?;
        Ok(Self { made, lines })
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (name, said) in self.made.named() {
            let _ = writeln!(text, "{name}: {said}");
        }
        for line in &self.lines {
            let Counted {
                name,
                other,
                hashing,
                each,
            } = line;
            let _ = writeln!(text, "{name:<16} {other:>12} {hashing:>12} {each}");
        }
        text
    }

    /// Its lines, those that are in `found` replaced by them, new ones last.
    pub(super) fn with(&self, mut found: Vec<Counted>) -> Vec<Counted> {
        let mut lines = self.lines.clone();
        for line in &mut lines {
            if let Some(at) = found.iter().position(|new| new.name == line.name) {
                *line = found.swap_remove(at);
            }
        }
        lines.append(&mut found);
        lines
    }

    fn before(&self, found: &Counted) -> Option<&Counted> {
        self.lines.iter().find(|line| line.name == found.name)
    }

    /// The paths that take more than `tolerance` percent more than in the table, of hashing or of all
    /// else.
    pub(super) fn grown(&self, found: &[Counted], tolerance: f64) -> Vec<String> {
        let grown = found.iter().filter(|line| {
            self.before(line).is_some_and(|before| {
                let all_else = more(line.other, before.other);
                all_else.max(more(line.hashing, before.hashing)) > tolerance
            })
        });
        grown.map(|line| line.name.clone()).collect()
    }

    /// What was found beside what is in the table.
    pub(super) fn compared(&self, found: &[Counted]) -> String {
        let mut shown = Shown::new();
        shown.load_style(presets::ASCII_MARKDOWN);
        shown.set_content_arrangement(ContentArrangement::Disabled);
        shown.set_header([
            "path",
            "of",
            "instructions",
            "committed",
            "change",
            "hashing",
            "committed",
            "change",
        ]);
        for line in found {
            let before = self.before(line);
            let beside = |now: u64, before: Option<u64>| {
                let change = before.map(|before| format!("{:+.2} %", more(now, before)));
                let before = before.map_or_else(String::new, |before| before.to_string());
                let change = change.unwrap_or_else(|| "new".to_owned());
                [now.to_string(), before, change]
            };
            let names = [line.name.clone(), line.each.clone()].into_iter();
            let other = beside(line.other, before.map(|before| before.other));
            let hashing = beside(line.hashing, before.map(|before| before.hashing));
            shown.add_row(names.chain(other).chain(hashing));
        }
        for column in shown.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        shown.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(name: &str, other: u64, hashing: u64) -> Counted {
        Counted {
            name: name.to_owned(),
            other,
            hashing,
            each: "an event".to_owned(),
        }
    }

    fn table(lines: Vec<Counted>) -> Table {
        let made = Made {
            compiler: "rustc 1.95.0 (5980761 2026-04-14)".to_owned(),
            profile: "release x86_64-unknown-linux-gnu".to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
        };
        Table { made, lines }
    }

    #[test]
    fn what_is_written_is_read() {
        let table = table(vec![
            counted("append-1", 123_456, 99),
            counted("scan", 7, 0),
        ]);
        assert_eq!(Table::parse(&table.to_text()).unwrap(), table);
        assert!(Table::parse("append-1 7 7 an event").is_err());
        assert!(Table::parse(&(table.to_text() + "scan 7 many an event\n")).is_err());
    }

    #[test]
    fn growth_beyond_the_tolerance_is_named() {
        let table = table(vec![counted("scan", 1000, 0), counted("open", 1000, 100)]);
        let found = [
            counted("scan", 1011, 0),
            counted("open", 1010, 101),
            counted("new", 9, 9),
        ];
        assert_eq!(table.grown(&found, 1.1), [""; 0]);
        assert_eq!(table.grown(&found, 1.05), ["scan"]);
        assert_eq!(table.grown(&[counted("scan", 500, 0)], 1.0), [""; 0]);
        let hashes = [counted("open", 1000, 102), counted("scan", 1000, 1)];
        assert_eq!(table.grown(&hashes, 1.0), ["open", "scan"]);
        let shown = table.compared(&found);
        assert!(
            shown.contains("+1.10 %") && shown.contains("new"),
            "{shown}"
        );
    }

    #[test]
    fn lines_that_were_not_counted_again_stay() {
        let table = table(vec![counted("scan", 1, 1), counted("open", 2, 2)]);
        let lines = table.with(vec![counted("new", 3, 3), counted("open", 4, 4)]);
        let [scan, open] = [counted("scan", 1, 1), counted("open", 4, 4)];
        assert_eq!(lines, [scan, open, counted("new", 3, 3)]);
    }

    #[test]
    fn what_made_other_counts_is_said() {
        let then = table(Vec::new()).made;
        let mut now = then.clone();
        assert_eq!(then.differences(&now), [""; 0]);
        now.profile = "debug x86_64-unknown-linux-gnu".to_owned();
        let said = then.differences(&now);
        assert!(
            said.len() == 1 && said[0].contains("now `debug"),
            "{said:?}"
        );
    }
}

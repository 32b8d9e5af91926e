//! Arguments of budgets.

use super::values::{parse_lease, parse_whole};
use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args, Subcommand};
use runstone::budgets::{Amounts, BudgetLimits, Dimension, Window};

const ABOUT: &str = "DIM is steps, depth, duration_s, tool_calls, tokens, usd_micros (millionths of a dollar), gco2_mg \
(milligrams), or a counter of your own: [a-z][a-z0-9_]*, at most 32 bytes. usd=0.25 and gco2=1.5 are dollars and \
grams. duration_s is measured from the opening of the budget, and depth is compared; the others are counted.

A limit holds for all time, or, as in day.usd=5, in each day, week (ISO) or month of UTC.

  runstone budget open run-7 --limit steps=50 --limit day.usd=5
  runstone budget reserve run-7 --amount usd=0.10 && ask-the-model
  runstone budget settle FENCE --amount usd=0.07

Exit codes: 1 it does not fit, or a limit is exceeded; 3 the reservation ended before; 5 there is no such budget. \
What is charged or settled is recorded all the same.";

/// Budgets: what may be spent, and what was
#[derive(Debug, Subcommand)]
#[command(after_long_help = ABOUT)]
pub(crate) enum BudgetCommand {
    Open(BudgetOpenArgs),
    /// Say whether a limit is exceeded, of the owner or of one above it
    Check(Spender),
    Reserve(BudgetReserveArgs),
    Settle(BudgetSettleArgs),
    /// Give back what was reserved
    Release {
        /// The fence that the reservation answered
        #[arg(value_parser = parse_whole::<u64>)]
        fence: u64,
        /// Why
        #[arg(long, value_name = "R")]
        reason: Option<String>,
    },
    Charge(BudgetChargeArgs),
    /// List every budget
    List,
    /// Record the reservations whose lease is over
    Sweep,
}

/// Whose budget.
#[derive(Debug, Args)]
pub(crate) struct Spender {
    /// The owner
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub(crate) owner: String,
    /// The scope that its name is in: what one erasure removes
    #[arg(long, value_name = "S", default_value = "default")]
    pub(crate) scope: String,
}

/// Open a budget, or change its limits; raising one needs a person
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
#[command(group = ArgGroup::new("limits").args(["limit", "preset"]))]
pub(crate) struct BudgetOpenArgs {
    #[command(flatten)]
    pub(crate) spender: Spender,
    /// The owner above it, in the scope default: everything counts for that one too
    #[arg(long, value_name = "OWNER")]
    pub(crate) parent: Option<String>,
    /// A limit; may be given more than once. Those that are not given are none
    #[arg(long, value_name = "[WINDOW.]DIM=N", value_parser = parse_limit)]
    pub(crate) limit: Vec<(Window, Dimension, u64)>,
    /// Limits of this preset of the settings [default without --limit: the default one]
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// It is one step: the preset's limits of a step count
    #[arg(long, conflicts_with = "limit")]
    pub(crate) step: bool,
    /// Why its limits are changed
    #[arg(long, value_name = "R")]
    pub(crate) reason: Option<String>,
}

impl BudgetOpenArgs {
    pub(crate) fn limits(&self) -> Option<BudgetLimits> {
        let limits = self.limit.iter().cloned();
        let limits = limits.fold(BudgetLimits::new(), |all, (window, dimension, max)| {
            all.within(window, dimension, max)
        });
        (!limits.is_empty()).then_some(limits)
    }
}

/// Hold something back, if it fits
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
pub(crate) struct BudgetReserveArgs {
    #[command(flatten)]
    pub(crate) spender: Spender,
    /// How much; may be given more than once
    #[arg(long, value_name = "DIM=N", required = true, value_parser = parse_amount)]
    pub(crate) amount: Vec<(Dimension, u64)>,
    /// How long it is held back without a word
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_lease)]
    pub(crate) lease: u64,
}

/// Record what something cost that was reserved, even over the limit
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
pub(crate) struct BudgetSettleArgs {
    /// The fence that the reservation answered
    #[arg(value_parser = parse_whole::<u64>)]
    pub(crate) fence: u64,
    /// How much; may be given more than once [default: what was reserved]
    #[arg(long, value_name = "DIM=N", value_parser = parse_amount)]
    pub(crate) amount: Vec<(Dimension, u64)>,
}

/// Record what was spent, whatever the limits say
#[derive(Debug, Args)]
#[command(after_long_help = ABOUT)]
pub(crate) struct BudgetChargeArgs {
    #[command(flatten)]
    pub(crate) spender: Spender,
    /// How much; may be given more than once
    #[arg(long, value_name = "DIM=N", required = true, value_parser = parse_amount)]
    pub(crate) amount: Vec<(Dimension, u64)>,
}

pub(crate) fn amounts(given: &[(Dimension, u64)]) -> Amounts {
    given.iter().cloned().collect()
}

/// `tokens=1200`, `usd=0.25`.
pub(crate) fn parse_amount(text: &str) -> Result<(Dimension, u64), String> {
    let wrong = || "it reads like tokens=1200 or usd=0.25".to_owned();
    let (code, number) = text.split_once('=').ok_or_else(wrong)?;
    // What people write with a point is kept as an integer.
    let (code, digits) = match code {
        "usd" => ("usd_micros", 6),
        "gco2" => ("gco2_mg", 3),
        code => (code, 0),
    };
    let dimension = Dimension::from_code(code).map_err(|error| error.to_string())?;
    let amount = fixed(number, digits).ok_or_else(|| {
        format!("`{number}` is no number of {code} from 0 with at most {digits} decimals")
    })?;
    Ok((dimension, amount))
}

/// A decimal number in units of ten to the power of minus `digits`, exactly.
fn fixed(text: &str, digits: usize) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > digits {
        return None;
    }
    if text.contains('.') && part.is_empty() {
        return None;
    }
    format!("{whole}{part:0<digits$}").parse().ok()
}

fn parse_limit(text: &str) -> Result<(Window, Dimension, u64), String> {
    let (window, rest) = match text.split_once('.') {
        Some((word, rest)) => match word.parse() {
            Ok(window) => (window, rest),
            Err(_) => (Window::All, text),
        },
        None => (Window::All, text),
    };
    let (dimension, max) = parse_amount(rest)?;
    Ok((window, dimension, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_exactly() {
        for (text, micros) in [
            ("usd=0.25", 250_000),
            ("usd=12", 12_000_000),
            ("usd=0.000001", 1),
            ("usd_micros=7", 7),
        ] {
            assert_eq!(
                parse_amount(text),
                Ok((Dimension::UsdMicros, micros)),
                "{text}"
            );
        }
        assert_eq!(parse_amount("gco2=1.5"), Ok((Dimension::Gco2Mg, 1_500)));
        for text in [
            "usd=0.0000001",
            "usd=-1",
            "usd=",
            "usd=1.",
            "steps=1.5",
            "steps",
            "A=1",
        ] {
            assert!(parse_amount(text).is_err(), "{text}");
        }
        let day = (Window::Day, Dimension::UsdMicros, 5_500_000);
        assert_eq!(parse_limit("day.usd=5.5"), Ok(day));
        let all = (Window::All, Dimension::UsdMicros, 5_500_000);
        assert_eq!(parse_limit("usd=5.5"), Ok(all));
    }
}

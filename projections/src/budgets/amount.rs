//! What is counted, how much of it, and how much of it at most.

use super::BudgetError;
use crate::events::Window;
use crate::settings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Most amounts of one command.
pub const MAX_AMOUNTS: usize = 8;
/// Most limits of one owner, over all windows: they stand in control, which is short.
pub const MAX_LIMITS: usize = 16;
/// Most counters of other names that one owner counts, those of the owners below it among them.
pub const MAX_COUNTERS: usize = 16;
/// Longest name of a counter in bytes.
pub const MAX_COUNTER_LEN: usize = 32;
/// Largest amount and limit: the largest number that every reader of JSON has exactly (RFC 8785).
pub const MAX_AMOUNT: u64 = (1 << 53) - 1;

/// What is counted.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
#[non_exhaustive]
pub enum Dimension {
    /// Steps of a run.
    Steps,
    /// How deep a task stands below its first ancestor: compared, never added up.
    Depth,
    /// Seconds since the owner was opened, or since its window began: measured, never charged.
    DurationS,
    /// Calls of tools.
    ToolCalls,
    /// Tokens of every kind.
    Tokens,
    /// Millionths of a dollar.
    UsdMicros,
    /// Milligrams of carbon dioxide equivalent.
    Gco2Mg,
    /// Whatever the caller counts under a name `[a-z][a-z0-9_]*` of at most 32 bytes.
    Counter(String),
}

impl Dimension {
    /// Those with a name of their own, in the order in which limits are checked.
    pub const KNOWN: [Self; 7] = [
        Self::Steps,
        Self::Depth,
        Self::DurationS,
        Self::ToolCalls,
        Self::Tokens,
        Self::UsdMicros,
        Self::Gco2Mg,
    ];

    /// The code of it, as in settings.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Steps => "steps",
            Self::Depth => "depth",
            Self::DurationS => "duration_s",
            Self::ToolCalls => "tool_calls",
            Self::Tokens => "tokens",
            Self::UsdMicros => "usd_micros",
            Self::Gco2Mg => "gco2_mg",
            Self::Counter(name) => name,
        }
    }

    /// The one that a code names; any other code is a counter.
    ///
    /// # Errors
    ///
    /// [`BudgetError::Dimension`] if it cannot be a name.
    pub fn from_code(code: &str) -> Result<Self, BudgetError> {
        let dimension = Self::of_row(code);
        dimension.check()?;
        Ok(dimension)
    }

    /// The dimension of a code that was checked before it was recorded.
    pub(super) fn of_row(code: &str) -> Self {
        let known = Self::KNOWN.iter().find(|known| known.as_str() == code);
        known
            .cloned()
            .unwrap_or_else(|| Self::Counter(code.to_owned()))
    }

    fn check(&self) -> Result<(), BudgetError> {
        let Self::Counter(name) = self else {
            return Ok(());
        };
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.len() <= MAX_COUNTER_LEN
            && name
                .bytes()
                .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'_')
            && Self::KNOWN.iter().all(|known| known.as_str() != name);
        if is_name {
            return Ok(());
        }
        Err(BudgetError::Dimension {
            why: "the name of a counter is [a-z][a-z0-9_]*, at most 32 bytes".into(),
        })
    }

    /// Its number in control; 0 stands before a name.
    fn number(&self) -> u8 {
        let at = Self::KNOWN.iter().position(|known| known == self);
        at.and_then(|at| u8::try_from(at + 1).ok()).unwrap_or(0)
    }
}

impl From<Dimension> for String {
    fn from(dimension: Dimension) -> Self {
        dimension.as_str().to_owned()
    }
}

impl TryFrom<String> for Dimension {
    type Error = BudgetError;

    fn try_from(code: String) -> Result<Self, BudgetError> {
        Self::from_code(&code)
    }
}

impl From<BudgetLimits> for BTreeMap<String, u64> {
    fn from(limits: BudgetLimits) -> Self {
        limits.to_map()
    }
}

impl TryFrom<BTreeMap<String, u64>> for BudgetLimits {
    type Error = BudgetError;

    /// Keys are `WINDOW.DIMENSION`, or a dimension alone.
    fn try_from(map: BTreeMap<String, u64>) -> Result<Self, BudgetError> {
        let mut limits = Self::new();
        for (name, max) in map {
            let (window, code) = match name.split_once('.') {
                Some((window, code)) => (window.parse(), code),
                None => (Ok(Window::All), name.as_str()),
            };
            let window = window.map_err(|_| BudgetError::Dimension {
                why: "a window is day, week, month or all".into(),
            })?;
            limits = limits.within(window, Dimension::from_code(code)?, max);
        }
        Ok(limits)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// How much of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[must_use = "amounts are nothing until they are reserved or charged"]
pub struct Amounts(BTreeMap<Dimension, u64>);

impl Amounts {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// So much of one dimension.
    pub fn of(mut self, dimension: Dimension, amount: u64) -> Self {
        self.0.insert(dimension, amount);
        self
    }

    /// So many steps.
    pub fn steps(self, steps: u64) -> Self {
        self.of(Dimension::Steps, steps)
    }

    /// So many calls of tools.
    pub fn tool_calls(self, calls: u64) -> Self {
        self.of(Dimension::ToolCalls, calls)
    }

    /// So many tokens.
    pub fn tokens(self, tokens: u64) -> Self {
        self.of(Dimension::Tokens, tokens)
    }

    /// So many millionths of a dollar.
    pub fn usd_micros(self, micros: u64) -> Self {
        self.of(Dimension::UsdMicros, micros)
    }

    /// So many milligrams of carbon dioxide equivalent.
    pub fn gco2_mg(self, milligrams: u64) -> Self {
        self.of(Dimension::Gco2Mg, milligrams)
    }

    /// A task that deep.
    pub fn depth(self, depth: u64) -> Self {
        self.of(Dimension::Depth, depth)
    }

    /// How much of one dimension.
    pub fn get(&self, dimension: &Dimension) -> u64 {
        self.0.get(dimension).copied().unwrap_or(0)
    }

    /// Each dimension and how much of it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Dimension, u64)> {
        self.0
            .iter()
            .map(|(dimension, amount)| (dimension, *amount))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Both together.
    pub(super) fn plus(&self, more: &Self) -> Self {
        let mut sum = self.clone();
        for (dimension, amount) in &more.0 {
            let there = sum.0.entry(dimension.clone()).or_default();
            *there = there.saturating_add(*amount);
        }
        sum
    }

    /// What is more than these; nothing of what is not.
    pub(super) fn less(&self, other: &Self) -> Self {
        self.each(|dimension, amount| amount.saturating_sub(other.get(dimension)))
    }

    /// What is there of these.
    pub(super) fn at_most(&self, other: &Self) -> Self {
        self.each(|dimension, amount| amount.min(other.get(dimension)))
    }

    fn each(&self, change: impl Fn(&Dimension, u64) -> u64) -> Self {
        let amounts = self.iter().filter_map(|(dimension, amount)| {
            let amount = change(dimension, amount);
            (amount > 0).then(|| (dimension.clone(), amount))
        });
        amounts.collect()
    }

    /// At least so much of one dimension, besides what is there.
    pub(crate) fn at_least(mut self, dimension: Dimension, amount: u64) -> Self {
        let there = self.0.entry(dimension).or_default();
        *there = (*there).max(amount);
        self
    }

    pub(crate) fn check(&self) -> Result<(), BudgetError> {
        if self.0.len() > MAX_AMOUNTS {
            return Err(BudgetError::TooMany {
                what: "amounts".into(),
                count: self.0.len(),
                limit: MAX_AMOUNTS,
            });
        }
        for (dimension, amount) in &self.0 {
            dimension.check()?;
            check_number(*amount)?;
            if *dimension == Dimension::DurationS {
                return Err(BudgetError::Dimension {
                    why:
                        "duration is measured from recorded times, and neither reserved nor charged"
                            .into(),
                });
            }
        }
        Ok(())
    }

    /// As payloads have it.
    pub(crate) fn to_map(&self) -> BTreeMap<String, u64> {
        let entries = self.iter();
        entries
            .map(|(dimension, amount)| (dimension.as_str().to_owned(), amount))
            .collect()
    }

    pub(super) fn to_row(&self) -> Vec<(String, u64)> {
        self.to_map().into_iter().collect()
    }

    pub(super) fn of_row(row: &[(String, u64)]) -> Self {
        let entries = row.iter();
        Self(
            entries
                .map(|(code, amount)| (Dimension::of_row(code), *amount))
                .collect(),
        )
    }

    /// As control has it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (dimension, amount) in &self.0 {
            entry(&mut bytes, Window::All, dimension, *amount);
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let entries = entries(bytes)?.into_iter();
        Some(Self(
            entries.map(|(_, what, amount)| (what, amount)).collect(),
        ))
    }
}

impl FromIterator<(Dimension, u64)> for Amounts {
    fn from_iter<T: IntoIterator<Item = (Dimension, u64)>>(amounts: T) -> Self {
        Self(amounts.into_iter().collect())
    }
}

/// The most that an owner may spend; what is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "BTreeMap<String, u64>", try_from = "BTreeMap<String, u64>")]
#[schemars(with = "BTreeMap<String, u64>")]
#[must_use = "limits are nothing until an owner is opened with them"]
pub struct BudgetLimits(BTreeMap<(Dimension, Window), u64>);

impl BudgetLimits {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so much of a dimension.
    pub fn of(self, dimension: Dimension, max: u64) -> Self {
        self.within(Window::All, dimension, max)
    }

    /// At most so much of a dimension in each window.
    pub fn within(mut self, window: Window, dimension: Dimension, max: u64) -> Self {
        self.0.insert((dimension, window), max);
        self
    }

    /// The limit of a dimension in a window.
    pub fn get(&self, window: Window, dimension: &Dimension) -> Option<u64> {
        self.0.get(&(dimension.clone(), window)).copied()
    }

    /// Each window, dimension and limit.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Window, &Dimension, u64)> {
        let entries = self.0.iter();
        entries.map(|((dimension, window), max)| (*window, dimension, *max))
    }

    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of the settings, in a window. The lower of two limits counts.
    pub(crate) fn and(mut self, window: Window, limits: &settings::Limits) -> Self {
        for (dimension, max) in of_settings(limits) {
            let known = self.0.entry((dimension, window)).or_insert(max);
            *known = (*known).min(max);
        }
        self
    }

    /// Whether these let somebody spend more than others did.
    pub(super) fn is_raised_from(&self, before: &Self) -> bool {
        let mut limits = before.0.iter();
        limits.any(|(what, max)| self.0.get(what).is_none_or(|now| now > max))
    }

    pub(crate) fn check(&self) -> Result<(), BudgetError> {
        if self.0.len() > MAX_LIMITS {
            return Err(BudgetError::TooMany {
                what: "limits".into(),
                count: self.0.len(),
                limit: MAX_LIMITS,
            });
        }
        for ((dimension, _), max) in &self.0 {
            dimension.check()?;
            check_number(*max)?;
        }
        Ok(())
    }

    pub(crate) fn to_map(&self) -> BTreeMap<String, u64> {
        let entries = self.iter();
        entries
            .map(|(window, dimension, max)| (format!("{window}.{dimension}"), max))
            .collect()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (window, dimension, max) in self.iter() {
            entry(&mut bytes, window, dimension, max);
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let entries = entries(bytes)?.into_iter();
        Some(Self(
            entries
                .map(|(window, what, max)| ((what, window), max))
                .collect(),
        ))
    }
}

impl From<&settings::Limits> for BudgetLimits {
    fn from(limits: &settings::Limits) -> Self {
        Self::new().and(Window::All, limits)
    }
}

fn of_settings(limits: &settings::Limits) -> impl Iterator<Item = (Dimension, u64)> {
    let known = [
        limits.steps,
        limits.depth,
        limits.duration_s,
        limits.tool_calls,
        limits.tokens,
        limits.usd_micros,
        limits.gco2_mg,
    ];
    let counters = limits.counters.iter();
    let counters = counters.map(|(name, max)| (Dimension::Counter(name.clone()), *max));
    let known = Dimension::KNOWN.into_iter().zip(known);
    known
        .filter_map(|(dimension, max)| Some((dimension, max?)))
        .chain(counters)
}

fn check_number(number: u64) -> Result<(), BudgetError> {
    if number <= MAX_AMOUNT {
        return Ok(());
    }
    Err(BudgetError::TooMuch {
        amount: number,
        limit: MAX_AMOUNT,
    })
}

/// Window, number of the dimension, and for 0 its name behind its length; then the amount.
fn entry(bytes: &mut Vec<u8>, window: Window, dimension: &Dimension, amount: u64) {
    bytes.push(u8::try_from(window.number()).unwrap_or_default());
    bytes.push(dimension.number());
    if let Dimension::Counter(name) = dimension {
        bytes.push(u8::try_from(name.len()).unwrap_or_default());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(&amount.to_be_bytes());
}

fn entries(mut bytes: &[u8]) -> Option<Vec<(Window, Dimension, u64)>> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<2>() {
        let [window, number] = *head;
        let window = Window::from_number(window.into())?;
        let (dimension, rest) = if let Some(known) = usize::from(number).checked_sub(1) {
            (Dimension::KNOWN.get(known)?.clone(), rest)
        } else {
            let (len, rest) = rest.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(*len))?;
            let name = std::str::from_utf8(name).ok()?;
            (Dimension::Counter(name.to_owned()), rest)
        };
        let (amount, rest) = rest.split_first_chunk::<8>()?;
        found.push((window, dimension, u64::from_be_bytes(*amount)));
        bytes = rest;
    }
    bytes.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::Control;

    #[test]
    fn amounts_and_limits_come_back_from_control() {
        let calls = Dimension::from_code("mails_sent").unwrap();
        let amounts = Amounts::new().steps(1).usd_micros(7).of(calls.clone(), 9);
        let bytes = amounts.to_bytes();
        assert_eq!(Amounts::from_bytes(&bytes), Some(amounts));
        for cut in 1..bytes.len() {
            let short = bytes.get(..cut).unwrap();
            assert!(Amounts::from_bytes(short).is_none_or(|some| some.0.len() < 3));
        }
        let limits = BudgetLimits::new()
            .of(Dimension::Steps, 5)
            .within(Window::Day, calls, 3);
        assert_eq!(BudgetLimits::from_bytes(&limits.to_bytes()), Some(limits));
        assert_eq!(
            Amounts::new().tokens(258).to_bytes(),
            [0, 5, 0, 0, 0, 0, 0, 0, 1, 2]
        );
    }

    /// The longest that is allowed fits into control with everything that stands beside it.
    #[test]
    fn the_most_that_is_allowed_fits_into_control() {
        let name = |at: usize| Dimension::Counter(format!("{:x>32}", format!("z{at:02}")));
        let limits = BudgetLimits(
            (0..MAX_LIMITS)
                .map(|at| ((name(at), Window::Month), MAX_AMOUNT))
                .collect(),
        );
        limits.check().unwrap();
        let control = Control::new()
            .bytes(1, [0; 16])
            .bytes(3, [0; 16])
            .text(4, "s".repeat(255))
            .bytes(5, limits.to_bytes());
        control.encode().unwrap();
        let amounts: Amounts = (0..MAX_AMOUNTS).map(|at| (name(at), MAX_AMOUNT)).collect();
        amounts.check().unwrap();
        let control = Control::new()
            .bytes(1, [0; 16])
            .text(2, "s".repeat(255))
            .bytes(6, amounts.to_bytes())
            .u64(7, u64::MAX)
            .u64(8, u64::MAX)
            .text(9, "h".repeat(256))
            .u64(12, u64::MAX);
        control.encode().unwrap();
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        for name in ["", "A", "1a", "a-b", "a b", &"a".repeat(33)] {
            assert!(Dimension::from_code(name).is_err(), "{name}");
        }
        assert!(Amounts::new().tokens(MAX_AMOUNT + 1).check().is_err());
        assert!(Amounts::new().of(Dimension::DurationS, 1).check().is_err());
    }

    #[test]
    fn a_limit_is_raised_by_a_higher_one_and_by_none() {
        let limits = |max| BudgetLimits::new().of(Dimension::Steps, max);
        assert!(limits(6).is_raised_from(&limits(5)));
        assert!(BudgetLimits::new().is_raised_from(&limits(5)));
        assert!(!limits(4).is_raised_from(&limits(5)));
        assert!(
            !limits(5)
                .of(Dimension::Tokens, 1)
                .is_raised_from(&limits(5))
        );
    }
}

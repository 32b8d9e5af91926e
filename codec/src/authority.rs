//! As what somebody acts.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// As what the principal behind an event acts. The log stamps it from the caller's credential; a
/// payload that claims one changes nothing.
#[derive(
    Copy,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(
    clippy::exhaustive_enums,
    reason = "the numbers are part of the header format"
)]
pub enum Authority {
    /// The log itself or a caller without a credential.
    #[default]
    System = 0,
    /// A person.
    Human = 1,
    /// A program that may give orders.
    Commander = 2,
    /// An agent.
    Agent = 3,
}

/// Text names no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an authority is system, human, commander or agent")]
#[non_exhaustive]
pub struct ParseAuthorityError;

impl ParseAuthorityError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        "bad_authority"
    }
}

impl Authority {
    /// Every authority, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::System, Self::Human, Self::Commander, Self::Agent];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Human => "human",
            Self::Commander => "commander",
            Self::Agent => "agent",
        }
    }

    /// The number in the header.
    pub const fn to_byte(self) -> u8 {
        self as u8
    }

    /// The authority of a number in a header.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::System),
            1 => Some(Self::Human),
            2 => Some(Self::Commander),
            3 => Some(Self::Agent),
            _ => None,
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Authority {
    type Err = ParseAuthorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or(ParseAuthorityError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_go_both_ways() {
        for one in Authority::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
            assert_eq!(Authority::from_byte(one.to_byte()), Some(one));
            assert_eq!(serde_json::to_string(&one).unwrap(), format!("\"{one}\""));
        }
        assert_eq!(Authority::from_byte(4), None);
        assert_eq!("Human".parse::<Authority>(), Err(ParseAuthorityError));
    }
}

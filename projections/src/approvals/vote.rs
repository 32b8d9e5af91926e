//! Votes.

use crate::events::Vote;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vote that was cast. In JSON it is a pair: who, and whether it was for the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "(String, bool)", into = "(String, bool)")]
#[schemars(with = "(String, bool)")]
#[non_exhaustive]
pub struct CastVote {
    /// The principal that voted.
    pub by: String,
    /// What it said.
    pub vote: Vote,
}

impl From<(String, bool)> for CastVote {
    fn from((by, is_yes): (String, bool)) -> Self {
        let vote = if is_yes { Vote::Approve } else { Vote::Reject };
        Self { by, vote }
    }
}

impl From<CastVote> for (String, bool) {
    fn from(cast: CastVote) -> Self {
        (cast.by, cast.vote == Vote::Approve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_travels_as_a_pair() {
        for (vote, json) in [
            (Vote::Approve, r#"["human:ada",true]"#),
            (Vote::Reject, r#"["human:ada",false]"#),
        ] {
            let by = "human:ada".to_owned();
            let cast = CastVote { by, vote };
            assert_eq!(serde_json::to_string(&cast).unwrap(), json);
            assert_eq!(serde_json::from_str::<CastVote>(json).unwrap(), cast);
        }
    }
}

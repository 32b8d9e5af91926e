//! What may be spent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// What may be spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Budgets {
    /// The preset of an owner that is opened without limits. Default `exec-kernel`.
    pub default_preset: String,
    /// Percent of a limit at which a warning is recorded. Default 80.
    pub warn_percent: u64,
    /// Limits by name. `exec-kernel` and `zu` are always there; naming one replaces it.
    #[serde(deserialize_with = "with_known_presets")]
    pub presets: BTreeMap<String, Preset>,
    /// Limits of every owner in each window, beside its own. Default none.
    pub windows: Windows,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            default_preset: "exec-kernel".to_owned(),
            warn_percent: 80,
            presets: known_presets(),
            windows: Windows::default(),
        }
    }
}

/// Limits under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Preset {
    /// Limits of the owner.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub owner: Limits,
    /// Limits of each single step of it.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub step: Limits,
}

/// Limits in windows of time, which are those of UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Windows {
    /// A date.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub day: Limits,
    /// An ISO week.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub week: Limits,
    /// A month.
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub month: Limits,
}

/// The most that may be spent; what is not named is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// Steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Depth of child tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<u64>,
    /// Calls of tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u64>,
    /// Tokens of every kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Millionths of a dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd_micros: Option<u64>,
    /// Milligrams of CO2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gco2_mg: Option<u64>,
    /// Counters that the caller names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The presets that are always there: the defaults of exec-kernel, and those of zu.
fn known_presets() -> BTreeMap<String, Preset> {
    let exec_kernel = Preset {
        owner: Limits {
            steps: Some(50),
            depth: Some(10),
            duration_s: Some(1800),
            ..Limits::default()
        },
        step: Limits::default(),
    };
    let zu = Preset {
        owner: Limits {
            steps: Some(20),
            tokens: Some(200_000),
            duration_s: Some(120),
            ..Limits::default()
        },
        step: Limits {
            tool_calls: Some(32),
            ..Limits::default()
        },
    };
    BTreeMap::from([
        ("exec-kernel".to_owned(), exec_kernel),
        ("zu".to_owned(), zu),
    ])
}

fn with_known_presets<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Preset>, D::Error> {
    let mut presets = known_presets();
    presets.extend(BTreeMap::<String, Preset>::deserialize(deserializer)?);
    Ok(presets)
}

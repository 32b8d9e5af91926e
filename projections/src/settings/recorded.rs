//! Settings in a log.

use runstone_codec::Position;
use runstone_store::Log;

use super::{Settings, SettingsError};
use crate::events::SettingsInForce;

/// The settings in force, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InForce {
    /// The settings.
    pub settings: Settings,
    /// Position of the `log.configured` that recorded them; `None` if none did, and the defaults
    /// hold.
    pub position: Option<Position>,
    /// SHA-256 over the recorded payload, or over the canonical JSON of the defaults.
    pub sha256: [u8; 32],
}

impl InForce {
    /// As a run records them.
    pub(crate) fn to_recorded(&self) -> SettingsInForce {
        SettingsInForce {
            position: self.position.map(Position::get),
            sha256: crate::hex(&self.sha256),
        }
    }
}

impl Settings {
    /// The settings that count in a log: those recorded last, else the defaults.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Recorded`] if they cannot be read, so that nobody decides by others;
    /// [`SettingsError::Read`] if the log cannot be.
    pub fn in_force(log: &Log) -> Result<InForce, SettingsError> {
        let Some(recorded) = log.settings()? else {
            let settings = Self::default();
            let sha256 = settings.sha256()?;
            return Ok(InForce {
                settings,
                position: None,
                sha256,
            });
        };
        let position = recorded.position;
        let settings =
            Self::from_json(&recorded.bytes).map_err(|error| SettingsError::Recorded {
                position,
                why: error.to_string(),
            })?;
        Ok(InForce {
            settings,
            position: Some(position),
            sha256: recorded.sha256,
        })
    }

    /// Records these settings; from then on they count.
    ///
    /// # Errors
    ///
    /// [`SettingsError::Value`] if they are not valid; [`SettingsError::Append`] if they were not
    /// recorded.
    ///
    /// # Durability
    ///
    /// As an append that is synced.
    pub fn record(&self, log: &Log) -> Result<Position, SettingsError> {
        Ok(log.configure(self.to_json()?)?)
    }
}

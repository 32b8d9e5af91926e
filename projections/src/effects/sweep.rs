//! Calls whose holders let their leases pass.

use super::list::{EffectFilter, list};
use super::{Effect, EffectError, Effects, decide};
use crate::asks::SweepEffects;
use crate::command::{Command, Waiting, at_once};
use crate::events::EffectOutcomeUnknown;
use runstone_codec::{Draft, NewEvent};

impl Effects {
    /// Records of every call of class `write` or `irreversible` whose lease is over that its outcome is
    /// unknown; answers of how many. Others stay as they are: they are claimed again.
    ///
    /// # Errors
    ///
    /// [`EffectError`] if the log cannot be read or does not record it. What was recorded before stays.
    ///
    /// # Durability
    ///
    /// What is answered survives power loss.
    pub fn sweep_blocking(&self) -> Result<usize, EffectError> {
        if let Some(told) = self.log.ask_there_blocking(&SweepEffects {}) {
            return told;
        }
        let mut swept = 0_usize;
        for effect in list(&self.log, &EffectFilter::new().expired())? {
            if !effect.class.bears_repeating() {
                let lapsing = self.lapsing(&effect)?;
                let is_recorded = at_once(lapsing.run_by(&self.log, Waiting::Blocking))?;
                swept += usize::from(is_recorded);
            }
        }
        Ok(swept)
    }

    fn lapsing(&self, effect: &Effect) -> Result<Command<bool>, EffectError> {
        let unknown = NewEvent::typed(&EffectOutcomeUnknown::default(), effect.stream.as_str())?;
        let candidates = vec![Draft::new(unknown.tag(effect.id.tag()))];
        let (id, fence) = (effect.id.clone(), effect.fence);
        Ok(Command::new(&self.log, candidates, move |context| {
            decide::lapse(context, &id, fence)
        })?)
    }
}

//! What a helper at work asked and was told, and how it may end by that.

use super::helpers::End;
use crate::calls::{Said, Time, Told};
use crate::crew::CrewAsk;
use crate::staff::{StaffAsk, Staffed};
use crate::trays::{DRAINED, TrayAct, TrayAsk};
use runstone::HelperExit;
use runstone_projections::agents::RetireReason;
use runstone_projections::tasks::TaskId;

/// Errors of claiming in a row that end a helper.
const CLAIM_ERRORS: u32 = 5;

/// What a helper asked and was told so far.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Tasks that it claimed, and which they are.
    pub(super) tasks: Vec<(TaskId, usize)>,
    /// When its time is over.
    expires_us: Option<u64>,
    /// Why it is gone, each time that it said so.
    retired: Vec<RetireReason>,
    /// Tasks that it was told are done.
    done: u64,
    /// Claims that failed since one did not.
    failed_claims: u32,
    /// The last claim was told that the tray is drained.
    is_drained: bool,
    /// It was told that it must exit, or that it was revoked.
    must_exit: bool,
}

impl Course {
    /// When a helper's time is over, as it was told when it was spawned.
    pub(super) fn spawned(&mut self, expires_us: u64) {
        self.expires_us = Some(expires_us);
    }

    /// Takes in what was asked then, and answered.
    ///
    /// # Panics
    ///
    /// If it may not ask that.
    pub(super) fn go_on(&mut self, ask: &CrewAsk, told: &Told, time: &Time) {
        match ask {
            CrewAsk::Staff(Staffed { ask, .. }) => match ask {
                StaffAsk::Retire(_, why) => self.retired.push(*why),
                StaffAsk::Attend(_) => {
                    self.is_in_time(ask, time);
                    self.must_exit = match told {
                        Ok((Said::Heard(text), _)) => text.ends_with("exit true"),
                        Ok((Said::Refused(code), _)) => *code == "agent_revoked",
                        _ => false,
                    };
                }
                _ => {}
            },
            CrewAsk::Work(_, ask @ TrayAsk::Take(..), _) => {
                self.is_in_time(ask, time);
                assert!(!self.must_exit, "it goes on, and was told to exit");
                let is_answered = matches!(told, Ok((Said::Taken(..) | Said::Heard(_), _)));
                self.failed_claims = if is_answered {
                    0
                } else {
                    self.failed_claims + 1
                };
                let is_drained = |text: &str| text.starts_with(DRAINED);
                self.is_drained = matches!(told, Ok((Said::Heard(text), _)) if is_drained(text));
            }
            CrewAsk::Work(_, TrayAsk::Act(_, _, TrayAct::Complete), _) => {
                self.done += u64::from(matches!(told, Ok((Said::At(_), _))));
            }
            _ => {}
        }
    }

    /// Whoever looks whether to go on has time left.
    fn is_in_time(&self, ask: &dyn std::fmt::Debug, time: &Time) {
        let end = self.expires_us;
        let now_us = time.steady_us();
        assert!(
            end.is_none_or(|end| now_us < end),
            "{ask:?} at {now_us}: {self:?}"
        );
    }

    /// It ended so, with as many tasks done as it says, or it cannot say, and was to do so many.
    ///
    /// # Panics
    ///
    /// If what it was told is no reason to.
    pub(super) fn end(&self, end: End, said: Option<u64>, (most, now_us): (Option<u64>, u64)) {
        let is_at_most = most.is_none_or(|most| self.done <= most);
        assert!(
            is_at_most && said.is_none_or(|said| said == self.done),
            "{said:?} done, {self:?}"
        );
        let (has_reason, retired) = match end {
            End::Not(_) => (true, None),
            End::By(exit) => match exit {
                HelperExit::TrayDrained => (self.is_drained, Some(RetireReason::TrayDrained)),
                HelperExit::TtlExpired => (
                    self.expires_us.is_some_and(|end| now_us >= end),
                    Some(RetireReason::TtlExpired),
                ),
                HelperExit::MaxTasks => (most == Some(self.done), Some(RetireReason::MaxTasks)),
                HelperExit::ClaimErrors => (
                    self.failed_claims == CLAIM_ERRORS,
                    Some(RetireReason::ClaimErrors),
                ),
                HelperExit::Panicked => (true, Some(RetireReason::Failed)),
                HelperExit::Dropped => (true, Some(RetireReason::ParentRequest)),
                _ => (self.must_exit, Some(RetireReason::ParentRequest)),
            },
        };
        assert!(has_reason, "{end:?}: {self:?}");
        // Whatever ends it, it says once that it is gone, and why.
        let retired: Vec<RetireReason> = retired.into_iter().collect();
        assert_eq!(self.retired, retired, "{end:?}: {self:?}");
    }
}

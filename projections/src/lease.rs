//! Who holds something, and until when.
//!
//! Something is held for a time, or as long as the opening of the log lasts in which it was taken.
//! The first is for holders elsewhere: found at open, a lease has its full length again, because
//! nothing tells how long the log was closed; within an opening it is measured by the monotonic
//! clock, so that nobody ends or stretches it by setting the wall clock. The second is for holders in this process: another
//! process that has the log open knows them to be gone.

use crate::rows::LeaseRow;
use runstone_codec::Control;
use runstone_store::Opening;

/// How long something is held without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// As long as this opening of the log lasts: the holder is in this process.
    Opening,
    /// So many microseconds, unless it is renewed.
    For(u64),
    /// As long as the settings say, unless it is renewed.
    Default,
}

/// Fields of control that tell a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseFields {
    pub(crate) holder: u16,
    pub(crate) opening: u16,
    pub(crate) lease_us: u16,
    pub(crate) expires_at_us: u16,
}

impl LeaseFields {
    /// What control says of a lease that begins now; `None` stands for the opening.
    pub(crate) fn control(
        self,
        lease_us: Option<u64>,
        steady_us: u64,
        opening: &Opening,
    ) -> Control {
        match lease_us {
            None => Control::new().bytes(self.opening, opening.id),
            Some(lease_us) => Control::new()
                .u64(self.lease_us, lease_us)
                .u64(self.expires_at_us, steady_us.saturating_add(lease_us)),
        }
    }

    /// The lease that the control of an event at `since` tells.
    pub(crate) fn read(self, control: &Control, since: u64) -> LeaseRow {
        let opening = control.get_bytes(self.opening);
        LeaseRow {
            holder: control.get_text(self.holder).unwrap_or_default().to_owned(),
            opening: opening.and_then(|id| id.try_into().ok()),
            since,
            lease_us: control.get_u64(self.lease_us).unwrap_or_default(),
            expires_at_us: control.get_u64(self.expires_at_us).unwrap_or_default(),
        }
    }
}

impl LeaseRow {
    /// When it ends if nobody renews it; `None` as long as its opening lasts.
    pub(crate) fn expires_at_us(&self, opening: &Opening) -> Option<u64> {
        if self.opening == Some(opening.id) {
            return None;
        }
        if self.opening.is_some() {
            return Some(opening.at_us);
        }
        if self.since >= opening.size.get() {
            return Some(self.expires_at_us);
        }
        Some(opening.at_us.saturating_add(self.lease_us))
    }

    /// Whether it ended.
    pub(crate) fn is_over(&self, opening: &Opening, steady_us: u64) -> bool {
        self.expires_at_us(opening)
            .is_some_and(|expires_at_us| steady_us >= expires_at_us)
    }
}

//! Reservations whose lease is over.

use super::decide::{Books, End, Ended, Ending};
use super::{BudgetError, Exceeded, OwnerId, Rules, list};
use crate::command::{Command, Waiting};
use crate::lease::LENGTHS;
use runstone_store::{DecideContext, Decision, Log};
use std::collections::BTreeSet;

/// Lapsed reservations that one decision records.
const EXPIRED_AT_ONCE: usize = 64;

/// Whether who has no room is to ask again: it had lapsed reservations, which are recorded by this,
/// or somebody else recorded them since it was refused. `looked`: who was found to have none.
pub(crate) async fn may_have_room(
    log: &Log,
    over: &Exceeded,
    looked: &mut BTreeSet<OwnerId>,
    waiting: Waiting,
) -> Result<bool, BudgetError> {
    let expired = expire(log, &over.owner, (usize::MAX, LENGTHS), waiting).await?;
    Ok(expired > 0 || looked.insert(over.owner.clone()))
}

/// Records reservations of an owner, and of those below it, whose lease is over: so many at most; it
/// looks at leases of so many lengths. Answers how many were recorded.
pub(crate) async fn expire(
    log: &Log,
    id: &OwnerId,
    (most, lengths): (usize, usize),
    waiting: Waiting,
) -> Result<usize, BudgetError> {
    let mut expired = 0;
    while expired < most {
        let count = EXPIRED_AT_ONCE.min(most - expired);
        let page = list::lapsed(log, id, (count, lengths))?;
        if page.is_empty() {
            break;
        }
        let mut candidates = Vec::with_capacity(page.len());
        let mut endings = Vec::with_capacity(page.len());
        for reservation in page {
            let ending = Ending {
                fence: reservation.fence,
                owner: reservation.owner,
                name: None,
                end: End::Expire,
            };
            candidates.extend(ending.drafts(&reservation.stream, None)?);
            endings.push(ending);
        }
        let decide = move |context: &mut DecideContext<'_>| {
            let (mut books, mut record) = (Books::default(), Vec::new());
            for (base, ending) in endings.iter().enumerate() {
                let ended = ending.decide(context, &mut books, &Rules::default(), base)?;
                if let Ended::Recorded(one, _) = ended {
                    record.extend(one);
                }
            }
            let mut decision = Decision::nothing(record.len());
            decision.record = record;
            Ok(decision)
        };
        let recorded = Command::new(log, candidates, decide)?
            .run_by(log, waiting)
            .await?;
        // None are left, or somebody else records them too.
        if recorded == 0 {
            break;
        }
        expired += recorded;
    }
    Ok(expired)
}

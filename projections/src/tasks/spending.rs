//! Whose budget a task is in, and whether that lets it be so deep.

use super::decide::Verdict;
use super::fold::task_key;
use super::loops::{Look, Wanted};
use crate::budgets::decide::Books;
use crate::budgets::{self, Amounts, Exceeded, OwnerId, Rules};
use crate::rows::TaskRow;
use runstone_store::{AppendError, DecideContext, Log, ReadError};

/// Budgets as they are where they are looked at.
pub(super) trait BudgetView {
    type Error;

    /// Whether somebody opened it.
    fn is_known(&mut self, id: &OwnerId) -> Result<bool, Self::Error>;

    /// Whether what it spends counts for the other one.
    fn is_within(&mut self, id: &OwnerId, above: &OwnerId) -> Result<bool, Self::Error>;

    /// The limit that asking for so much would exceed.
    fn refuses(
        &mut self,
        id: &OwnerId,
        rules: &Rules,
        asked: &Amounts,
    ) -> Result<Option<Exceeded>, Self::Error>;
}

/// As they are at the writer.
pub(super) struct AtWriter<'a, 'b> {
    context: &'a DecideContext<'b>,
    books: Books,
}

impl<'a, 'b> AtWriter<'a, 'b> {
    pub(super) fn new(context: &'a DecideContext<'b>) -> Self {
        Self {
            context,
            books: Books::default(),
        }
    }
}

impl BudgetView for AtWriter<'_, '_> {
    type Error = AppendError;

    fn is_known(&mut self, id: &OwnerId) -> Result<bool, AppendError> {
        self.books.is_known(self.context, id)
    }

    fn is_within(&mut self, id: &OwnerId, above: &OwnerId) -> Result<bool, AppendError> {
        self.books.is_within(self.context, id, above)
    }

    fn refuses(
        &mut self,
        id: &OwnerId,
        rules: &Rules,
        asked: &Amounts,
    ) -> Result<Option<Exceeded>, AppendError> {
        self.books.refuses(self.context, (id, rules), asked)
    }
}

/// As readers see them.
pub(super) struct AtReader<'a>(pub(super) &'a Log);

impl BudgetView for AtReader<'_> {
    type Error = ReadError;

    fn is_known(&mut self, id: &OwnerId) -> Result<bool, ReadError> {
        budgets::is_known(self.0, id)
    }

    fn is_within(&mut self, id: &OwnerId, above: &OwnerId) -> Result<bool, ReadError> {
        budgets::is_within(self.0, id, above)
    }

    fn refuses(
        &mut self,
        id: &OwnerId,
        rules: &Rules,
        asked: &Amounts,
    ) -> Result<Option<Exceeded>, ReadError> {
        budgets::refuses(self.0, id, rules, asked)
    }
}

/// Whose budget a task is in: the one that is named, else that of the task that it is a part of. A
/// task that is too deep for it is not created.
pub(super) fn spending<L: Look, P: BudgetView<Error = L::Error>>(
    (rows, budgets_now): (&mut L, &mut P),
    wanted: &Wanted<'_>,
    (named, rules): (Option<&OwnerId>, &Rules),
    depth: u64,
) -> Result<Result<Option<OwnerId>, Verdict>, L::Error> {
    let parent = match wanted.parent {
        Some(parent) => rows.get::<TaskRow>(&task_key(&parent, wanted.scope))?,
        None => None,
    };
    let above = parent.and_then(|parent| parent.budget);
    let above = above.as_ref().map(OwnerId::from);
    let Some(owner) = named.or(above.as_ref()) else {
        return Ok(Ok(None));
    };
    if !budgets_now.is_known(owner)? {
        return Ok(Err(Verdict::UnknownBudget));
    }
    if let Some(above) = &above
        && !budgets_now.is_within(owner, above)?
    {
        return Ok(Err(Verdict::OutsideOfParent));
    }
    let asked = Amounts::new().depth(depth);
    Ok(match budgets_now.refuses(owner, rules, &asked)? {
        Some(over) => Err(Verdict::Exceeded(Box::new(over))),
        None => Ok(Some(owner.clone())),
    })
}

//! What an owner was charged for a call of a model. Such a call may be reported several times, on
//! several days: each day is charged what that day's reports said more, and what a later one says
//! less is credited to the days that were charged it, the newest first.

use super::Amounts;
use crate::rows::ChargeRow;

/// Most days that a call's charges are told apart by; then the two oldest are one.
const MAX_DAYS: usize = 64;

/// All that was charged and not credited.
pub(super) fn total(charges: &[ChargeRow]) -> Amounts {
    let rows = charges.iter().map(|row| Amounts::of_row(&row.amounts));
    rows.fold(Amounts::new(), |sum, row| sum.plus(&row))
}

/// Takes a report into the days that were charged a call; answers in which windows what is credited was charged.
pub(super) fn report(
    days: &mut Vec<ChargeRow>,
    charge: &Amounts,
    credit: &Amounts,
    windows: [u64; 3],
) -> Vec<([u64; 3], Amounts)> {
    let (mut left, mut credited) = (credit.clone(), Vec::new());
    for row in days.iter_mut().rev() {
        let charged = Amounts::of_row(&row.amounts);
        let back = charged.at_most(&left);
        if back.is_empty() {
            continue;
        }
        left = left.less(&back);
        row.amounts = charged.less(&back).to_row();
        credited.push((row.windows, back));
    }
    days.retain(|row| !row.amounts.is_empty());
    if !charge.is_empty() {
        match days.last_mut().filter(|last| last.windows == windows) {
            Some(last) => last.amounts = Amounts::of_row(&last.amounts).plus(charge).to_row(),
            None => days.push(ChargeRow {
                windows,
                amounts: charge.to_row(),
            }),
        }
    }
    if days.len() > MAX_DAYS {
        let oldest = Amounts::of_row(&days.remove(0).amounts);
        if let Some(next) = days.first_mut() {
            next.amounts = Amounts::of_row(&next.amounts).plus(&oldest).to_row();
        }
    }
    credited
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: u64) -> [u64; 3] {
        [day, day / 7, day / 30]
    }

    fn tokens(tokens: u64) -> Amounts {
        Amounts::new().tokens(tokens)
    }

    #[test]
    fn a_credit_goes_to_the_days_that_were_charged_the_newest_first() {
        let (mut charges, none) = (Vec::new(), Amounts::new());
        for (at, more) in [(1, 100), (1, 10), (2, 50)] {
            assert!(report(&mut charges, &tokens(more), &none, day(at)).is_empty());
        }
        assert_eq!((charges.len(), total(&charges)), (2, tokens(160)));
        let credited = report(&mut charges, &none, &tokens(70), day(3));
        assert_eq!(credited, [(day(2), tokens(50)), (day(1), tokens(20))]);
        assert_eq!((charges.len(), total(&charges)), (1, tokens(90)));
    }

    #[test]
    fn however_many_days_report_a_call_the_sum_stands_and_its_row_is_small() {
        let (mut charges, none) = (Vec::new(), Amounts::new());
        for at in 0..1_000 {
            report(&mut charges, &tokens(1), &none, day(at));
        }
        assert_eq!((charges.len(), total(&charges)), (MAX_DAYS, tokens(1_000)));
        let credited = report(&mut charges, &none, &tokens(1_000), day(1_000));
        assert_eq!((charges.len(), credited.len()), (0, MAX_DAYS));
    }
}

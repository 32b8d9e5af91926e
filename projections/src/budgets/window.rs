//! Days, ISO weeks and months of UTC, by number.
//!
//! The civil calendar is that of Howard Hinnant, "chrono-compatible low-level date algorithms"; weeks
//! are those of ISO 8601, which begin on Monday.

use crate::events::Window;

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;

/// The day, week and month in which something happens, as numbers that only grow.
pub(super) fn of(at_us: u64) -> [u64; 3] {
    let day = at_us / DAY_US;
    let (year, month, _) = civil(day);
    // 1970-01-01 was a Thursday.
    [day, (day + 3) / 7, year * 12 + month - 1]
}

/// When the window began in which something happens; the whole time began at 0.
pub(super) fn begin_us(window: Window, at_us: u64) -> u64 {
    let day = at_us / DAY_US;
    let first = match window {
        Window::All => 0,
        Window::Day => day,
        Window::Week => ((day + 3) / 7 * 7).saturating_sub(3),
        Window::Month => day + 1 - civil(day).2,
    };
    first.saturating_mul(DAY_US)
}

/// The window in which something happens, in words: `2026-01-01`, `2026-W01`, `2026-01`.
pub(super) fn name(window: Window, at_us: u64) -> Option<String> {
    let day = at_us / DAY_US;
    let (year, month, date) = civil(day);
    match window {
        Window::All => None,
        Window::Day => Some(format!("{year:04}-{month:02}-{date:02}")),
        Window::Week => {
            // An ISO week is of the year that its Thursday is in.
            let thursday = (day + 3) / 7 * 7;
            let (year, ..) = civil(thursday);
            let week = (thursday - first_of(year)) / 7 + 1;
            Some(format!("{year:04}-W{week:02}"))
        }
        Window::Month => Some(format!("{year:04}-{month:02}")),
    }
}

/// Year, month and date of a day since 1970-01-01.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year + u64::from(month <= 2), month, date)
}

/// Day of the first of January of a year from 1970 on.
fn first_of(year: u64) -> u64 {
    let before = year.saturating_sub(1);
    (365 * before + before / 4 - before / 100 + before / 400).saturating_sub(719_162)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds, day, ISO week and month as `date -u -d @SECONDS +'%F %G-W%V %Y-%m'` says them.
    const KNOWN: [(u64, &str, &str, &str); 13] = [
        (0, "1970-01-01", "1970-W01", "1970-01"),
        (345_599, "1970-01-04", "1970-W01", "1970-01"),
        (345_600, "1970-01-05", "1970-W02", "1970-01"),
        (951_782_400, "2000-02-29", "2000-W09", "2000-02"),
        (1_104_537_599, "2004-12-31", "2004-W53", "2004-12"),
        (1_104_537_600, "2005-01-01", "2004-W53", "2005-01"),
        (1_230_768_000, "2009-01-01", "2009-W01", "2009-01"),
        (1_262_304_000, "2010-01-01", "2009-W53", "2010-01"),
        (1_262_563_200, "2010-01-04", "2010-W01", "2010-01"),
        (1_767_225_599, "2025-12-31", "2026-W01", "2025-12"),
        (1_767_225_600, "2026-01-01", "2026-W01", "2026-01"),
        (1_798_761_600, "2027-01-01", "2026-W53", "2027-01"),
        (4_107_542_400, "2100-03-01", "2100-W09", "2100-03"),
    ];

    #[test]
    fn known_instants() {
        for (at_s, day, week, month) in KNOWN {
            let at_us = at_s * SECOND_US;
            let named = |window| name(window, at_us).unwrap();
            assert_eq!(named(Window::Day), day);
            assert_eq!(named(Window::Week), week);
            assert_eq!(named(Window::Month), month);
        }
    }

    #[test]
    fn a_window_begins_where_its_number_changes() {
        for (at_s, ..) in KNOWN {
            let at_us = at_s * SECOND_US;
            for (at, window) in [Window::Day, Window::Week, Window::Month]
                .into_iter()
                .enumerate()
            {
                let begin_us = begin_us(window, at_us);
                let number = |us| of(us).get(at).copied();
                assert_eq!(number(begin_us), number(at_us), "{window} {at_s}");
                if let Some(before_us) = begin_us.checked_sub(1) {
                    assert_ne!(number(before_us), number(at_us), "{window} {at_s}");
                }
            }
        }
    }

    /// Day by day for 400 years each week has seven days and each name is one number.
    #[test]
    fn names_and_numbers_agree() {
        let mut last = None;
        for day in 0..146_097_u64 {
            let at_us = day * DAY_US;
            let [_, week, month] = of(at_us);
            let names = (name(Window::Week, at_us), name(Window::Month, at_us));
            if let Some(((before_week, before_month), before)) =
                last.replace(((week, month), names.clone()))
            {
                let (before_week_name, before_month_name): (Option<String>, Option<String>) =
                    before;
                assert_eq!(week == before_week, names.0 == before_week_name, "{day}");
                assert_eq!(month == before_month, names.1 == before_month_name, "{day}");
            }
        }
    }

    #[test]
    fn the_end_of_time_has_windows_too() {
        assert_eq!(of(u64::MAX).first(), Some(&(u64::MAX / DAY_US)));
        assert!(name(Window::Week, u64::MAX).is_some());
    }
}

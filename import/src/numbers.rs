//! Times and prices of recordings.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::json::string;

/// A time in Unix microseconds: RFC 3339 text, or a count of seconds, milliseconds,
/// microseconds or nanoseconds since 1970, told apart by its size. What cannot be read as a time is none.
pub(crate) fn unix_us(value: &RawValue) -> Option<u64> {
    if let Some(text) = string(value) {
        let time: Timestamp = text.parse().ok()?;
        return u64::try_from(time.as_microsecond()).ok();
    }
    let number: f64 = serde_json::from_str(value.get()).ok()?;
    // 1e11 seconds are the year 5138, 1e11 milliseconds 1973; likewise one step further.
    let scale = match number {
        _ if number < 0.0 => return None,
        _ if number < 1e11 => 1e6,
        _ if number < 1e14 => 1e3,
        _ if number < 1e17 => 1.0,
        // Floating point does not hold so many digits.
        _ => {
            return serde_json::from_str::<u64>(value.get())
                .ok()
                .map(|ns| ns / 1000);
        }
    };
    whole(number * scale)
}

/// A price in millionths of a dollar, half to even. Prices are whole billionths that floating
/// point blurs, so they are first made whole again.
pub(crate) fn usd_micros(usd: f64) -> Option<u64> {
    let nanos = whole(usd * 1e9)?;
    let (micros, rest) = (nanos / 1000, nanos % 1000);
    Some(micros + u64::from(rest > 500 || (rest == 500 && micros % 2 == 1)))
}

/// An amount in thousandths of its unit, to the nearest one.
pub(crate) fn thousandths(amount: f64) -> Option<u64> {
    whole(amount * 1e3)
}

/// Prices in millionths of a dollar whose sum is exact: what rounding one price takes or adds, the
/// next one has more or less.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Prices {
    /// Billionths of a dollar that are still to be counted, from -500 to 499.
    rest: i64,
}

impl Prices {
    /// The next price.
    pub(crate) fn usd_micros(&mut self, usd: f64) -> Option<u64> {
        let nanos = i64::try_from(whole(usd * 1e9)?)
            .ok()?
            .checked_add(self.rest)?;
        let micros = nanos.checked_add(500)?.div_euclid(1000);
        self.rest = nanos - micros * 1000;
        u64::try_from(micros).ok()
    }
}

/// The nearest whole number, if it is one that floating point tells apart from its neighbours.
fn whole(number: f64) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0 * 1024.0;
    let number = number.round();
    if !(0.0..EXACT).contains(&number) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was just checked to be a whole number in range"
    )]
    Some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(json: &str) -> Option<u64> {
        unix_us(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn times_are_read_as_recordings_write_them() {
        let want = Some(1_770_622_585_434_000);
        assert_eq!(time(r#""2026-02-09T07:36:25.434Z""#), want);
        assert_eq!(time(r#""2026-02-09T08:36:25.434+01:00""#), want);
        assert_eq!(time("1770622585.434"), want);
        assert_eq!(time("1770622585434"), want);
        assert_eq!(time("1770622585434000"), want);
        assert_eq!(time("1770622585434000999"), want);
        for bad in [
            r#""yesterday""#,
            r#""1969-01-01T00:00:00Z""#,
            "-1",
            "1e300",
            "null",
            "{}",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn sums_of_prices_are_exact() {
        let mut prices = Prices::default();
        let mut next = |usd| prices.usd_micros(usd).unwrap();
        let three = [next(0.000_000_4), next(0.000_000_4), next(0.000_000_4)];
        assert_eq!(three, [0, 1, 0]);
        assert_eq!([next(0.0), next(0.000_000_3)], [0, 1]);
        assert_eq!([next(1.0), next(0.000_000_5)], [1_000_000, 0]);
        for odd in [-1.0, f64::NAN, 1e300] {
            assert_eq!(prices.usd_micros(odd), None);
        }
    }

    #[test]
    fn prices_are_rounded_half_to_even() {
        assert_eq!(usd_micros(0.003_547_500_000_000_000_3), Some(3548));
        assert_eq!(usd_micros(0.002_192_5), Some(2192));
        assert_eq!(
            (usd_micros(0.0), usd_micros(1.0)),
            (Some(0), Some(1_000_000))
        );
        assert_eq!(
            (usd_micros(-1.0), usd_micros(f64::NAN), usd_micros(1e300)),
            (None, None, None)
        );
    }
}

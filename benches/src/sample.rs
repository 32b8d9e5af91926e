//! What one round measured, and what all rounds come to.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// One round of one workload with one contender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// In the unit of the workload.
    pub(crate) value: f64,
    /// Of every request, in microseconds.
    pub(crate) latencies_us: Vec<f64>,
    /// What an event, or a run that is read, cost all threads, in microseconds. On a machine that
    /// others use it says more than a rate.
    pub(crate) cpu_us: Option<f64>,
    /// Length of the files, where it matters.
    pub(crate) gigabytes: Option<f64>,
}

impl Sample {
    /// A rate: so many of something in this time.
    pub(crate) fn rate(amount: f64, elapsed: Duration, latencies_us: Vec<f64>) -> Self {
        Self {
            value: amount / elapsed.as_secs_f64(),
            latencies_us,
            ..Self::default()
        }
    }

    /// What all that was measured cost, for each of so many.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn cpu(mut self, spent: Duration, of: u64) -> Self {
        self.cpu_us = Some(micros(spent) / of as f64);
        self
    }

    /// The median of latencies.
    pub(crate) fn latency(latencies_us: Vec<f64>) -> Self {
        Self {
            value: quantile(&mut latencies_us.clone(), 0.5),
            latencies_us,
            ..Self::default()
        }
    }
}

/// Processor time that all threads of this process have used.
pub(crate) fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(used).unwrap_or_default()
}

pub(crate) fn micros(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e6
}

/// Every round of one workload with one contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Of the latencies of all rounds, in microseconds.
    pub(crate) p99_us: Option<f64>,
    /// Median of the rounds.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) gigabytes: Option<f64>,
}

impl Summary {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        let mut cpu: Vec<f64> = samples.iter().filter_map(|sample| sample.cpu_us).collect();
        let latencies = samples.iter().flat_map(|sample| &sample.latencies_us);
        let mut latencies: Vec<f64> = latencies.copied().collect();
        Self {
            median: quantile(&mut values, 0.5),
            low: quantile(&mut values, 0.0),
            high: quantile(&mut values, 1.0),
            p99_us: (!latencies.is_empty()).then(|| quantile(&mut latencies, 0.99)),
            cpu_us: (!cpu.is_empty()).then(|| quantile(&mut cpu, 0.5)),
            gigabytes: samples.iter().find_map(|sample| sample.gigabytes),
        }
    }
}

/// The value below which this share lies; the mean of two in the middle of an even number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index within the slice"
)]
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) as f64 * share;
    let value = |at: f64| values.get(at as usize).copied().unwrap_or(f64::NAN);
    f64::midpoint(value(at.floor()), value(at.ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&mut values, 0.5).to_bits(), 2.5_f64.to_bits());
        assert_eq!(quantile(&mut values, 0.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(quantile(&mut values, 1.0).to_bits(), 4.0_f64.to_bits());
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}

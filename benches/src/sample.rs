//! What one round measured, and what all rounds come to.

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::fs::read_to_string;
use std::time::{Duration, Instant};

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
    /// Requests answered in a second, where the value is how long one took.
    pub(crate) per_second: Option<f64>,
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

/// Memory of this process, in MB: `VmRSS` what is resident now, `VmHWM` the most that was
/// (proc(5)). What the kernel keeps of files that are read by `read` is not in it, mapped pages are.
pub(crate) fn memory(name: &str) -> Result<f64> {
    let status = read_to_string("/proc/self/status")?;
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next());
    let kibibytes: f64 = kibibytes.context("no such line")?.parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// So many of something since then, a second.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn rate(amount: u64, since: Instant) -> f64 {
    amount as f64 / since.elapsed().as_secs_f64()
}

/// Latencies of so many reads after some that do not count, in microseconds.
pub(crate) fn reads(
    warm: u64,
    counted: u64,
    mut read: impl FnMut() -> Result<()>,
) -> Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for turn in 0..warm + counted {
        let start = Instant::now();
        read()?;
        if turn >= warm {
            latencies.push(micros(start.elapsed()));
        }
    }
    Ok(latencies)
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
    pub(crate) latency: Option<Quantiles>,
    /// Median of the rounds.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) gigabytes: Option<f64>,
    /// Median of the rounds.
    pub(crate) per_second: Option<f64>,
}

/// Latencies of all rounds, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) worst: f64,
}

impl Quantiles {
    fn of(samples: &[Sample]) -> Option<Self> {
        let latencies = samples.iter().flat_map(|sample| &sample.latencies_us);
        let mut latencies: Vec<f64> = latencies.copied().collect();
        (!latencies.is_empty()).then(|| Self {
            p50: quantile(&mut latencies, 0.5),
            p99: quantile(&mut latencies, 0.99),
            p999: quantile(&mut latencies, 0.999),
            worst: quantile(&mut latencies, 1.0),
        })
    }
}

impl Summary {
    pub(crate) fn of(samples: &[Sample]) -> Self {
        let median = |of: fn(&Sample) -> Option<f64>| {
            let mut values: Vec<f64> = samples.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| quantile(&mut values, 0.5))
        };
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
        Self {
            median: quantile(&mut values, 0.5),
            low: quantile(&mut values, 0.0),
            high: quantile(&mut values, 1.0),
            latency: Quantiles::of(samples),
            cpu_us: median(|sample| sample.cpu_us),
            gigabytes: samples.iter().find_map(|sample| sample.gigabytes),
            per_second: median(|sample| sample.per_second),
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
    fn all_rounds_are_summed_up() {
        let sample = |value: f64, latencies_us: Vec<f64>| Sample {
            value,
            latencies_us,
            per_second: Some(value * 10.0),
            ..Sample::default()
        };
        let rounds = [
            sample(1.0, vec![4.0, 1.0]),
            sample(3.0, vec![9.0]),
            sample(2.0, Vec::new()),
        ];
        let summary = Summary::of(&rounds);
        let latency = summary.latency.unwrap();
        let found = [summary.median, summary.high, latency.p50, latency.worst];
        assert_eq!(
            found.map(f64::to_bits),
            [2.0, 3.0, 4.0, 9.0].map(f64::to_bits)
        );
        assert_eq!((summary.per_second, summary.cpu_us), (Some(20.0), None));
    }

    #[test]
    fn memory_is_told() {
        let (now, most) = (memory("VmRSS").unwrap(), memory("VmHWM").unwrap());
        assert!(now > 0.1 && most >= now, "{now} {most}");
        assert!(memory("Nothing").is_err());
    }

    #[test]
    fn quantiles() {
        let mut values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&mut values, 0.5).to_bits(), 2.5_f64.to_bits());
        assert_eq!(quantile(&mut values, 0.0).to_bits(), 1.0_f64.to_bits());
        assert_eq!(quantile(&mut values, 1.0).to_bits(), 4.0_f64.to_bits());
        assert!(quantile(&mut [], 0.5).is_nan());
    }
}

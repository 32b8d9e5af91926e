//! What others may take of the holder.

use std::time::Duration;

/// What others may take of the process that holds a log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Connections open at once. When one more comes, the one that has been idle longest goes; if
    /// all are busy, the new one is turned away. Default 256.
    pub connections: usize,
    /// Bytes of one request. Default 64 MiB.
    pub request_bytes: usize,
    /// How long a request may take to arrive, once it has begun. Default 30 seconds.
    pub request_time: Duration,
    /// How long whoever is answered may take nothing of the answer. Default 30 seconds.
    pub stall_time: Duration,
    /// How long a connection may be idle. Default 5 minutes.
    pub idle_time: Duration,
    /// Requests answered at once. Default 16.
    pub workers: usize,
    /// How long somebody who follows waits for an event before he has to ask again. Default 20
    /// seconds.
    pub follow_time: Duration,
    /// How long requests under way may take when the holder stops. Default 5 seconds.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            request_bytes: 64 << 20,
            request_time: Duration::from_secs(30),
            stall_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(300),
            workers: 16,
            follow_time: Duration::from_secs(20),
            stop_time: Duration::from_secs(5),
        }
    }
}

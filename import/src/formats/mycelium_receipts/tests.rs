//! Small recordings.

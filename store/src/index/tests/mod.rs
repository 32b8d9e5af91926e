//! The index as a whole.

mod frequent;
mod model;
mod tamper;
mod vectors;

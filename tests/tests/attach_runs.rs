//! Runs of processes that do not hold the log: whoever dies, nobody does a step twice, and nobody
//! records in a run that somebody else goes on with.

use runstone::attach::{Limits, connect, socket_of};
use runstone::runs::{self, Begin, RunStatus};
use runstone::{
    Control, Draft, Hold, NewEvent, Runstone, Status, StoredRunError as _, sessions,
};

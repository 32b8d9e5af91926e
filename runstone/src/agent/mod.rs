//! What an agent runtime embeds: runs, and in them calls that happen once, steps and a session.
//!
//! ```text
//!  Runstone --run(name)--> RunBuilder --resume_or_start(id)--> Run
//!                                                               |-- effect(name)..call(f)   once
//!                                                               |-- step(node)..run(f)      once a run
//!                                                               |-- session().append, patch
//!                                                               |-- llm_call, append
//!                                                               '-- finish, pause
//!  Runstone --inbox(agent)--> Inbox.wait                          messages, orders to stop
//!  helper_loop(tray, work, retire)                                claim, work, complete, retire
//!  run_again(recording, program)                                  the same program, its calls answered
//! ```

mod again;
mod approval;
mod block;
mod branch;
mod call;
mod guard;
mod handle;
mod helper;
mod inbox;
mod renew;
mod run;
mod session;
mod spawn;
mod status;
mod step;
mod tool;
mod waiting;

pub use again::{NotAnswered, RunAgainError, run_again, run_again_blocking};
pub use call::{CallError, EffectCall};
pub use handle::Runstone;
pub use helper::{
    HelperEnd, HelperExit, HelperOptions, HelperTask, Pause, Sleeper, helper_loop,
    helper_loop_blocking,
};
pub use inbox::Inbox;
pub use run::{Run, RunBuilder};
pub use session::Session;
pub use spawn::{HelperError, Retired, run_helper, run_helper_blocking};
pub use status::{LetGo, Status};
pub use step::{Step, StepError, StepReport};
pub use tool::Tool;

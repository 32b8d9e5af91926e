//! `demo`: what a log is good for, played on one.
//!
//! ```text
//!  story -- lines --> sh: runstone ..., in the folder   --> shown, and its exit code checked
//!    |  '-- looks --> sh: runstone --json ...           --> promises
//!    '-- lives ----> runstone demo --agent <-- pipe --> gateway --> gateway.txt
//! ```

mod agent;
mod audit;
mod gateway;
mod place;
mod stage;
mod story;

use crate::args::DemoArgs;
use crate::error::{Exit, Failure};
use crate::session::Session;
use stage::Stage;

pub(crate) fn run(session: &Session, args: &DemoArgs) -> Result<Exit, Failure> {
    if let Some(stream) = &args.agent {
        return agent::work(&session.log, stream);
    }
    let (folder, gateway) = place::take(args.dir.as_deref())?;
    let stage = Stage::new(session.output.clone(), folder)?;
    story::play(stage, gateway)
}

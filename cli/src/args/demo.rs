//! Arguments of the demonstration.

use clap::Args;
use std::path::PathBuf;

const STORY: &str = "\
An agent pays invoices on a log of its own. It is killed (SIGKILL) after the gateway has charged one and before it knows,
goes on without paying twice, does not fit into its budget, and waits for a person. Then the log is looked at: at an
earlier point, by an auditor who has no key, altered by somebody who has the file, and without the words of a person who
wants them erased.

Everything that is shown is run, in a shell in the folder of the log, and can be run there again; what is promised is
checked. It ends with 1 if a promise did not hold. --log and the other flags for every command are not used, except
--json: one object a step, and one for the whole.";

/// See it work: an agent that is killed in the middle of paying, on a log that is made for it
#[derive(Debug, Args)]
#[command(after_long_help = STORY)]
pub(crate) struct DemoArgs {
    /// The folder of its log, which is empty or not there yet [default: a new one among the temporary
    /// files]
    #[arg(long, value_name = "D")]
    pub(crate) dir: Option<PathBuf>,
    /// For the demonstration alone: be its agent in this run, on the log of --log. It asks for payments
    /// on stdout and is answered on stdin
    #[arg(long, hide = true, value_name = "STREAM", conflicts_with = "dir")]
    pub(crate) agent: Option<String>,
}

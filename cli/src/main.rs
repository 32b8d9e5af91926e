//! The command `runstone`; all of it is in the library beside.

use std::process::ExitCode;

fn main() -> ExitCode {
    runstone_cli::main()
}

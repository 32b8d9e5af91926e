//! A payment gateway that counts what it really charges, in its own process and its own file.
//!
//! ```text
//! gateway SOCKET FILE idempotent|plain SEED
//! request   charge KEY PID      find KEY
//! answer    ok ID               error TEXT       late        none
//! ```
//!
//! One request at a time, in the order in which they come. Now and then it goes wrong: the payer is
//! killed before the charge, after it, or after the answer; the answer is an error although it
//! charged; or the answer comes too late for the payer to wait.

use runstone_tests::tamper::{Outcome, Seeded};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// One charge in so many goes wrong in each way.
const FAULTS: usize = 24;

fn kill(pid: &str) {
    // It may be gone already.
    let _ = Command::new("kill")
        .args(["-9", pid])
        .stderr(Stdio::null())
        .status();
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let [_, socket, file, mode, seed] = args.as_slice() else {
        return Err("gateway SOCKET FILE MODE SEED".into());
    };
    let listener = UnixListener::bind(socket)?;
    let mut charges = OpenOptions::new().create(true).append(true).open(file)?;
    let mut seeded = Seeded::new(seed.parse()?);
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut count = 0;
    println!("listening");
    for connection in listener.incoming() {
        let mut connection = connection?;
        let mut request = String::new();
        BufReader::new(&connection).read_line(&mut request)?;
        let words: Vec<&str> = request.split_whitespace().collect();
        let answer = match words.as_slice() {
            ["find", key] => match known.get(*key) {
                Some(id) => format!("ok {id}"),
                None => "none".to_owned(),
            },
            ["charge", key, pid] => {
                let fault = seeded.below(FAULTS);
                if fault == 0 {
                    kill(pid);
                }
                let is_known = mode == "idempotent" && known.contains_key(*key);
                if !is_known {
                    count += 1;
                    writeln!(charges, "{key}")?;
                    charges.sync_data()?;
                    known.insert((*key).to_owned(), count);
                }
                if fault == 1 {
                    kill(pid);
                }
                let id = known.get(*key).copied().unwrap_or_default();
                let answer = match fault {
                    3 => "error gateway-timeout".to_owned(),
                    4 => "late".to_owned(),
                    _ => format!("ok {id}"),
                };
                // A payer that was killed hears nothing.
                let _ = writeln!(connection, "{answer}");
                if fault == 2 {
                    kill(pid);
                }
                continue;
            }
            // A payer that was killed while it wrote.
            _ => continue,
        };
        let _ = writeln!(connection, "{answer}");
    }
    Ok(())
}

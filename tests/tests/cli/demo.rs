//! The demonstration, as a stranger runs it.

use runstone_tests::command::{binary, ended};
use runstone_tests::held::Process;
use runstone_tests::tamper::Outcome;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The demonstration with these arguments, in a pipe. The environment leads elsewhere on purpose.
fn demo(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("demo")
        .args(args)
        .current_dir(folder)
        .env("TMPDIR", folder)
        .env("RUNSTONE_LOG", folder.join("not-this-log"))
        .env("RUNSTONE_KEYS", folder.join("not-these-keys"))
        .env("RUNSTONE_CRED", folder.join("not-this-credential"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn it_fits_into_80_columns_of_plain_text_and_keeps_what_it_promises() -> Outcome {
    let folder = tempfile::tempdir()?;
    let output = demo(&["--dir", "d"], folder.path()).output()?;
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(told(&output), "");
    let text = String::from_utf8(output.stdout)?;
    let long: Vec<_> = text
        .lines()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert!(long.is_empty(), "{long:#?}");
    assert!(
        !text.contains('\u{1b}') && !text.contains("BROKEN"),
        "{text}"
    );
    assert_eq!(text.matches("\n8. ").count(), 1, "{text}");
    assert!(text.contains("All 16 promises held."), "{text}");
    let charges = std::fs::read_to_string(folder.path().join("d/gateway.txt"))?;
    let invoices: Vec<_> = charges
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(invoices, ["inv-1", "inv-2", "inv-3", "inv-4", "inv-5"]);
    assert!(!folder.path().join("not-this-log").exists());
    Ok(())
}

/// The commands that only look, run again as its last words say.
#[test]
fn what_it_shows_can_be_run_on_what_is_left() -> Outcome {
    let folder = tempfile::tempdir()?;
    let output = demo(&["--json"], folder.path()).output()?;
    let (exit, mut steps, code) = ended(&output);
    assert_eq!((exit, code.as_str()), (0, ""), "{}", told(&output));
    let end = steps.pop().ok_or("it says how it ended")?;
    assert_eq!((&end["kept"], &end["broken"]), (&16.into(), &0.into()));
    let place = Path::new(text(&end["folder"]));
    assert_eq!(
        place.parent(),
        Some(folder.path().canonicalize()?.as_path())
    );
    let mut rerun = 0;
    for step in &steps {
        for ran in step["commands"].as_array().ok_or("commands")? {
            let line = text(&ran["command"]);
            let writes = [
                " init", "--cred", "fork", "mkdir", " append", " erase", "policy >", " receipt",
            ];
            let is_check = line.contains("receipt verify");
            if !is_check && writes.iter().any(|word| line.contains(word)) {
                continue;
            }
            let script = format!("runstone() {{ \"$0\" \"$@\"; }}\n{line}");
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(script).arg(binary()).current_dir(place);
            let shell = shell.env("RUNSTONE_LOG", "demo.redb").stdin(Stdio::null());
            let again = shell.output()?;
            let exit = again.status.code().map(i64::from);
            // What was in doubt is settled by now, and so is the question to people.
            assert_eq!(exit, ran["exit"].as_i64(), "{line}: {}", told(&again));
            rerun += 1;
        }
    }
    assert!(rerun >= 12, "{rerun}");
    let verified = Command::new(binary())
        .args(["--log", text(&end["log"]), "--json", "verify"])
        .output()?;
    assert_eq!(ended(&verified).1[0]["valid"], true);
    Ok(())
}

#[test]
fn a_folder_with_something_in_it_is_not_touched() -> Outcome {
    let folder = tempfile::tempdir()?;
    let output = demo(&["--dir", "d"], folder.path()).output()?;
    assert!(output.status.success(), "{}", told(&output));
    let book = std::fs::read_to_string(folder.path().join("d/gateway.txt"))?;
    std::fs::create_dir(folder.path().join("other"))?;
    std::fs::write(folder.path().join("other/letter"), "dear")?;
    for (place, says) in [
        ("d", "holds a demonstration already"),
        ("other", "is not an empty folder"),
        ("other/letter", "is not an empty folder"),
    ] {
        let again = demo(&["--json", "--dir", place], folder.path()).output()?;
        let (exit, answers, code) = ended(&again);
        assert_eq!((exit, answers.len(), code.as_str()), (2, 0, "demo_folder"));
        assert!(told(&again).contains(says), "{}", told(&again));
    }
    assert_eq!(
        std::fs::read_to_string(folder.path().join("d/gateway.txt"))?,
        book
    );
    assert_eq!(std::fs::read_dir(folder.path().join("other"))?.count(), 1);
    Ok(())
}

/// Killed while its agent works, it leaves no agent behind, and a log that is whole.
#[test]
fn it_can_be_killed_in_the_middle() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut process = Process(demo(&["--dir", "d"], folder.path()).spawn()?);
    let shown = process.0.stdout.take().ok_or("it has an output")?;
    let mut shown = BufReader::new(shown);
    let mut line = String::new();
    while !line.contains("agent: process") {
        line.clear();
        assert!(shown.read_line(&mut line)? > 0, "it shows its agent");
    }
    process.0.kill()?;
    process.0.wait()?;
    // The agent holds the pipe of stderr as long as it lives.
    let mut rest = String::new();
    let errors = process.0.stderr.take().ok_or("it has one")?;
    BufReader::new(errors).read_to_string(&mut rest)?;
    let log = folder.path().join("d/demo.redb");
    let verified = Command::new(binary())
        .arg("--log")
        .arg(&log)
        .args(["--json", "verify"])
        .output()?;
    assert_eq!(ended(&verified).1[0]["valid"], true, "{rest}");
    let again = demo(&["--json", "--dir", "d"], folder.path()).output()?;
    assert_eq!(ended(&again).2, "demo_folder");
    Ok(())
}

/// Here the copy is not altered, whatever the command says that alters it.
#[test]
fn a_promise_that_does_not_hold_is_told_and_ends_it_with_1() -> Outcome {
    let folder = tempfile::tempdir()?;
    let sed = folder.path().join("sed");
    std::fs::write(&sed, "#!/bin/sh\nshift\nexec cat \"$@\"\n")?;
    std::fs::set_permissions(&sed, std::fs::Permissions::from_mode(0o700))?;
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", folder.path().display());
    let output = demo(&["--dir", "d"], folder.path())
        .env("PATH", path)
        .output()?;
    let text = String::from_utf8(output.stdout.clone())?;
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(told(&output).contains("4 of "), "{}", told(&output));
    let unwrapped = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for broken in [
        "BROKEN: `runstone --log altered/demo.redb verify` ends with 4 (it ended with",
        "BROKEN: the altered event is named",
        "BROKEN: and refuses the forged one",
    ] {
        assert!(unwrapped.contains(broken), "{text}");
    }
    assert!(!text.contains("promises held"), "{text}");
    Ok(())
}

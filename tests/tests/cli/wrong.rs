//! What the command answers to what cannot be: an exit code and an error that say what it was.

use runstone_tests::command::Runstone;
use runstone_tests::tamper::Outcome;

#[test]
fn what_is_asked_wrongly_is_told_so() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let log = Runstone::on(path("log.redb"));
    for (args, exit, code) in [
        ("runs", 5, "log_not_found"),
        ("verify", 5, "log_not_found"),
        ("demo --dir /dev/null/x", 7, "storage_io"),
        ("keys restore /nowhere/keys", 5, "file_not_found"),
    ] {
        let words: Vec<_> = args.split(' ').collect();
        let ended = log.ended(&words);
        assert_eq!((ended.0, ended.2.as_str()), (exit, code), "{args}");
    }
    log.value(["init"]);
    std::fs::write(folder.path().join("there"), "dear")?;
    for (args, exit, code) in [
        ("show 99", 5, "not_found"),
        ("show abc", 2, "usage"),
        ("run nope", 5, "run_not_found"),
        ("state nope", 5, "run_not_found"),
        ("diff a b", 5, "run_not_found"),
        ("diff a b c", 2, "usage"),
        ("effect show nope", 5, "effect_not_found"),
        ("effect claim --name x", 2, "usage"),
        ("effect claim --name x --key k --args {", 2, "usage"),
        ("effect list --status foo", 2, "usage"),
        ("approval show 5", 5, "approval_not_found"),
        ("approval list --status foo", 2, "usage"),
        ("task claim x", 5, "task_not_found"),
        ("tray claim nope", 5, "tray_not_found"),
        ("tray open a/b", 2, "bad_tray_name"),
        ("budget check nope", 5, "budget_not_found"),
        ("budget open b --limit usd=abc", 2, "usage"),
        ("message send nope --text hi", 5, "agent_not_found"),
        ("sink status nope", 5, "sink_not_found"),
        ("receipt 99", 5, "not_found"),
        ("receipt verify nope --policy nope", 8, "policy_unreadable"),
        ("consistency nope", 5, "file_not_found"),
        ("erase nope --basis x", 5, "scope_unknown"),
        ("backup THERE", 2, "file_exists"),
        ("keys backup THERE", 2, "file_exists"),
        ("keys restore /nowhere/keys", 5, "file_not_found"),
        ("import THERE", 2, "unknown_format"),
        ("append --type Bad --stream s", 2, "bad_event_type"),
        (
            "append --type effect.claimed --stream s",
            2,
            "owned_namespace",
        ),
        ("schema nope", 5, "unknown_schema"),
        ("rebuild nope", 5, "fold_unknown"),
        (
            "--cred nope append --type a.b --stream s",
            8,
            "no_credential",
        ),
        ("log", 2, "usage"),
        ("nonsense", 2, "usage"),
    ] {
        let args = args.replace("THERE", &path("there"));
        let words: Vec<_> = args.split(' ').collect();
        let ended = log.ended(&words);
        assert_eq!((ended.0, ended.2.as_str()), (exit, code), "{args}");
    }
    assert_eq!(std::fs::read(folder.path().join("there"))?, b"dear");
    Ok(())
}

/// Where it is said how many columns there are, answers keep to them, also in a pipe.
#[test]
fn answers_in_a_pipe_fit_the_columns_that_are_given() -> Outcome {
    let folder = tempfile::tempdir()?;
    let log = Runstone::on(folder.path().join("log.redb"));
    log.value(["init"]);
    let name = "a-name-that-is-rather-long-for-a-table";
    log.value(["effect", "claim", "--name", name, "--key", "k-1"]);
    for args in [
        &["effect", "list"][..],
        &["orphans"],
        &["log", "--stream", "scripts"],
    ] {
        let command = log.command(args);
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let args = args.into_iter().filter(|arg| arg != "--json");
        let mut people = std::process::Command::new(command.get_program());
        let output = people.args(args).env("COLUMNS", "80").output()?;
        let text = String::from_utf8(output.stdout)?;
        let long = text.lines().find(|line| line.chars().count() > 80);
        assert!(text.lines().count() > 0 && long.is_none(), "{long:?}");
        let free = String::from_utf8(people.env_remove("COLUMNS").output()?.stdout)?;
        assert!(free.lines().any(|line| line.chars().count() > 80), "{free}");
    }
    Ok(())
}

//! The examples, as programs: each says that what it shows is so.

use runstone_tests::command::{binary, example, workspace};
use runstone_tests::tamper::Outcome;
use std::collections::BTreeMap;
use std::process::Command;

/// What each example must say.
fn says() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("agent", &["in doubt: 1", "success; charged 60 dollars"][..]),
        ("auditor", &["refund.granted by system:keyring", "forged: "]),
        ("embed", &["lost to position 2", "followed to 4: 1 calls"]),
        ("fold", &["a spent 1500 cents", "folded again: the same"]),
        ("sink", &["\"data\":{\"usd\":30}"]),
        (
            "tools",
            &[
                "killed: signal: 9 (SIGKILL)",
                "resumed: true",
                "the report: \"fine in oslo\\nfine in lima\"",
            ],
        ),
        (
            "workers",
            &["fails at inv-3", "12 of 12 tasks done, 0 twice"],
        ),
    ])
}

#[test]
fn every_example_does_what_it_says() -> Outcome {
    let mut known = says();
    for entry in std::fs::read_dir(workspace().join("runstone/examples"))? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .ok_or("a name")?;
        let says = known
            .remove(name)
            .ok_or_else(|| format!("nothing is known of {name}"))?;
        let output = Command::new(example(name)).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {told}");
        let text = String::from_utf8(output.stdout)?;
        for line in says {
            assert!(text.contains(line), "{name} does not say {line:?}: {text}");
        }
    }
    assert!(known.is_empty(), "there are no examples {known:?}");
    Ok(())
}

/// What the demonstration gives its auditor, the verifier of a hundred lines reads.
#[test]
fn the_verifier_alone_reads_what_the_command_wrote() -> Outcome {
    let folder = tempfile::tempdir()?;
    let script = "set -eu; runstone() { \"$0\" \"$@\"; }
        runstone init; runstone append --type note.taken --stream s
        runstone policy > policy; runstone receipt 1 -o receipt; sed 's/^index 1/index 0/' receipt > forged";
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(script)
        .arg(binary())
        .current_dir(folder.path());
    let made = shell.env("RUNSTONE_LOG", "log.redb").output()?;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    for (receipt, exit) in [("receipt", 0), ("forged", 1)] {
        let mut verify = Command::new(example("verify"));
        let output = verify
            .args(["policy", receipt])
            .current_dir(folder.path())
            .output()?;
        assert_eq!(output.status.code(), Some(exit), "{receipt}");
    }
    Ok(())
}

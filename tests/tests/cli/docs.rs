//! Commands in the documentation are commands that there are.

use runstone_tests::command::{binary, workspace};
use runstone_tests::tamper::Outcome;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// Pages that tell people what to run.
fn pages() -> Outcome<Vec<PathBuf>> {
    let mut pages = vec![
        workspace().join("README.md"),
        workspace().join("runstone/src/pack/VERIFY.md"),
    ];
    for folder in ["docs", "docs/errors", "docs/guide"] {
        for entry in std::fs::read_dir(workspace().join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "md") {
                pages.push(path);
            }
        }
    }
    // The command says of itself what stands there.
    pages.retain(|page| !page.ends_with("docs/CLI.md"));
    Ok(pages)
}

#[test]
fn the_reference_is_what_the_command_says_of_itself() -> Outcome {
    let output = Command::new(binary())
        .args(["man", "--markdown"])
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    let page = std::fs::read_to_string(workspace().join("docs/CLI.md"))?;
    let differs = said
        .lines()
        .zip(page.lines())
        .position(|(said, page)| said != page);
    assert!(
        said == page,
        "docs/CLI.md is out of date, at line {:?}; make it anew with: cargo run -p runstone-cli -- man --markdown > docs/CLI.md",
        differs.map(|line| line + 1)
    );
    Ok(())
}

/// The commands of a page, without `runstone`: in lines of their own and within text.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let (mut is_code, mut text) = (false, String::new());
    for line in page.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            let parts = line
                .split(['|', ';', '>'])
                .flat_map(|part| part.split("&&"));
            found.extend(parts.filter_map(words));
        } else {
            text.push_str(line.trim());
            text.push(if line.is_empty() { '`' } else { ' ' });
        }
    }
    let within = text.split('`').skip(1).step_by(2);
    found.extend(within.filter_map(words));
    found
}

fn words(text: &str) -> Option<Vec<String>> {
    let words = text.trim().strip_prefix("runstone ")?.split_whitespace();
    Some(words.map(str::to_owned).collect())
}

/// What the command says of itself.
fn help(path: &[&str]) -> Outcome<String> {
    let output = Command::new(binary()).args(path).arg("--help").output()?;
    assert!(output.status.success(), "there is no `runstone {path:?}`");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn every_command_in_the_documentation_exists() -> Outcome {
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut checked = 0;
    for page in pages()? {
        for command in commands(&std::fs::read_to_string(&page)?) {
            let at = format!("{}: runstone {}", page.display(), command.join(" "));
            if command
                .first()
                .is_none_or(|word| word == "help" || word == "COMMAND")
            {
                continue;
            }
            // As many words as there are commands below commands.
            let mut path: Vec<&str> = Vec::new();
            let mut text = String::new();
            for word in &command {
                let mut lines = text.lines().map(str::trim);
                let below = lines.any(|line| line.starts_with(&format!("{word} ")));
                let is_group = text.contains("\nCommands:") && !word.starts_with('-');
                let is_next = path.is_empty() || is_group && below;
                let mut usages = text.lines().filter(|line| line.starts_with("Usage:"));
                let is_wanted = usages.any(|usage| usage.contains("<COMMAND>"));
                assert!(is_next || !is_wanted, "{at}: no such command");
                if !is_next {
                    break;
                }
                path.push(word);
                let key = path.join(" ");
                if !helps.contains_key(&key) {
                    helps.insert(key.clone(), help(&path)?);
                }
                text.clone_from(&helps[&key]);
                let usage = format!("Usage: runstone {key} ");
                assert!(
                    format!("{text} ").replace('\n', " ").contains(&usage),
                    "{at}"
                );
            }
            for flag in command
                .iter()
                .filter(|word| word.starts_with('-') && word.len() > 1)
            {
                let flag = flag.trim_end_matches([',', ')']);
                let flag = flag.split('=').next().unwrap_or(flag);
                let is_there = text.split([' ', ',', '\n']).any(|word| word.trim() == flag);
                assert!(is_there, "{at}: there is no {flag}");
            }
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
    Ok(())
}

//! The README, the guide and the pages on commands, as their readers follow them: the shell blocks of each
//! page in order, in an empty folder. `docs/EVIDENCE.md` is followed where its verifiers are.
//! Its Rust is run as documentation tests of the crate `runstone`.

use runstone_tests::command::{binary, workspace};
use runstone_tests::tamper::Outcome;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The pages, by name.
fn pages() -> Outcome<Vec<PathBuf>> {
    let entries = std::fs::read_dir(workspace().join("docs/guide"))?;
    let mut pages: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    pages.sort();
    Ok(pages)
}

/// Pages that speak of a log that there is, and of its run `run-7`.
const OF_A_LOG: [&str; 5] = ["ARCHIVE", "EXPORT", "REEXECUTION", "REPLAY", "SINKS"];
/// Makes it.
const THE_LOG: &str = r#"
runstone init
runstone import examples/refund-run.json
run=$(runstone runs --json | head -n 1 | sed 's/.*"stream":"\([^"]*\)".*/\1/')
at=$(runstone log --stream "$run" --json | tail -n 1 | sed 's/.*"position":\([0-9]*\).*/\1/')
runstone fork "$run" --at "$at" --as-stream run-7
for usd in 1 2 3 4; do
    runstone append --type order.placed --stream run-7 --data "{\"status\":\"new\",\"usd\":$usd}"
done
mkdir -p tests/recordings
"#;

/// The README without its two commands that build and test everything: one of them is this.
fn readme() -> Outcome<String> {
    let text = std::fs::read_to_string(workspace().join("README.md"))?;
    let begins = text.find("## Five minutes").ok_or("no five minutes")?;
    Ok(text[begins..].to_owned())
}

/// What stands in the blocks of this kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(begun), None) => open = Some((begun.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take().filter(|(of, _)| of == kind)),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn the_shell_blocks_of_each_page_do_what_it_says() -> Outcome {
    let mut run = 0;
    let mut texts = vec![("README.md".to_owned(), "", readme()?)];
    for page in pages()? {
        let text = std::fs::read_to_string(&page)?;
        texts.push((page.display().to_string(), "", text));
    }
    for name in OF_A_LOG {
        let page = workspace().join(format!("docs/{name}.md"));
        let text = std::fs::read_to_string(&page)?;
        texts.push((page.display().to_string(), THE_LOG, text));
    }
    for (page, before, text) in texts {
        let blocks = blocks(&text, "sh");
        if blocks.is_empty() {
            continue;
        }
        let folder = tempfile::tempdir()?;
        // As in the root of the repository.
        std::os::unix::fs::symlink(workspace().join("examples"), folder.path().join("examples"))?;
        let script = format!(
            "set -eu\nrunstone() {{ \"$0\" \"$@\"; }}\n{before}{}",
            blocks.concat()
        );
        let mut shell = Command::new("sh");
        shell.arg("-xc").arg(script).arg(binary());
        for name in ["RUNSTONE_LOG", "RUNSTONE_KEYS", "RUNSTONE_CRED"] {
            shell.env_remove(name);
        }
        let shell = shell.current_dir(folder.path()).stdin(Stdio::null());
        let output = shell.output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}: {told}");
        run += blocks.len();
    }
    assert!(run >= 29, "{run}");
    Ok(())
}

/// What is not labelled is taken for Rust by documentation tests, and for nothing by readers.
#[test]
fn blocks_say_what_they_are() -> Outcome {
    let mut pages = pages()?;
    pages.push(workspace().join("README.md"));
    for page in pages {
        let text = std::fs::read_to_string(&page)?;
        let fences: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("```"))
            .collect();
        assert_eq!(fences.len() % 2, 0, "{}", page.display());
        for begun in fences.iter().step_by(2) {
            let known = ["sh", "text", "toml", "rust", "rust,no_run"];
            assert!(known.contains(begun), "{}: ```{begun}", page.display());
        }
    }
    Ok(())
}

/// A page that nobody compiles is not compiled for ever.
#[test]
fn every_page_with_rust_is_compiled() -> Outcome {
    let library = std::fs::read_to_string(workspace().join("runstone/src/lib.rs"))?;
    for page in pages()? {
        let text = std::fs::read_to_string(&page)?;
        let name = page
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or("a name")?;
        let is_included = library.contains(&format!("../docs/guide/{name}\""));
        assert_eq!(text.contains("```rust"), is_included, "{name}");
    }
    Ok(())
}

/// Links within the repository lead to files.
#[test]
fn links_lead_somewhere() -> Outcome {
    let mut pages = pages()?;
    pages.push(workspace().join("README.md"));
    let mut links = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page)?;
        for part in text.split("](").skip(1) {
            let link = part.split([')', '#']).next().unwrap_or_default();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            let target = page.parent().ok_or("a folder")?.join(link);
            assert!(target.exists(), "{}: {link}", page.display());
            links += 1;
        }
    }
    assert!(links > 50, "{links}");
    Ok(())
}

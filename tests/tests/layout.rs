//! What must hold of the files of this repository.

use runstone_tests::command::workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 800;
/// What tools write, and the format, which is to be in one place.
const MAY_BE_LONGER: [&str; 2] = ["Cargo.lock", "docs/FORMAT.md"];

/// Every file but what tools make and what is hidden.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![workspace().to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 100);
    found
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    rust.map(|path| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(workspace()).unwrap().to_owned(), text)
    })
}

/// The file that must name the module in `path`; none for roots of crates and of tests.
fn parent(path: &Path) -> Option<Vec<PathBuf>> {
    let folder = path.parent()?;
    let stem = path.file_stem()?.to_str()?;
    let is_root = folder.ends_with("src") && ["lib", "main"].contains(&stem);
    let targets = ["tests", "benches", "examples", "fuzz_targets"];
    let crate_folder = folder.parent()?;
    let is_target = targets.iter().any(|target| folder.ends_with(target))
        && workspace().join(crate_folder).join("Cargo.toml").exists();
    // A target with parts has a folder.
    let is_target = is_target || stem == "main" && crate_folder.ends_with("tests");
    if is_root || is_target || stem == "build" || folder.ends_with("src/bin") {
        return None;
    }
    let owner = if stem == "mod" {
        folder.parent()?
    } else {
        folder
    };
    let beside = owner.with_extension("rs");
    let inside = ["lib.rs", "main.rs", "mod.rs"].map(|name| owner.join(name));
    Some(inside.into_iter().chain([beside]).collect())
}

#[test]
fn no_file_is_forgotten() {
    let mut forgotten = Vec::new();
    for (path, _) in sources() {
        let Some(owners) = parent(&path) else {
            continue;
        };
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = if stem == "mod" {
            path.parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
        } else {
            stem
        };
        let declares = |owner: &PathBuf| {
            let text = std::fs::read_to_string(workspace().join(owner)).unwrap_or_default();
            text.lines().any(|line| {
                let line = line.trim();
                let module = line.strip_suffix(&format!("mod {name};"));
                module.is_some_and(|before| before.is_empty() || before.starts_with("pub"))
            })
        };
        if !owners.iter().any(declares) {
            forgotten.push(path);
        }
    }
    assert!(forgotten.is_empty(), "no module declares {forgotten:?}");
}

/// A property that no test calls holds of nothing.
#[test]
fn every_property_of_the_contract_is_tested() {
    let runner = std::fs::read_to_string(workspace().join("tests/tests/log/contract.rs")).unwrap();
    let mut properties = 0;
    for (path, text) in sources() {
        if !path.starts_with("tests/src/contract") {
            continue;
        }
        for line in text.lines() {
            let Some(name) = line.strip_prefix("pub fn ") else {
                continue;
            };
            let (name, arguments) = name.split_once('(').unwrap();
            if arguments.starts_with("make: Make") || arguments.starts_with("place: &Place") {
                properties += 1;
                let is_listed = runner
                    .lines()
                    .any(|line| line.trim().trim_end_matches(';') == name);
                assert!(is_listed, "{name} in {} is not tested", path.display());
            }
        }
    }
    assert!(properties > 60, "{properties}");
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let lines = text.lines().filter(|line| is_code(line)).count();
        let is_source = path.extension().is_some_and(|ending| ending == "rs");
        if is_source && lines > MOST_LINES && !MAY_BE_LONGER.iter().any(|name| path.ends_with(name))
        {
            long.push((path, lines));
        }
    }
    assert!(long.is_empty(), "over {MOST_LINES} lines: {long:?}");
}

/// Neither blank nor a comment.
fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("//")
}

#[test]
fn sources_are_ascii() {
    for (path, text) in sources() {
        let found = text.lines().zip(1..).find(|(line, _)| !line.is_ascii());
        assert!(found.is_none(), "{}: {found:?}", path.display());
    }
}

/// Codes of errors, and where they stand: the words in functions `code`, and those that are given
/// to a field `code`.
fn codes() -> BTreeMap<String, PathBuf> {
    let mut codes = BTreeMap::new();
    for (path, text) in sources() {
        if path.starts_with("tests") {
            continue;
        }
        for given in text.split("code: \"").skip(1) {
            let code = given.split('"').next().unwrap_or_default();
            codes.insert(code.to_owned(), path.clone());
        }
        let mut rest = text.as_str();
        while let Some(at) = rest.find("fn code(&self) -> &'static str {") {
            rest = &rest[at..];
            let body = &rest[..body_end(rest)];
            for word in body.split('"').skip(1).step_by(2) {
                codes.insert(word.to_owned(), path.clone());
            }
            rest = &rest[body.len()..];
        }
    }
    codes
}

fn body_end(text: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

#[test]
fn every_error_has_a_page() {
    let codes = codes();
    assert!(codes.len() > 50, "{codes:?}");
    for code in codes.keys() {
        let is_word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        assert!(
            code.split('_').all(is_word),
            "`{code}` is not lower-case words joined by _"
        );
    }
    let pages: BTreeSet<String> = std::fs::read_dir(workspace().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "README")
        .collect();
    let missing: Vec<_> = codes
        .iter()
        .filter(|(code, _)| !pages.contains(*code))
        .collect();
    assert!(
        pages.is_empty() || missing.is_empty(),
        "without a page in docs/errors: {missing:?}"
    );
}

/// The number of the invariant that a line of a page states.
fn stated(line: &str) -> Option<u32> {
    let (number, _) = line.strip_prefix("- **I")?.split_once("**")?;
    let is_number = number.starts_with(|first: char| first.is_ascii_digit());
    is_number.then(|| number.parse().unwrap())
}

/// Where each invariant is stated: page and section, as a link from `docs/` names them.
fn invariants() -> BTreeMap<u32, String> {
    let mut invariants = BTreeMap::new();
    for path in files() {
        let Ok(page) = path.strip_prefix(workspace().join("docs")) else {
            continue;
        };
        if page.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let mut section = String::new();
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            if let Some(heading) = line.strip_prefix('#') {
                let heading = heading.trim_start_matches('#').trim().to_lowercase();
                let is_kept = |one: &char| one.is_alphanumeric() || [' ', '-'].contains(one);
                section = heading.chars().filter(is_kept).collect::<String>();
                section = section.replace(' ', "-");
            }
            if let Some(number) = stated(line) {
                let place = format!("{}#{section}", page.display());
                let before = invariants.insert(number, place.clone());
                assert_eq!(before, None, "I{number} is stated twice, also in {place}");
            }
        }
    }
    invariants
}

/// Whether there is a function as a page names it: `tests/log/x.rs::name`, of whose name the
/// beginning or the end may be left out.
fn is_there(guard: &str) -> bool {
    let Some((file, name)) = guard.split_once("::") else {
        return false;
    };
    let places = [workspace().join(file), workspace().join("tests").join(file)];
    let text = places.iter().find_map(|p| std::fs::read_to_string(p).ok());
    let text = text.unwrap_or_default();
    let mut functions = text.split("fn ").skip(1).map(|rest| {
        let end = rest.find(|one: char| !one.is_ascii_alphanumeric() && one != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(end), _) => functions.any(|function| function.ends_with(end)),
        (None, Some(beginning)) => functions.any(|function| function.starts_with(beginning)),
        (None, None) => functions.any(|function| function == name),
    }
}

#[test]
fn every_invariant_names_its_guards() {
    let stated = invariants();
    assert!(stated.len() > 90, "{stated:?}");
    let page = std::fs::read_to_string(workspace().join("docs/INVARIANTS.md")).unwrap();
    let mut listed = BTreeMap::new();
    for line in page.lines() {
        let row = line.strip_prefix("| [I");
        let Some((number, row)) = row.and_then(|row| row.split_once("](")) else {
            continue;
        };
        let number: u32 = number.parse().unwrap();
        let last = listed.last_key_value().map(|(last, _)| *last);
        assert!(last < Some(number), "I{number} is not in its place");
        let (place, row) = row.split_once(')').unwrap();
        listed.insert(number, place.to_owned());
        let guards: Vec<_> = row.split('`').skip(1).step_by(2).collect();
        let guards: Vec<_> = guards.iter().filter(|it| it.contains("::")).collect();
        assert!(!guards.is_empty(), "I{number} has no guard");
        for guard in guards {
            assert!(is_there(guard), "I{number}: there is no {guard}");
        }
    }
    let of_both = listed.keys().chain(stated.keys());
    for number in of_both {
        assert_eq!(listed.get(number), stated.get(number), "I{number}");
    }
}

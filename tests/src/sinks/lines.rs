//! What files of lines have.

use super::strange::Seen;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The whole lines of a file and of those that were put aside before it, each of which is an event;
/// none if there is no file.
///
/// # Panics
///
/// If a line is no event.
pub fn lines(path: &Path) -> Vec<Seen> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(&format!("{name}."))
        })
        .collect();
    files.sort();
    files.push(path.to_owned());
    let text: String = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap_or_default())
        .collect();
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole.map(seen).collect()
}

fn seen(line: &str) -> Seen {
    let value: Value = serde_json::from_str(line).unwrap();
    Seen {
        position: value["position"].as_u64().unwrap(),
        is_duplicate: value["duplicate"] == true,
        line: line.trim_end().to_owned(),
    }
}

//! The vectors of docs/FORMAT.md whose bytes only this crate reads.

use std::collections::BTreeMap;

/// The fields of one vector.
pub(crate) struct Vector(BTreeMap<String, String>);

impl Vector {
    pub(crate) fn named(name: &str) -> Self {
        let page = include_str!("../../docs/FORMAT.md");
        let start = page.find(&format!("\nname={name}\n")).unwrap();
        let block = page[start..].split("```").next().unwrap();
        let (mut fields, mut last) = (BTreeMap::new(), String::new());
        for token in block.split_whitespace() {
            if let Some((name, value)) = token.split_once('=') {
                name.clone_into(&mut last);
                fields.insert(last.clone(), value.to_owned());
            } else {
                fields.entry(last.clone()).or_default().push_str(token);
            }
        }
        Self(fields)
    }

    pub(crate) fn bytes(&self, field: &str) -> Vec<u8> {
        unhex(&self.0[field])
    }

    pub(crate) fn array<const N: usize>(&self, field: &str) -> [u8; N] {
        self.bytes(field).try_into().unwrap()
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.0[field].parse().unwrap()
    }

    pub(crate) fn texts(&self, field: &str) -> Vec<&str> {
        self.0[field].split(',').collect()
    }

    pub(crate) fn list(&self, field: &str) -> Vec<Vec<u8>> {
        self.0[field].split(',').map(unhex).collect()
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

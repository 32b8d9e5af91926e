//! Reading and writing policy files.

use core::fmt;

use super::{MAX_POLICY_LEN, NONE, Policy, PolicyError, PolicyRule, Threshold};
use crate::text::decimal;

impl Policy {
    /// Reads a policy file. Names and URLs must be UTF-8, comments need not.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] with the number of the line for anything that the specification does not
    /// allow, and for what is over a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > MAX_POLICY_LEN {
            return Err(PolicyError::TooLong {
                limit: MAX_POLICY_LEN,
                found: bytes.len(),
            });
        }
        let mut reading = Reading::default();
        for (line, bytes) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            reading = reading
                .line(bytes)
                .map_err(|rule| PolicyError::Line { line, rule })?;
        }
        if reading.has_quorum {
            Ok(reading.policy)
        } else {
            Err(PolicyError::NoQuorum)
        }
    }

    /// The policy as a file: logs, witnesses, groups, quorum.
    pub fn to_text(&self) -> String {
        self.to_string()
    }
}

#[derive(Default)]
struct Reading {
    policy: Policy,
    has_quorum: bool,
}

impl Reading {
    fn line(self, bytes: &[u8]) -> Result<Self, PolicyRule> {
        let line = bytes.strip_suffix(b"\n").ok_or(PolicyRule::NoNewline)?;
        let is_control = |byte: &u8| *byte != b'\t' && byte.is_ascii_control();
        if let Some(at) = line.iter().position(is_control) {
            return Err(PolicyRule::Character { at });
        }
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let mut items = line.split(is_space).filter(|item| !item.is_empty());
        let Some(keyword) = items.next().filter(|item| !item.starts_with(b"#")) else {
            return Ok(self);
        };
        let items: Result<Vec<&str>, _> = items.map(core::str::from_utf8).collect();
        let items = items.map_err(|_| PolicyRule::Utf8)?;
        self.definition(keyword, &items)
    }

    fn definition(self, keyword: &[u8], items: &[&str]) -> Result<Self, PolicyRule> {
        let form = |form| Err(PolicyRule::Form { form });
        let policy = match (keyword, items) {
            (b"log", [key, url @ ..]) if url.len() < 2 => {
                self.policy.log(key.parse()?, url.first().copied())?
            }
            (b"log", _) => return form("log <vkey> [<url>]"),
            (b"witness", [name, key, url @ ..]) if url.len() < 2 => {
                self.policy
                    .witness(name, key.parse()?, url.first().copied())?
            }
            (b"witness", _) => return form("witness <name> <vkey> [<url>]"),
            (b"group", [name, threshold, members @ ..]) if !members.is_empty() => {
                let threshold = read_threshold(threshold, members.len())?;
                self.policy.group(name, threshold, members)?
            }
            (b"group", _) => return form("group <name> <any, all or number> <name>..."),
            (b"quorum", _) if self.has_quorum => return Err(PolicyRule::SecondQuorum),
            (b"quorum", [name]) => {
                return Ok(Self {
                    policy: self.policy.quorum(name)?,
                    has_quorum: true,
                });
            }
            (b"quorum", _) => return form("quorum <name or none>"),
            _ => return Err(PolicyRule::Keyword),
        };
        Ok(Self { policy, ..self })
    }
}

fn read_threshold(text: &str, members: usize) -> Result<Threshold, PolicyRule> {
    match text {
        "any" => Ok(Threshold::Any),
        "all" => Ok(Threshold::All),
        _ => decimal(text)
            .and_then(|number| usize::try_from(number).ok())
            .map(Threshold::Number)
            .ok_or(PolicyRule::Threshold { members }),
    }
}

/// The policy as a file.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url =
            |url: &Option<String>| url.as_ref().map_or(String::new(), |url| format!(" {url}"));
        for log in &self.logs {
            writeln!(f, "log {}{}", log.key, url(&log.url))?;
        }
        for witness in &self.witnesses {
            let (name, key) = (&witness.name, &witness.key);
            writeln!(f, "witness {name} {key}{}", url(&witness.url))?;
        }
        for group in &self.groups {
            let (name, members) = (&group.name, group.members.join(" "));
            match group.threshold {
                Threshold::Any => writeln!(f, "group {name} any {members}")?,
                Threshold::All => writeln!(f, "group {name} all {members}")?,
                Threshold::Number(number) => writeln!(f, "group {name} {number} {members}")?,
            }
        }
        writeln!(f, "quorum {}", self.quorum.as_deref().unwrap_or(NONE))
    }
}

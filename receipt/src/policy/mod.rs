//! Whom an auditor trusts (<https://c2sp.org/tlog-policy>): logs, witnesses and a quorum of them.
//!
//! ```text
//! log <vkey> [<url>]                             any number; the key's name is the log's origin
//! witness <name> <vkey> [<url>]
//! group <name> <any, all or number> <name>...    of witnesses and groups defined above
//! quorum <name or none>                          once
//! ```
//!
//! Items are parted by spaces and tabs; empty lines and lines that begin with `#` say nothing. A
//! log has as many lines as it has keys: one for each signing key it ever had, one for each origin
//! of its epochs. A public key stands once, so an epoch has a signing key of its own.

mod error;
mod parse;

use std::collections::{BTreeMap, BTreeSet};

use crate::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::note::{Cosignature, CosignerKey, Vkey};

pub use error::{PolicyError, PolicyRule};

/// Longest policy in bytes.
pub const MAX_POLICY_LEN: usize = 256 << 10;
/// Most `log` lines, most `witness` lines and most `group` lines; the specification asks for 32.
pub const MAX_POLICY_LINES: usize = 256;

/// The name that stands for no quorum.
const NONE: &str = "none";

/// A log that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    key: Vkey,
    url: Option<String>,
}

impl PolicyLog {
    /// Its public key; the key's name is its origin.
    pub fn key(&self) -> &Vkey {
        &self.key
    }

    /// Where to find it; nothing here looks there.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// A witness that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    name: String,
    key: CosignerKey,
    url: Option<String>,
}

impl PolicyWitness {
    /// Its name in this policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its public key.
    pub fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// Where to find it; nothing here looks there.
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }
}

/// How many members of a group make it count.
#[expect(
    clippy::exhaustive_enums,
    reason = "the three forms of the specification"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threshold {
    /// One.
    Any,
    /// Each.
    All,
    /// So many, from 1 to the number of members.
    Number(usize),
}

/// Witnesses and groups that count as one when enough of them have cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyGroup {
    name: String,
    threshold: Threshold,
    members: Vec<String>,
}

impl PolicyGroup {
    /// Its name in this policy.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many members make it count.
    pub fn threshold(&self) -> Threshold {
        self.threshold
    }

    /// Names of its members.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    fn counts(&self, witnessed: &BTreeMap<&str, bool>) -> bool {
        let is_met = |name: &&String| witnessed.get(name.as_str()) == Some(&true);
        let met = self.members.iter().filter(is_met).count();
        met >= match self.threshold {
            Threshold::Any => 1,
            Threshold::All => self.members.len(),
            Threshold::Number(number) => number,
        }
    }
}

/// Whom to trust. Without a quorum the signature of one of the logs is enough.
///
/// ```
/// use runstone_receipt::checkpoint::{Checkpoint, SignedCheckpoint};
/// use runstone_receipt::note::Signer;
/// use runstone_receipt::policy::Policy;
///
/// let signer = Signer::new("example.com/log", &[7; 32])?;
/// let file = format!("# our log\nlog {}\nquorum none\n", signer.vkey());
/// let policy = Policy::parse(file.as_bytes())?;
///
/// let head = Checkpoint::new("example.com/log", 41, [9; 32])?;
/// let note = SignedCheckpoint::sign(&head, &[&signer])?;
/// let verified = policy.verify_checkpoint(note.text(), None)?;
/// assert_eq!(verified.checkpoint().size, 41);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<PolicyGroup>,
    quorum: Option<String>,
}

impl Policy {
    /// A policy that trusts nobody and asks for no witness.
    pub fn new() -> Self {
        Self::default()
    }

    /// A policy that trusts the holders of these keys and asks for no witness.
    ///
    /// # Errors
    ///
    /// [`PolicyRule`] when a public key is there twice, or there are more than
    /// [`MAX_POLICY_LINES`].
    pub fn of_logs(keys: impl IntoIterator<Item = Vkey>) -> Result<Self, PolicyRule> {
        keys.into_iter()
            .try_fold(Self::new(), |policy, key| policy.log(key, None))
    }

    /// Trusts a log.
    ///
    /// # Errors
    ///
    /// [`PolicyRule`] that the line would break.
    pub fn log(mut self, key: Vkey, url: Option<&str>) -> Result<Self, PolicyRule> {
        check_count("log", self.logs.len())?;
        let public = key.public_key();
        if self.logs.iter().any(|log| log.key.public_key() == public) {
            return Err(PolicyRule::DuplicateKey { kind: "log" });
        }
        let url = check_url(url)?;
        self.logs.push(PolicyLog { key, url });
        Ok(self)
    }

    /// Names a witness.
    ///
    /// # Errors
    ///
    /// [`PolicyRule`] that the line would break.
    pub fn witness(
        mut self,
        name: &str,
        key: CosignerKey,
        url: Option<&str>,
    ) -> Result<Self, PolicyRule> {
        check_count("witness", self.witnesses.len())?;
        self.check_new_name(name)?;
        let public = key.public_key();
        if self
            .witnesses
            .iter()
            .any(|witness| witness.key.public_key() == public)
        {
            return Err(PolicyRule::DuplicateKey { kind: "witness" });
        }
        self.witnesses.push(PolicyWitness {
            name: name.to_owned(),
            key,
            url: check_url(url)?,
        });
        Ok(self)
    }

    /// Names a group of witnesses and groups that are named already.
    ///
    /// # Errors
    ///
    /// [`PolicyRule`] that the line would break.
    pub fn group(
        mut self,
        name: &str,
        threshold: Threshold,
        members: &[&str],
    ) -> Result<Self, PolicyRule> {
        check_count("group", self.groups.len())?;
        self.check_new_name(name)?;
        let is_possible = match threshold {
            Threshold::Any | Threshold::All => !members.is_empty(),
            Threshold::Number(number) => (1..=members.len()).contains(&number),
        };
        if !is_possible {
            return Err(PolicyRule::Threshold {
                members: members.len(),
            });
        }
        let of_groups = self.groups.iter().flat_map(|group| &group.members);
        let mut taken: BTreeSet<&str> = of_groups.map(String::as_str).collect();
        for member in members {
            if !self.defines(member) {
                return Err(PolicyRule::UnknownName {
                    name: (*member).to_owned(),
                });
            }
            if !taken.insert(member) {
                return Err(PolicyRule::DuplicateMember {
                    name: (*member).to_owned(),
                });
            }
        }
        self.groups.push(PolicyGroup {
            name: name.to_owned(),
            threshold,
            members: members.iter().map(|one| (*one).to_owned()).collect(),
        });
        Ok(self)
    }

    /// Asks for the cosignature of a witness or group that is named already; `none` asks for none.
    ///
    /// # Errors
    ///
    /// [`PolicyRule::UnknownName`].
    pub fn quorum(mut self, name: &str) -> Result<Self, PolicyRule> {
        if name != NONE && !self.defines(name) {
            return Err(PolicyRule::UnknownName {
                name: name.to_owned(),
            });
        }
        self.quorum = (name != NONE).then(|| name.to_owned());
        Ok(self)
    }

    /// The logs that are trusted.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses that are known.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// The groups, each behind its members.
    pub fn groups(&self) -> &[PolicyGroup] {
        &self.groups
    }

    /// Name of the witness or group that has to cosign; `None` where nobody has to.
    pub fn quorum_name(&self) -> Option<&str> {
        self.quorum.as_deref()
    }

    /// Verifies a checkpoint: its origin is that of a log of the policy and, if one is given, the
    /// expected one; every signature of a known key holds; a key of that origin is among them; the
    /// quorum has cosigned. Lines of unknown keys are passed over.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] at the first rule broken.
    pub fn verify_checkpoint(
        &self,
        note: &str,
        origin: Option<&str>,
    ) -> Result<SignedCheckpoint, CheckpointError> {
        let keys: Vec<Vkey> = self.logs.iter().map(|log| log.key.clone()).collect();
        let witnesses = self.witnesses.iter();
        let cosigners: Vec<CosignerKey> = witnesses.map(|witness| witness.key.clone()).collect();
        let is_known = |found: &str| match origin {
            Some(expected) if found != expected => Err(CheckpointError::Origin {
                expected: expected.to_owned(),
                found: found.to_owned(),
            }),
            _ if self.logs.iter().any(|log| log.key.name() == found) => Ok(()),
            _ => Err(CheckpointError::UnknownOrigin {
                origin: found.to_owned(),
            }),
        };
        SignedCheckpoint::verify(note, is_known, &keys, &cosigners, |cosigned_by| {
            self.check_quorum(cosigned_by)
        })
    }

    fn check_quorum(&self, cosigned_by: &[Cosignature]) -> Result<(), CheckpointError> {
        let Some(quorum) = &self.quorum else {
            return Ok(());
        };
        let mut witnessed = BTreeMap::new();
        for witness in &self.witnesses {
            let cosigned = cosigned_by.iter().any(|one| *one.key() == witness.key);
            witnessed.insert(witness.name.as_str(), cosigned);
        }
        // Members stand above their groups, so one pass decides them all.
        for group in &self.groups {
            witnessed.insert(&group.name, group.counts(&witnessed));
        }
        if witnessed.get(quorum.as_str()) == Some(&true) {
            return Ok(());
        }
        Err(CheckpointError::Quorum {
            quorum: quorum.clone(),
            cosigned: cosigned_by.len(),
        })
    }

    fn defines(&self, name: &str) -> bool {
        self.witnesses.iter().any(|witness| witness.name == name)
            || self.groups.iter().any(|group| group.name == name)
    }

    fn check_new_name(&self, name: &str) -> Result<(), PolicyRule> {
        if name == NONE || !is_item(name) || name.starts_with('#') {
            return Err(PolicyRule::Name);
        }
        if self.defines(name) {
            return Err(PolicyRule::DuplicateName {
                name: name.to_owned(),
            });
        }
        Ok(())
    }
}

fn check_count(kind: &'static str, count: usize) -> Result<(), PolicyRule> {
    let limit = MAX_POLICY_LINES;
    if count < limit {
        Ok(())
    } else {
        Err(PolicyRule::TooMany { kind, limit })
    }
}

fn check_url(url: Option<&str>) -> Result<Option<String>, PolicyRule> {
    match url {
        Some(url) if !is_item(url) => Err(PolicyRule::Url),
        url => Ok(url.map(str::to_owned)),
    }
}

/// Whether a text can stand between the white space of a line.
fn is_item(text: &str) -> bool {
    let parts = |byte: u8| byte == b' ' || byte.is_ascii_control();
    !text.is_empty() && !text.bytes().any(parts)
}

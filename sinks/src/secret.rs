//! Where a secret of a sink stands. A configuration names the place; the secret itself is recorded
//! nowhere, and read when the sink is made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a secret stands: `{ env = "NAME" }` or `{ file = "/path" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SecretSource {
    /// In a variable of the environment of whoever holds the log.
    Env(String),
    /// In a file that its owner alone may read. A line break at its end does not count.
    File(PathBuf),
}

#[cfg(feature = "client")]
pub(crate) use read::{Secret, mark};

#[cfg(feature = "client")]
mod read {
    use super::SecretSource;
    use crate::sink::Rejection;
    use sha2::{Digest as _, Sha256};
    use std::fmt;
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use zeroize::Zeroizing;

    /// Most bytes of a secret.
    const MAX_BYTES: usize = 16 << 10;

    /// A secret that was read.
    pub(crate) struct Secret(Zeroizing<Vec<u8>>);

    impl fmt::Debug for Secret {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("Secret(..)")
        }
    }

    impl Secret {
        pub(crate) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
            Self(bytes)
        }

        pub(crate) fn bytes(&self) -> &[u8] {
            &self.0
        }
    }

    impl SecretSource {
        /// What is wrong with how it is named.
        pub(crate) fn check(&self) -> Result<(), String> {
            match self {
                Self::Env(name) if name.is_empty() || name.contains(['=', '\0']) => {
                    Err(format!("`{name}` cannot be a variable of the environment"))
                }
                Self::File(path) if !path.is_absolute() => Err(format!(
                    "the file of a secret `{}` is not named from the root of the file system",
                    path.display()
                )),
                Self::Env(_) | Self::File(_) => Ok(()),
            }
        }

        /// The secret. One that is not there is an outage: whoever holds the log next may have it.
        pub(crate) fn read(&self) -> Result<Secret, Rejection> {
            let mut bytes = match self {
                Self::Env(name) => variable(name)?,
                Self::File(path) => content(path).map_err(|why| {
                    let place = path.display();
                    Rejection::Unavailable(format!("the file of a secret {place} {why}"))
                })?,
            };
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
            }
            if bytes.is_empty() {
                return Err(Rejection::Unavailable(format!("{self} is empty")));
            }
            Ok(Secret::new(bytes))
        }
    }

    /// What secrets are, in two bytes: enough to see that one was changed, too little to find out what
    /// it is. `None`: there are none, or one cannot be read.
    pub(crate) fn mark(sources: &[SecretSource], salt: &[u8]) -> Option<u16> {
        let mut sum = Sha256::new_with_prefix(salt);
        for source in sources {
            match (source.read(), source) {
                (Ok(secret), _) => {
                    sum.update((secret.bytes().len() as u64).to_le_bytes());
                    sum.update(secret.bytes());
                }
                (Err(_), SecretSource::Env(_)) => sum.update(u64::MAX.to_le_bytes()),
                (Err(_), SecretSource::File(_)) => return None,
            }
        }
        let sum: [u8; 32] = sum.finalize().into();
        let [low, high, ..] = sum;
        (!sources.is_empty()).then_some(u16::from_le_bytes([low, high]))
    }

    impl fmt::Display for SecretSource {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Env(name) => write!(out, "the variable {name} of the environment"),
                Self::File(path) => write!(out, "the file of a secret {}", path.display()),
            }
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the configuration of a sink names the variable"
    )]
    fn variable(name: &str) -> Result<Zeroizing<Vec<u8>>, Rejection> {
        let value = std::env::var_os(name).ok_or_else(|| {
            Rejection::Unavailable(format!(
                "the variable {name} is not in the environment of the process that holds the log; begin that again with it"
            ))
        })?;
        Ok(Zeroizing::new(value.into_vec()))
    }

    fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        let io = |error: std::io::Error| format!("cannot be read: {error}");
        // What is no file may never answer.
        if !fs::metadata(path).map_err(io)?.is_file() {
            return Err("is no file".to_owned());
        }
        let file = File::open(path).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err("may be read by others; chmod 600 it".to_owned());
        }
        // Room for everything, so that no part of it is left behind where it grew out of.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
        let most = MAX_BYTES as u64 + 1;
        file.take(most).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() > MAX_BYTES {
            return Err(format!("has more than {MAX_BYTES} bytes"));
        }
        Ok(bytes)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretSource) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("secret");
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            (folder, SecretSource::File(path))
        }

        #[test]
        fn one_line_break_at_the_end_does_not_count() {
            for (content, secret) in [
                (&b"a b"[..], &b"a b"[..]),
                (b"a\n", b"a"),
                (b"a\r\n", b"a"),
                (b"a\n\n", b"a\n"),
                (b" a\r", b" a\r"),
            ] {
                let (_folder, source) = file(content, 0o600);
                assert_eq!(source.read().unwrap().bytes(), secret);
            }
        }

        #[test]
        fn a_secret_that_changes_has_another_mark() {
            let (_folder, source) = file(b"one", 0o600);
            let SecretSource::File(path) = &source else {
                unreachable!()
            };
            let none = SecretSource::Env("RUNSTONE_NO_SUCH_VARIABLE".to_owned());
            let sources = [none, source.clone()];
            let first = mark(&sources, b"salt");
            assert!(first.is_some());
            assert_eq!(mark(&sources, b"salt"), first);
            assert_ne!(mark(&sources, b"other"), first);
            fs::write(path, b"two").unwrap();
            assert_ne!(mark(&sources, b"salt"), first);
            fs::remove_file(path).unwrap();
            assert_eq!(mark(&sources, b"salt"), None);
            assert_eq!(mark(&[], b"salt"), None);
        }

        #[test]
        fn what_others_may_read_is_refused_and_not_quoted() {
            for (content, mode) in [
                (&b"planted"[..], 0o640),
                (b"planted", 0o604),
                (b"\n", 0o600),
                (&vec![b'a'; MAX_BYTES + 1], 0o600),
            ] {
                let (_folder, source) = file(content, mode);
                let error = source.read().unwrap_err();
                assert!(matches!(error, Rejection::Unavailable(_)));
                assert!(!error.to_string().contains("planted"));
            }
            let (folder, source) = file(b"planted", 0o400);
            let secret = source.read().unwrap();
            assert_eq!(format!("{secret:?}"), "Secret(..)");
            assert!(SecretSource::File(folder.path().to_owned()).read().is_err());
            assert!(SecretSource::File(folder.path().join("no")).read().is_err());
            let missing = SecretSource::Env("RUNSTONE_NO_SUCH_VARIABLE".to_owned());
            let why = missing.read().unwrap_err().to_string();
            assert!(why.contains("RUNSTONE_NO_SUCH_VARIABLE"), "{why}");
        }
    }
}

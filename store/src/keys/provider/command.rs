//! A command that asks a key management service.
//!
//! It is started once for every call, without a shell, with one line of JSON on its standard
//! input, and answers one JSON object on its standard output. Binary values are base64.
//!
//! ```text
//! {"op":"wrap","kek_id":"..","aad":"..","nonce":"..","data":".."}     -> {"data":".."}
//! {"op":"unwrap","kek_id":"..","aad":"..","nonce":"..","data":".."}   -> {"data":".."}
//! {"op":"current"}                                                    -> {"kek_id":".."}
//! {"op":"create"}                                                     -> {"kek_id":".."}
//! {"op":"destroy","kek_id":".."}       -> {"destroyed":"proven" or "best_effort" or "unsupported"}
//! what it cannot do          -> {"error":"unknown_kek", "rejected", "unavailable" or "unsupported"}
//! ```

use super::super::ring::{RingFile, RingProvider};
use super::super::text::{SecretString, from_base64, push_base64};
use super::ring_unwritable;
use crate::process::{self, CommandError};
use runstone_codec::keys::{
    Destroyed, KEY_LEN, KeyProvider, MAX_KEK_ID_LEN, MAX_WRAPPED_LEN, NONCE_LEN, Outage,
    ProviderError, SecretBytes,
};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest answer in bytes.
const MAX_ANSWER_LEN: usize = 64 << 10;
/// Asks a command for everything.
#[derive(Debug)]
pub struct CommandProvider {
    argv: Vec<String>,
    limit: Duration,
    /// Keeps the id of the current key, so that it is not asked for with every new key.
    ring: Option<Arc<RingFile>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Answer {
    data: Option<SecretString>,
    kek_id: Option<String>,
    destroyed: Option<String>,
    error: Option<String>,
}

/// The fields of a request beside its operation.
struct Call<'a> {
    aad: &'a [u8],
    nonce: &'a [u8],
    data: &'a [u8],
}

impl Answer {
    /// Reads what the command wrote.
    fn read(
        bytes: &[u8],
        operation: &'static str,
        kek_id: Option<&str>,
    ) -> Result<Self, ProviderError> {
        let answer: Self = serde_json::from_slice(bytes).map_err(|_| ProviderError::BadAnswer {
            what: "it is not the JSON object expected",
        })?;
        let kek_id = || kek_id.unwrap_or_default().to_owned();
        match answer.error.as_deref() {
            None => Ok(answer),
            Some("unknown_kek") => Err(ProviderError::UnknownKek { kek_id: kek_id() }),
            Some("rejected") => Err(ProviderError::Rejected { kek_id: kek_id() }),
            Some("unsupported") => Err(ProviderError::Unsupported { operation }),
            Some("unavailable") => Err(ProviderError::Unavailable {
                reason: Outage::Io,
                source: None,
            }),
            Some(_) => Err(ProviderError::BadAnswer {
                what: "its error is not a known word",
            }),
        }
    }

    fn data(&self) -> Result<SecretBytes, ProviderError> {
        let bad = ProviderError::BadAnswer {
            what: "it has no data in base64",
        };
        self.data
            .as_ref()
            .and_then(|data| from_base64(data.as_str()))
            .ok_or(bad)
    }

    fn wrapped(&self) -> Result<Vec<u8>, ProviderError> {
        let wrapped = self.data()?;
        if wrapped.as_bytes().is_empty() || wrapped.as_bytes().len() > MAX_WRAPPED_LEN {
            return Err(ProviderError::BadAnswer {
                what: "the wrapped key has not 1 to 4096 bytes",
            });
        }
        Ok(wrapped.as_bytes().to_vec())
    }

    fn kek_id(self) -> Result<String, ProviderError> {
        self.kek_id
            .filter(|id| !id.is_empty() && id.len() <= MAX_KEK_ID_LEN)
            .filter(|id| !id.chars().any(char::is_control))
            .ok_or(ProviderError::BadAnswer {
                what: "it has no kek_id of 1 to 255 bytes",
            })
    }

    fn destroyed(&self) -> Result<Destroyed, ProviderError> {
        self.destroyed
            .as_deref()
            .and_then(Destroyed::from_word)
            .ok_or(ProviderError::BadAnswer {
                what: "it has no known word in destroyed",
            })
    }
}

impl CommandProvider {
    /// A provider that starts `argv`, a program and its arguments, and waits at most `limit`.
    pub fn new(argv: Vec<String>, limit: Duration) -> Self {
        Self {
            argv,
            limit,
            ring: None,
        }
    }

    pub(in super::super) fn with_ring(self, ring: Arc<RingFile>) -> Self {
        Self {
            ring: Some(ring),
            ..self
        }
    }

    fn ask(
        &self,
        operation: &'static str,
        kek_id: Option<&str>,
        call: Option<&Call<'_>>,
    ) -> Result<Answer, ProviderError> {
        Answer::read(
            &self.run(request(operation, kek_id, call))?,
            operation,
            kek_id,
        )
    }

    /// One run of the command: its output, if it ended well within the limit.
    fn run(&self, request: Zeroizing<String>) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
        process::run(&self.argv, request, self.limit, MAX_ANSWER_LEN).map_err(provider_error)
    }

    fn remember(&self, kek_id: &str) -> Result<(), ProviderError> {
        let Some(ring) = &self.ring else {
            return Ok(());
        };
        ring.update(|ring| {
            if let RingProvider::Command { current, .. } = &mut ring.provider {
                *current = Some(kek_id.to_owned());
            }
        })
        .map_err(ring_unwritable)
    }

    fn remembered(&self) -> Option<String> {
        match &self.ring.as_ref()?.lock().provider {
            RingProvider::Command { current, .. } => current.clone(),
            _ => None,
        }
    }
}

fn provider_error(error: CommandError) -> ProviderError {
    let away = |reason, source| ProviderError::Unavailable { reason, source };
    match error {
        CommandError::NotStarted(source) => away(Outage::NotStarted, source),
        CommandError::Io(source) => away(Outage::Io, source),
        CommandError::Failed(exit_code) => away(Outage::Failed { exit_code }, None),
        CommandError::TimedOut(limit) => {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            away(Outage::TimedOut { limit_ms }, None)
        }
        CommandError::TooLong(_) => ProviderError::BadAnswer {
            what: "it is longer than 64 KiB",
        },
    }
}

/// What a command answers to each operation, for the fuzz targets.
#[cfg(fuzzing)]
pub(in super::super) fn fuzz_answer(bytes: &[u8]) {
    let read = |operation| Answer::read(bytes, operation, Some("kek"));
    if let Ok(kek_id) = read("current").and_then(Answer::kek_id) {
        assert!((1..=MAX_KEK_ID_LEN).contains(&kek_id.len()));
    }
    if let Ok(wrapped) = read("wrap").and_then(|answer| answer.wrapped()) {
        assert!((1..=MAX_WRAPPED_LEN).contains(&wrapped.len()));
    }
    let _ = read("unwrap").and_then(|answer| answer.data());
    let _ = read("destroy").and_then(|answer| answer.destroyed());
}

/// One line of JSON in a buffer that never grows.
fn request(op: &str, kek_id: Option<&str>, call: Option<&Call<'_>>) -> Zeroizing<String> {
    let room = call.map_or(0, |call| {
        call.aad.len() + call.nonce.len() + call.data.len()
    });
    let mut out = Zeroizing::new(String::with_capacity(
        128 + 6 * kek_id.map_or(0, str::len) + 2 * room,
    ));
    out.push_str("{\"op\":\"");
    out.push_str(op);
    out.push('"');
    if let Some(kek_id) = kek_id {
        out.push_str(",\"kek_id\":");
        out.push_str(&serde_json::Value::from(kek_id).to_string());
    }
    if let Some(call) = call {
        for (name, bytes) in [
            ("aad", call.aad),
            ("nonce", call.nonce),
            ("data", call.data),
        ] {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":\"");
            push_base64(&mut out, bytes);
            out.push('"');
        }
    }
    out.push_str("}\n");
    out
}

impl KeyProvider for CommandProvider {
    fn current(&self) -> Result<String, ProviderError> {
        match self.remembered() {
            Some(kek_id) => Ok(kek_id),
            None => self.ask("current", None, None)?.kek_id(),
        }
    }

    fn wrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        plain: &[u8; KEY_LEN],
    ) -> Result<Vec<u8>, ProviderError> {
        let call = Call {
            aad,
            nonce,
            data: plain,
        };
        self.ask("wrap", Some(kek_id), Some(&call))?.wrapped()
    }

    fn unwrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        wrapped: &[u8],
    ) -> Result<SecretBytes, ProviderError> {
        let call = Call {
            aad,
            nonce,
            data: wrapped,
        };
        self.ask("unwrap", Some(kek_id), Some(&call))?.data()
    }

    fn create(&self) -> Result<String, ProviderError> {
        let kek_id = self.ask("create", None, None)?.kek_id()?;
        self.remember(&kek_id)?;
        Ok(kek_id)
    }

    fn destroy(&self, kek_id: &str) -> Result<Destroyed, ProviderError> {
        self.ask("destroy", Some(kek_id), None)?.destroyed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> CommandProvider {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        CommandProvider::new(argv, Duration::from_secs(20))
    }

    fn wrap(provider: &CommandProvider) -> Result<Vec<u8>, ProviderError> {
        provider.wrap("kek \"1\"", b"aad", &[7; 12], &[9; 32])
    }

    #[test]
    fn the_request_is_one_line_of_json_and_the_answer_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let seen = folder.path().join("seen");
        let script = format!("cat > {}; printf '{{\"data\":\"AQID\"}}'", seen.display());
        assert_eq!(wrap(&sh(&script)).unwrap(), [1, 2, 3]);
        assert_eq!(
            std::fs::read_to_string(&seen).unwrap(),
            "{\"op\":\"wrap\",\"kek_id\":\"kek \\\"1\\\"\",\"aad\":\"YWFk\",\
             \"nonce\":\"BwcHBwcHBwcHBwcH\",\
             \"data\":\"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=\"}\n"
        );
        let provider = sh("printf '{\"kek_id\":\"arn:2\"}'");
        assert_eq!(provider.current().unwrap(), "arn:2");
        assert_eq!(provider.create().unwrap(), "arn:2");
        let provider = sh("printf '{\"destroyed\":\"proven\"}'");
        assert_eq!(provider.destroy("k").unwrap(), Destroyed::Proven);
    }

    #[test]
    fn words_for_errors_become_errors() {
        for (word, code) in [
            ("unknown_kek", "kek_unknown"),
            ("rejected", "key_rejected"),
            ("unavailable", "key_provider_unavailable"),
            ("unsupported", "key_provider_unsupported"),
            ("hunter2", "key_provider_bad_answer"),
        ] {
            let error = wrap(&sh(&format!("printf '{{\"error\":\"{word}\"}}'"))).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn bad_answers_are_refused_unseen() {
        for script in [
            "true",
            "printf hunter2",
            "printf '{\"data\":\"hunter2\"}'",
            "printf '{\"data\":\"\"}'",
            "printf '{}'",
            "printf '{\"data\":\"AQID\",\"hunter2\":1}'",
            "printf '{\"data\":\"AQID\"}{}'",
            "head -c 70000 /dev/zero",
        ] {
            let error = wrap(&sh(script)).unwrap_err();
            assert_eq!(error.code(), "key_provider_bad_answer", "{script}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        assert!(sh("printf '{\"kek_id\":\"\"}'").current().is_err());
        assert!(sh("printf '{\"destroyed\":\"yes\"}'").destroy("k").is_err());
    }

    #[test]
    fn failing_and_silent_commands_are_outages() {
        let outage = |provider: &CommandProvider| match wrap(provider).unwrap_err() {
            ProviderError::Unavailable { reason, .. } => reason,
            other => panic!("{other}"),
        };
        let failed = |exit_code| Outage::Failed { exit_code };
        assert_eq!(
            outage(&sh("printf '{\"data\":\"AQID\"}'; exit 3")),
            failed(Some(3))
        );
        assert_eq!(outage(&sh("kill -9 $$")), failed(None));
        let none = CommandProvider::new(
            vec!["/no/such/command".to_owned()],
            Duration::from_millis(10),
        );
        assert_eq!(outage(&none), Outage::NotStarted);
        assert_eq!(
            outage(&CommandProvider::new(Vec::new(), Duration::from_millis(10))),
            Outage::NotStarted
        );
        // The first never closes its output, the second never ends.
        for script in ["exec sleep 30", "exec sleep 30 >&-"] {
            let slow = CommandProvider {
                limit: Duration::from_millis(50),
                ..sh(script)
            };
            assert_eq!(outage(&slow), Outage::TimedOut { limit_ms: 50 });
        }
    }
}

//! The TOML text of a ring.

use super::super::text::{SecretString, from_base64, push_base64};
use super::super::{KeyError, toml_parse, toml_text};
use super::{Ring, RingKek, RingProvider, RingSeed};
use runstone_codec::keys::KeyEncryptionKey;
use serde::Deserialize;
use std::path::Path;
use zeroize::Zeroizing;

/// Most key-encryption keys in a ring.
const MAX_KEKS: usize = 1024;

impl Ring {
    /// The TOML text, in a buffer of its own that never grows.
    pub(in super::super) fn encode(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(self.room()));
        out.push_str("# Keyring of a Runstone log: whoever reads it can read and sign the log.\n");
        out.push_str("version = 1\nlog_id = ");
        out.push_str(&toml_text(&self.log_id.to_string()));
        push_text(&mut out, "origin", &self.origin);
        push_seed(&mut out, "signing", &self.signing);
        if let Some(seed) = &self.retiring {
            push_seed(&mut out, "retiring", seed);
        }
        if !self.retired_keks.is_empty() {
            push_list(&mut out, "retired_keks", &self.retired_keks);
        }
        out.push_str("\n\n[provider]");
        match &self.provider {
            RingProvider::File { current, keks } => {
                push_text(&mut out, "kind", "file");
                push_text(&mut out, "current", current);
                for kek in keks {
                    out.push_str("\n\n[[provider.keks]]");
                    push_text(&mut out, "id", &kek.id);
                    push_bytes(&mut out, "key", kek.key.as_bytes());
                }
            }
            RingProvider::Env { variable } => {
                push_text(&mut out, "kind", "env");
                push_text(&mut out, "variable", variable);
            }
            RingProvider::Command { argv, current } => {
                push_text(&mut out, "kind", "command");
                push_list(&mut out, "argv", argv);
                if let Some(current) = current {
                    push_text(&mut out, "current", current);
                }
            }
        }
        out.push('\n');
        out
    }

    /// More than the text takes: a TOML string is at most six bytes a byte and its quotes.
    pub(in super::super) fn room(&self) -> usize {
        let text = |text: &String| 6 * text.len() + 16;
        let seed = |seed: &RingSeed| match seed {
            RingSeed::Open(seed) => 2 * seed.as_bytes().len() + 64,
            RingSeed::Wrapped {
                kek_id, wrapped, ..
            } => 2 * wrapped.len() + text(kek_id) + 128,
        };
        let provider = match &self.provider {
            RingProvider::File { current, keks } => {
                text(current) + keks.iter().map(|kek| text(&kek.id) + 128).sum::<usize>()
            }
            RingProvider::Env { variable } => text(variable),
            RingProvider::Command { argv, current } => {
                argv.iter().chain(current).map(text).sum::<usize>()
            }
        };
        1024 + text(&self.origin)
            + seed(&self.signing)
            + self.retiring.as_ref().map_or(0, seed)
            + self.retired_keks.iter().map(text).sum::<usize>()
            + provider
    }

    /// Reads a ring file's text.
    pub(in super::super) fn decode(path: &Path, bytes: &[u8]) -> Result<Self, KeyError> {
        let bad = |what| KeyError::malformed(path, 0, what);
        let raw: RawRing = toml_parse(path, bytes)?;
        if raw.version != 1 {
            return Err(bad("its version is not 1"));
        }
        let provider = raw.provider.check().map_err(bad)?;
        let wrapped = !matches!(provider, RingProvider::File { .. });
        let signing = seed(
            wrapped,
            raw.signing_seed.as_ref(),
            raw.signing_nonce,
            raw.signing_kek,
        )
        .map_err(bad)?
        .ok_or_else(|| bad("it has no signing_seed"))?;
        let retiring = seed(
            wrapped,
            raw.retiring_seed.as_ref(),
            raw.retiring_nonce,
            raw.retiring_kek,
        )
        .map_err(bad)?;
        Ok(Self {
            log_id: raw
                .log_id
                .parse()
                .map_err(|_| bad("the log_id is not 32 digits"))?,
            origin: raw.origin,
            provider,
            signing,
            retiring,
            retired_keks: raw.retired_keks,
        })
    }
}

fn push_text(out: &mut String, name: &str, text: &str) {
    out.push('\n');
    out.push_str(name);
    out.push_str(" = ");
    out.push_str(&toml_text(text));
}

fn push_list(out: &mut String, name: &str, texts: &[String]) {
    out.push('\n');
    out.push_str(name);
    out.push_str(" = [");
    for (index, text) in texts.iter().enumerate() {
        out.push_str(if index == 0 { "" } else { ", " });
        out.push_str(&toml_text(text));
    }
    out.push(']');
}

fn push_bytes(out: &mut Zeroizing<String>, name: &str, bytes: &[u8]) {
    out.push('\n');
    out.push_str(name);
    out.push_str(" = \"");
    push_base64(out, bytes);
    out.push('"');
}

fn push_seed(out: &mut Zeroizing<String>, name: &str, seed: &RingSeed) {
    match seed {
        RingSeed::Open(seed) => push_bytes(out, &format!("{name}_seed"), seed.as_bytes()),
        RingSeed::Wrapped {
            kek_id,
            nonce,
            wrapped,
        } => {
            push_bytes(out, &format!("{name}_seed"), wrapped);
            push_bytes(out, &format!("{name}_nonce"), nonce);
            push_text(out, &format!("{name}_kek"), kek_id);
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRing {
    version: u32,
    log_id: String,
    origin: String,
    signing_seed: Option<SecretString>,
    signing_nonce: Option<String>,
    signing_kek: Option<String>,
    retiring_seed: Option<SecretString>,
    retiring_nonce: Option<String>,
    retiring_kek: Option<String>,
    #[serde(default)]
    retired_keks: Vec<String>,
    provider: RawProvider,
}

/// Not a tagged enum: reading one would copy the keys into buffers that nobody overwrites.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProvider {
    kind: String,
    current: Option<String>,
    keks: Option<Vec<RawKek>>,
    variable: Option<String>,
    argv: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKek {
    id: String,
    key: SecretString,
}

impl RawProvider {
    fn check(self) -> Result<RingProvider, &'static str> {
        match (
            self.kind.as_str(),
            self.current,
            self.keks,
            self.variable,
            self.argv,
        ) {
            ("file", Some(current), Some(keks), None, None) => {
                if keks.len() > MAX_KEKS {
                    return Err("it has more than 1024 key-encryption keys");
                }
                let keks: Vec<RingKek> = keks
                    .into_iter()
                    .map(RawKek::check)
                    .collect::<Result<_, _>>()?;
                if keks.iter().filter(|kek| kek.id == current).count() == 1 {
                    Ok(RingProvider::File { current, keks })
                } else {
                    Err("the current key-encryption key is not in it once")
                }
            }
            ("env", None, None, Some(variable), None) => Ok(RingProvider::Env { variable }),
            ("command", current, None, None, Some(argv)) if !argv.is_empty() => {
                Ok(RingProvider::Command { argv, current })
            }
            ("file" | "env" | "command", ..) => Err("the provider has missing or foreign fields"),
            _ => Err("the provider's kind is not file, env or command"),
        }
    }
}

impl RawKek {
    fn check(self) -> Result<RingKek, &'static str> {
        let bytes = from_base64(self.key.as_str()).ok_or("a key is no base64")?;
        let key =
            KeyEncryptionKey::from_slice(bytes.as_bytes()).map_err(|_| "a key has not 32 bytes")?;
        Ok(RingKek { id: self.id, key })
    }
}

fn seed(
    wrapped: bool,
    seed: Option<&SecretString>,
    nonce: Option<String>,
    kek_id: Option<String>,
) -> Result<Option<RingSeed>, &'static str> {
    let decode = |text: &str| from_base64(text).ok_or("a signing seed or nonce is no base64");
    match (wrapped, seed, nonce, kek_id) {
        (_, None, None, None) => Ok(None),
        (false, Some(seed), None, None) => {
            let seed = decode(seed.as_str())?;
            if seed.as_bytes().len() != 32 {
                return Err("a signing seed has not 32 bytes");
            }
            Ok(Some(RingSeed::Open(seed)))
        }
        (true, Some(seed), Some(nonce), Some(kek_id)) => {
            let nonce = decode(&nonce)?;
            let nonce = nonce
                .as_bytes()
                .try_into()
                .map_err(|_| "a nonce has not 12 bytes")?;
            let wrapped = decode(seed.as_str())?.as_bytes().to_vec();
            Ok(Some(RingSeed::Wrapped {
                kek_id,
                nonce,
                wrapped,
            }))
        }
        _ => Err("a signing seed has missing or foreign fields"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::LogId;
    use runstone_codec::keys::SecretBytes;

    fn ring(provider: RingProvider, signing: RingSeed) -> Ring {
        Ring {
            log_id: LogId::from_bytes([0xaa; 16]),
            origin: "example.com/\u{e9}\"\\".to_owned(),
            provider,
            signing,
            retiring: None,
            retired_keks: Vec::new(),
        }
    }

    fn file_ring() -> Ring {
        let kek = |id: &str, byte| RingKek {
            id: id.to_owned(),
            key: KeyEncryptionKey::new([byte; 32]),
        };
        let provider = RingProvider::File {
            current: "kek-2".to_owned(),
            keks: vec![kek("kek-1", 1), kek("kek-2", 2)],
        };
        ring(provider, RingSeed::Open(SecretBytes::new(vec![9; 32])))
    }

    fn wrapped(kek_id: &str) -> RingSeed {
        RingSeed::Wrapped {
            kek_id: kek_id.to_owned(),
            nonce: [3; 12],
            wrapped: vec![4; 48],
        }
    }

    #[test]
    fn rings_of_every_provider_read_as_they_are_written() {
        let mut overlap = file_ring();
        overlap.retiring = Some(RingSeed::Open(SecretBytes::new(vec![8; 32])));
        overlap.retired_keks = vec!["kek-1".to_owned(), "k\t\"2".to_owned()];
        let mut command = ring(
            RingProvider::Command {
                argv: vec!["/bin/kms".to_owned(), "--key=\"a b\"\n".to_owned()],
                current: Some("arn:1".to_owned()),
            },
            wrapped("arn:1"),
        );
        command.retiring = Some(wrapped("arn:0"));
        let env = ring(
            RingProvider::Env {
                variable: "KEY".to_owned(),
            },
            wrapped("env-1"),
        );
        for ring in [file_ring(), overlap, command, env] {
            let text = ring.encode();
            assert!(text.len() <= ring.room(), "the buffer must not grow");
            let read = Ring::decode(Path::new("ring"), text.as_bytes()).unwrap();
            assert_eq!(*read.encode(), *text);
            assert_eq!(format!("{read:?}"), format!("{ring:?}"));
            assert_eq!(*read.duplicate().encode(), *text);
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", file_ring());
        assert!(shown.contains("redacted"));
        assert!(
            !shown.contains("9, 9") && !shown.contains("2, 2"),
            "{shown}"
        );
    }

    #[test]
    fn other_texts_are_refused_with_a_line_and_without_their_content() {
        let good = file_ring().encode();
        let secret = good
            .split("key = \"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        let cases = [
            (
                good.replace("version = 1", "version = 2"),
                "its version is not 1",
            ),
            (
                good.replace("kind = \"file\"", "kind = \"tpm\""),
                "the provider's kind",
            ),
            (
                good.replace("current = \"kek-2\"", "current = \"kek-3\""),
                "the current key",
            ),
            (
                good.replace("id = \"kek-1\"", "id = \"kek-2\""),
                "the current key",
            ),
            (
                good.replace(&secret, &secret[4..]),
                "a key has not 32 bytes",
            ),
            (
                good.replace(&secret, &secret.replace('=', "")),
                "a key is no base64",
            ),
            (
                good.replace("signing_seed", "retiring_seed"),
                "it has no signing_seed",
            ),
            (
                good.replace("origin = ", "signing_kek = \"k\"\norigin = "),
                "a signing seed has",
            ),
            (
                good.replace("[provider]\n", "[provider]\nvariable = \"X\"\n"),
                "the provider has",
            ),
            (
                good.replace("aaaaaaaa", "AAAAAAAA"),
                "the log_id is not 32 digits",
            ),
            (good.replace("log_id", "log_ids"), "at line"),
            (good.replace(&format!("\"{secret}\""), &secret), "at line"),
            (good.replace("key = \"", "key = 5\nx = \""), "at line"),
            (String::new(), "at line 1"),
        ];
        for (text, what) in cases {
            let error = Ring::decode(Path::new("ring"), text.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "keyring_malformed");
            assert!(error.to_string().contains(what), "{error} for {what}");
            assert!(
                !format!("{error} {error:?}").contains(&secret[..8]),
                "{error:?}"
            );
        }
        assert!(Ring::decode(Path::new("ring"), &[0xff, 0xfe]).is_err());
    }
}

//! A key-encryption key in an environment variable, which the caller reads.

use super::super::text::{SecretString, key_from_text};
use crate::hex::hex;
use runstone_codec::keys::{
    Destroyed, KEY_LEN, KeyEncryptionKey, KeyProvider, LookupKey, NONCE_LEN, Outage, ProviderError,
    SecretBytes, keyed_digest, unwrap, wrap,
};
use std::fmt;
use std::sync::Arc;

/// Answers the value of an environment variable: code below the command line reads none itself.
#[derive(Clone)]
pub struct SecretSource(Arc<Read>);

type Read = dyn Fn(&str) -> Option<SecretString> + Send + Sync;

impl SecretSource {
    /// A source that asks the closure each time a value is needed.
    pub fn new(read: impl Fn(&str) -> Option<SecretString> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    fn get(&self, variable: &str) -> Option<SecretString> {
        (self.0)(variable)
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource")
    }
}

/// Wraps under the key in a variable. To change it, the next key goes into the variable of the
/// same name with `_NEXT` appended; once everything is wrapped under that one, a person moves it
/// over.
///
/// The id of a key is a keyed digest of a constant under it: it tells keys apart and nothing else.
#[derive(Debug)]
pub struct EnvProvider {
    variable: String,
    source: SecretSource,
}

struct EnvKek {
    id: String,
    key: KeyEncryptionKey,
}

impl EnvProvider {
    /// A provider for a variable.
    pub fn new(variable: String, source: SecretSource) -> Self {
        Self { variable, source }
    }

    fn read(&self, variable: &str) -> Result<Option<EnvKek>, ProviderError> {
        let Some(text) = self.source.get(variable) else {
            return Ok(None);
        };
        let bad = ProviderError::BadAnswer {
            what: "the variable is neither 64 hexadecimal digits nor base64 of 32 bytes",
        };
        let Some(bytes) = key_from_text(text.as_str()) else {
            return Err(bad);
        };
        let Ok(name) = LookupKey::from_slice(bytes.as_bytes()) else {
            return Err(bad);
        };
        let Ok(key) = KeyEncryptionKey::from_slice(bytes.as_bytes()) else {
            return Err(bad);
        };
        let digest = keyed_digest(&name, "kek-id", &["env"]);
        Ok(Some(EnvKek {
            id: format!("env-{}", hex(&digest)),
            key,
        }))
    }

    fn next(&self) -> Result<Option<EnvKek>, ProviderError> {
        self.read(&format!("{}_NEXT", self.variable))
    }

    fn newest(&self) -> Result<EnvKek, ProviderError> {
        match self.next()? {
            Some(next) => Ok(next),
            None => self
                .read(&self.variable)?
                .ok_or(ProviderError::Unavailable {
                    reason: Outage::NotSet,
                    source: None,
                }),
        }
    }

    fn find(&self, kek_id: &str) -> Result<Option<EnvKek>, ProviderError> {
        let here = self.read(&self.variable)?.filter(|kek| kek.id == kek_id);
        match here {
            Some(kek) => Ok(Some(kek)),
            None => Ok(self.next()?.filter(|kek| kek.id == kek_id)),
        }
    }

    fn named(&self, kek_id: &str) -> Result<EnvKek, ProviderError> {
        if let Some(kek) = self.find(kek_id)? {
            return Ok(kek);
        }
        // With no value at all the key is away; with another value it is another key.
        self.newest()?;
        Err(ProviderError::UnknownKek {
            kek_id: kek_id.to_owned(),
        })
    }
}

impl KeyProvider for EnvProvider {
    fn current(&self) -> Result<String, ProviderError> {
        Ok(self.newest()?.id)
    }

    fn wrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        plain: &[u8; KEY_LEN],
    ) -> Result<Vec<u8>, ProviderError> {
        wrap(&self.named(kek_id)?.key, aad, nonce, plain).map_err(|_| ProviderError::Rejected {
            kek_id: kek_id.to_owned(),
        })
    }

    fn unwrap(
        &self,
        kek_id: &str,
        aad: &[u8],
        nonce: &[u8; NONCE_LEN],
        wrapped: &[u8],
    ) -> Result<SecretBytes, ProviderError> {
        unwrap(&self.named(kek_id)?.key, aad, nonce, wrapped).map_err(|_| ProviderError::Rejected {
            kek_id: kek_id.to_owned(),
        })
    }

    /// The key in the `_NEXT` variable; a person has to put it there.
    fn create(&self) -> Result<String, ProviderError> {
        let current = self.read(&self.variable)?.map(|kek| kek.id);
        match self.next()? {
            Some(next) if current.as_ref() != Some(&next.id) => Ok(next.id),
            _ => Err(ProviderError::Unsupported {
                operation: "create",
            }),
        }
    }

    /// Nothing here can take a value out of somebody's environment: unsupported while it is set.
    fn destroy(&self, kek_id: &str) -> Result<Destroyed, ProviderError> {
        match self.find(kek_id)? {
            Some(_) => Ok(Destroyed::Unsupported),
            None => Ok(Destroyed::BestEffort),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    type Values = Arc<Mutex<BTreeMap<String, String>>>;

    fn provider() -> (EnvProvider, Values) {
        let values = Values::default();
        let read = Arc::clone(&values);
        let source = SecretSource::new(move |name| {
            read.lock()
                .unwrap()
                .get(name)
                .cloned()
                .map(SecretString::new)
        });
        (EnvProvider::new("KEY".to_owned(), source), values)
    }

    fn set(values: &Values, name: &str, value: &str) {
        values
            .lock()
            .unwrap()
            .insert(name.to_owned(), value.to_owned());
    }

    #[test]
    fn keys_change_by_the_next_variable() {
        let (provider, values) = provider();
        assert_eq!(
            provider.current().unwrap_err().code(),
            "key_provider_unavailable"
        );
        set(&values, "KEY", &"01".repeat(32));
        let old = provider.current().unwrap();
        let wrapped = provider.wrap(&old, b"a", &[0; 12], &[5; 32]).unwrap();
        assert!(matches!(
            provider.create(),
            Err(ProviderError::Unsupported { .. })
        ));
        set(&values, "KEY_NEXT", &"02".repeat(32));
        let new = provider.create().unwrap();
        assert_ne!(new, old);
        assert_eq!(provider.current().unwrap(), new);
        let plain = provider.unwrap(&old, b"a", &[0; 12], &wrapped).unwrap();
        assert_eq!(plain.as_bytes(), [5; 32]);
        assert_eq!(provider.destroy(&old).unwrap(), Destroyed::Unsupported);
        set(&values, "KEY", &"02".repeat(32));
        values.lock().unwrap().remove("KEY_NEXT");
        assert_eq!(provider.current().unwrap(), new);
        assert_eq!(provider.destroy(&old).unwrap(), Destroyed::BestEffort);
        let gone = provider.unwrap(&old, b"a", &[0; 12], &wrapped);
        assert!(matches!(gone, Err(ProviderError::UnknownKek { .. })));
    }

    #[test]
    fn values_that_are_no_keys_are_refused_unseen() {
        let (provider, values) = provider();
        for value in ["hunter2hunter2", "", &"0".repeat(63), &"z".repeat(64)] {
            set(&values, "KEY", value);
            let error = provider.current().unwrap_err();
            assert_eq!(error.code(), "key_provider_bad_answer");
            assert!(value.is_empty() || !format!("{error:?}").contains(value));
        }
    }
}

//! Digests that name a call, and what it is bound to.

use runstone_codec::Keyed;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::control::effect as field;
use super::words::Kind;

/// SHA-256 over the RFC 8785 canonical JSON of the arguments by name; of `{}` if there are none.
/// `None` if they are not JSON.
pub(crate) fn args_digest(args: Option<&[u8]>) -> Option<[u8; 32]> {
    let args: Value = match args {
        None => Value::Object(serde_json::Map::new()),
        Some(args) => serde_json::from_slice(args).ok()?,
    };
    let canonical = serde_json_canonicalizer::to_vec(&args).ok()?;
    Some(Sha256::digest(canonical).into())
}

/// The digest of a key, as a tag and in control.
pub(crate) fn keyed_as(kind: Kind, domain: &str, key: &str) -> [Keyed; 2] {
    let parts = || [kind.as_str().as_bytes(), domain.as_bytes(), key.as_bytes()];
    [
        Keyed::tag(field::KEY_LABEL, field::KEY_LABEL, parts()),
        Keyed::control(field::KEY, field::KEY_LABEL, parts()),
    ]
}

/// The digest of what a key is bound to: a name, and arguments unless the key alone says what the
/// call is.
pub(crate) fn bound_to(into: u16, name: &str, args: Option<&[u8; 32]>) -> Keyed {
    let args = args.map(<[u8; 32]>::as_slice).unwrap_or_default();
    Keyed::control(into, field::BINDING_LABEL, [name.as_bytes(), args])
}

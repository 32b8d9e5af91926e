//! What a log is: its name, its keys and the options of this process.

use crate::keys::KeyStore;
use crate::options::{LogOptions, Sealing};
use runstone_codec::keys::OperationsKey;
use runstone_codec::{CODEC_PLAIN, Header, LogId, namespace};
use std::sync::Arc;

/// Facts that hold as long as a log is open.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) log_id: LogId,
    pub(crate) origin: String,
    pub(crate) sealing: Sealing,
    pub(crate) fields: bool,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) operations: Option<Arc<OperationsKey>>,
    pub(crate) mac: [u8; 32],
    pub(crate) options: LogOptions,
    /// Why nothing may be appended, if so.
    pub(crate) read_only: Option<String>,
    /// Pages of the file are damaged.
    pub(crate) damaged: bool,
}

/// Whether an event of an encrypted log is in the clear and may not be: whoever can replace a
/// payload could else replace it by one that needs no key.
pub(crate) fn is_downgraded(sealing: Sealing, header: &Header) -> bool {
    sealing == Sealing::Required
        && header.codec == CODEC_PLAIN
        && !namespace::is_evidence(&header.event_type)
}

impl Drop for Identity {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.mac.zeroize();
    }
}

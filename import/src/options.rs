//! What a caller may choose.

use std::fmt;

use runstone_codec::event::EventLimits;

/// What a caller may choose about an import.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Put before the name of every stream; default none. Ids follow the streams: importing with
    /// another prefix imports anew.
    pub stream_prefix: String,
    /// Most bytes of one record; default 64 MiB. A longer one is passed over without being held.
    pub record_bytes: usize,
    /// Bounds of each event; default those of a log.
    pub limits: EventLimits,
    /// Most records of one recording whose identity is remembered, at about 60 bytes each; default
    /// 1,048,576. Only formats whose records refer to each other remember any.
    pub records: usize,
    /// Most members of one container; default 1,048,576.
    pub members: u64,
    /// Most bytes that one byte of a container's member may expand to, once the member has 1 MiB;
    /// default 1,000. What it may expand to at all is [`record_bytes`](Self::record_bytes).
    pub member_ratio: u64,
    /// The key that receipts were signed with; default none: their signatures are not checked then.
    pub receipt_key: Option<Secret>,
}

/// A key, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A key of these bytes.
    pub fn new(key: impl Into<Vec<u8>>) -> Self {
        Self(key.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stream_prefix: String::new(),
            record_bytes: 64 << 20,
            limits: EventLimits::default(),
            records: 1 << 20,
            members: 1 << 20,
            member_ratio: 1000,
            receipt_key: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is put before the name of every stream.
    #[must_use]
    pub fn stream_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.stream_prefix = prefix.into();
        self
    }

    /// Sets the most bytes of one record.
    #[must_use]
    pub fn record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = bytes;
        self
    }

    /// Sets the bounds of each event.
    #[must_use]
    pub fn limits(mut self, limits: EventLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the most records whose identity is remembered.
    #[must_use]
    pub fn records(mut self, records: usize) -> Self {
        self.records = records;
        self
    }

    /// Sets the most members of one container.
    #[must_use]
    pub fn members(mut self, members: u64) -> Self {
        self.members = members;
        self
    }

    /// Sets the key that receipts were signed with.
    #[must_use]
    pub fn receipt_key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.receipt_key = Some(Secret::new(key));
        self
    }

    /// Sets the most bytes that one byte of a container's member may expand to.
    #[must_use]
    pub fn member_ratio(mut self, ratio: u64) -> Self {
        self.member_ratio = ratio;
        self
    }
}

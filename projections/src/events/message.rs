//! Messages between people, programs and agents.
//!
//! Who sent one and as what is stamped by the log; nothing in a message makes it an order.

use super::event;
use serde_json::Value;
use serde_json::value::RawValue;

event!("message.sent"
    /// A message to one agent or, with `*`, to all. Control says whether it is an order.
    MessageSent {
        /// The agent, or `*`.
        pub to: String,
        /// What kind of message it is, in the words of the sender; `ack` and `done` have a meaning
        /// of their own.
        #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
        pub message_type: Option<String>,
        /// What is to be done, as a word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub directive: Option<String>,
        /// The message as text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub text: Option<String>,
        /// The message as data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<Value>")]
        pub body: Option<Box<RawValue>>,
        /// Id of the event that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reply_to: Option<String>,
    }
);

event!("message.read"
    /// A reader has read its messages up to a position, which control names.
    MessageRead {}
);

//! How a typed event is written down.

/// Defines a payload, its type name and its first version.
macro_rules! event {
    ($name:literal $(#[$meta:meta])* $type:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[expect(
            clippy::exhaustive_structs,
            reason = "written out by whoever records the event"
        )]
        pub struct $type { $($body)* }

        impl runstone_codec::TypedEvent for $type {
            const TYPE: &'static str = $name;
            const VERSION: u32 = 1;
        }
    };
}

pub(super) use event;

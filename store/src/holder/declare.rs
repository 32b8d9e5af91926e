//! How asks are declared.

/// Declares what can be asked: a name, a type with its fields, the answer, the error, and how it is
/// answered where the file is. Makes a function `endpoints` of all of them.
#[macro_export]
macro_rules! asks {
    ($($(#[$doc:meta])* $name:literal $ask:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? }
        -> $answer:ty, $error:ty: |$self:ident, $log:ident| $body:expr;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $ask {
                $($(#[$attr])* pub(crate) $field: $type,)*
            }

            impl $crate::holder::Ask for $ask {
                const NAME: &'static str = $name;
                type Answer = $answer;
                type Error = $error;

                fn answer($self, $log: &$crate::Log) -> Result<$answer, $error> {
                    $body
                }
            }
        )+

        /// Everything that can be asked here.
        pub fn endpoints() -> Vec<$crate::holder::Endpoint> {
            vec![$($crate::holder::Endpoint::of::<$ask>()),+]
        }
    };
}

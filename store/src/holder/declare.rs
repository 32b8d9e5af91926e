//! How asks are declared.

/// Declares what can be asked: a name, a type with its fields, the answer, the error, and how it is
/// answered where the file is; what may take long tells a third argument how far it is. Makes a function
/// `endpoints` of all of them.
#[macro_export]
macro_rules! asks {
    (@is_long) => { false };
    (@is_long $progress:ident) => { true };
    (@name) => { _ };
    (@name $progress:ident) => { $progress };
    ($($(#[$doc:meta])* $name:literal $ask:ident { $($(#[$attr:meta])* $field:ident: $type:ty),* $(,)? }
        -> $answer:ty, $error:ty: |$self:ident, $log:ident $(, $progress:ident)?| $body:expr;)+) => {
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
                const IS_LONG: bool = $crate::asks!(@is_long $($progress)?);

                fn answer(
                    $self,
                    $log: &$crate::Log,
                    $crate::asks!(@name $($progress)?): &dyn Fn(u64, u64),
                ) -> Result<$answer, $error> {
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

/// Tells errors of commands: their variants where those travel, and what they say where they do not.
/// Each has the variants `Append` and `Read`, and is given with what an answer that was lost is
/// among the errors of appending.
#[macro_export]
macro_rules! refusals {
    ($($error:ty: $lost:expr),+ $(,)?) => {$(
        impl $crate::holder::Refusal for $error {
            fn told(&self) -> $crate::holder::Told {
                match self {
                    Self::Append($crate::AppendError::Told(told))
                    | Self::Read($crate::ReadError::Told(told)) => (**told).clone(),
                    typed => {
                        let (code, kind) = (typed.code(), typed.kind());
                        $crate::holder::Told::new(code, kind, typed.to_string())
                            .retryable(typed.is_retryable())
                            .detail(typed)
                    }
                }
            }

            fn of(told: $crate::holder::Told) -> Self {
                told.typed()
                    .unwrap_or_else(|told| Self::Append($crate::AppendError::Told(told)))
            }

            fn lost(lost: $crate::holder::Lost) -> Self {
                Self::Append($lost(lost))
            }
        }
    )+};
}

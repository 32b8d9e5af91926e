//! What every error answers.

use crate::{CallError, HelperError, NotAnswered, RunAgainError, StepError, pack};
use runstone_store::ErrorKind;
use std::error::Error;
use std::fmt::{Debug, Display};

/// What every error of this crate and its parts answers, so that a program can treat all of them
/// alike. What an error answers by itself, it answers here, too; errors of the parts that know nothing
/// of kinds, as those of [`codec`](crate::codec) and [`receipt`](crate::receipt), have them from here.
///
/// ```
/// use runstone::{Coded, ErrorKind, NewEvent, Query, Runstone};
///
/// fn advice(error: &dyn Coded) -> String {
///     match error.kind() {
///         _ if error.is_retryable() => format!("{}: try again", error.code()),
///         ErrorKind::Usage => format!("{}: correct it", error.code()),
///         _ => format!("{}: {error}", error.code()),
///     }
/// }
///
/// let log = Runstone::memory()?;
/// let refused = log.append_blocking(NewEvent::new("no type", "s")).unwrap_err();
/// assert_eq!(advice(&refused), "bad_event_type: correct it");
/// let unread = Query::parse("colour=red").unwrap_err();
/// assert_eq!(advice(&unread), "bad_query: correct it");
/// # Ok::<(), runstone::OpenError>(())
/// ```
pub trait Coded: Error {
    /// Which error it is: stable, with a page in `docs/errors`.
    fn code(&self) -> &'static str;

    /// What a caller does about it.
    fn kind(&self) -> ErrorKind;

    /// Whether the very same request may succeed later without anybody changing anything.
    fn is_retryable(&self) -> bool;
}

/// Errors that answer all of it themselves.
macro_rules! coded {
    ($($(#[$if:meta])? $error:ty),+ $(,)?) => {$(
        $(#[$if])?
        impl Coded for $error {
            fn code(&self) -> &'static str {
                <$error>::code(self)
            }

            fn kind(&self) -> ErrorKind {
                <$error>::kind(self)
            }

            fn is_retryable(&self) -> bool {
                <$error>::is_retryable(self)
            }
        }
    )+};
}

coded! {
    HelperError,
    NotAnswered,
    RunAgainError,
    pack::PackError,
    #[cfg(feature = "attach")]
    runstone_attach::AttachError,
    #[cfg(feature = "attach")]
    runstone_attach::ConnectError,
    runstone_projections::SweepError,
    runstone_projections::agents::AgentError,
    runstone_projections::approvals::ApprovalError,
    runstone_projections::budgets::BudgetError,
    runstone_projections::effects::EffectError,
    runstone_projections::runs::RunError,
    runstone_projections::sessions::SessionError,
    runstone_projections::settings::SettingsError,
    runstone_projections::tasks::TaskError,
    runstone_projections::trays::TrayError,
    runstone_replay::again::RecordingError,
    runstone_sinks::SinkError,
    runstone_store::AppendError,
    runstone_store::ContentError,
    runstone_store::EraseError,
    runstone_store::EvidenceError,
    runstone_store::LoadError,
    runstone_store::OpenError,
    runstone_store::ReadError,
    runstone_store::SegmentError,
    runstone_store::keys::KeyError,
}

macro_rules! coded_of_work {
    ($($error:ident),+) => {$(
        impl<E: Debug + Display> Coded for $error<E> {
            fn code(&self) -> &'static str {
                $error::code(self)
            }

            fn kind(&self) -> ErrorKind {
                $error::kind(self)
            }

            fn is_retryable(&self) -> bool {
                $error::is_retryable(self)
            }
        }
    )+};
}

coded_of_work!(CallError, StepError);

impl Coded for runstone_store::holder::Told {
    fn code(&self) -> &'static str {
        Self::code(self)
    }

    fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn is_retryable(&self) -> bool {
        self.retryable
    }
}

/// Errors of bytes and values: of one kind each, and the same the next time.
macro_rules! coded_alike {
    ($($kind:ident: $($(#[$if:meta])? $error:ty),+;)+) => {$($(
        $(#[$if])?
        impl Coded for $error {
            fn code(&self) -> &'static str {
                <$error>::code(self)
            }

            fn kind(&self) -> ErrorKind {
                ErrorKind::$kind
            }

            fn is_retryable(&self) -> bool {
                false
            }
        }
    )+)+};
}

coded_alike! {
    Usage:
        runstone_codec::ControlError,
        runstone_codec::EventError,
        runstone_codec::ParseAuthorityError,
        runstone_codec::ParseIdError,
        runstone_codec::SchemaError,
        runstone_codec::SealError,
        runstone_codec::UpcastError,
        runstone_codec::field::FieldError,
        #[cfg(feature = "import")]
        runstone_import::Rejected,
        #[cfg(feature = "import")]
        runstone_import::UnknownFormat,
        runstone_projections::events::ParseWordError,
        runstone_store::QueryError;
    Corrupt:
        runstone_codec::EntryError,
        runstone_codec::EnvelopeError,
        runstone_codec::HeaderError,
        runstone_receipt::TextError,
        runstone_receipt::checkpoint::CheckpointError,
        runstone_receipt::consistency::ConsistencyError,
        runstone_receipt::disclosure::DisclosureError,
        runstone_receipt::note::NoteError,
        runstone_receipt::receipt::ReceiptError,
        runstone_receipt::tree::ProofError;
    Keys:
        runstone_receipt::policy::PolicyError,
        runstone_receipt::policy::PolicyRule;
}

impl Coded for runstone_store::StorageError {
    fn code(&self) -> &'static str {
        Self::code(self)
    }

    fn kind(&self) -> ErrorKind {
        Self::kind(self)
    }

    fn is_retryable(&self) -> bool {
        false
    }
}

impl Coded for runstone_codec::EntropyError {
    fn code(&self) -> &'static str {
        Self::code(self)
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Storage
    }

    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }
}

impl Coded for runstone_codec::keys::ProviderError {
    fn code(&self) -> &'static str {
        Self::code(self)
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Keys
    }

    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_store::{AppendError, Query, ReadError};

    type Answers = (&'static str, ErrorKind, bool);

    #[test]
    fn what_a_tool_or_a_step_answers_keeps_its_causes() {
        let cause = || anyhow::anyhow!("no route").context("the gateway is closed");
        let told = |error: Box<dyn Error + Send + Sync>| {
            let source = error.source().map(ToString::to_string);
            (error.to_string(), source.unwrap_or_default())
        };
        let expected = ("the gateway is closed".to_owned(), "no route".to_owned());
        assert_eq!(told(CallError::Tool(cause()).into_error()), expected);
        assert_eq!(told(StepError::Work(cause()).into_error()), expected);
        let other = StepError::<String>::InProgress {
            node: "plan".to_owned(),
        };
        assert!(other.into_error().is::<StepError<String>>());
    }

    #[test]
    fn errors_of_all_families_answer_as_one() {
        let outage = runstone_codec::keys::ProviderError::Unavailable {
            reason: runstone_codec::keys::Outage::Io,
            source: None,
        };
        let all: [(Box<dyn Coded>, Answers); 7] = [
            (
                Box::new(AppendError::Reopening),
                ("reopening", ErrorKind::Storage, true),
            ),
            (
                Box::new(ReadError::Reversed),
                ("bad_query", ErrorKind::Usage, false),
            ),
            (
                Box::new(Query::parse("").unwrap_err()),
                ("bad_query", ErrorKind::Usage, false),
            ),
            (
                Box::new(CallError::Tool("no")),
                ("tool_failed", ErrorKind::Refused, false),
            ),
            (
                Box::new(StepError::<String>::InProgress {
                    node: "plan".to_owned(),
                }),
                ("step_in_progress", ErrorKind::Refused, true),
            ),
            (
                Box::new("x".parse::<runstone_codec::LogId>().unwrap_err()),
                ("bad_identifier", ErrorKind::Usage, false),
            ),
            (
                Box::new(outage),
                ("key_provider_unavailable", ErrorKind::Keys, true),
            ),
        ];
        for (error, expected) in &all {
            let answers = (error.code(), error.kind(), error.is_retryable());
            assert_eq!(answers, *expected, "{error}");
        }
    }
}

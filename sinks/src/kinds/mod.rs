//! The kinds of sinks: those that are here, and those that a program brings.

#[cfg(feature = "archive")]
mod archive;
mod command;
#[cfg(feature = "client")]
pub(crate) mod http;
mod jsonl;
mod mirror;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "webhook")]
mod webhook;

use crate::config::{Destination, SinkConfig};
use crate::sink::{Rejection, Sink};
#[cfg(feature = "archive")]
use archive::{Archive, Checkpoints};
use command::Piped;
use jsonl::Jsonl;
use mirror::Mirror;
#[cfg(feature = "otlp")]
use otlp::Otlp;
use runstone_codec::LogId;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;
#[cfg(feature = "webhook")]
use webhook::Webhook;

/// Makes a sink as it is configured. It runs on the thread of the sink and may block, fail or panic.
pub type Factory = Arc<dyn Fn(&SinkConfig) -> Result<Box<dyn Sink>, Rejection> + Send + Sync>;

/// The kinds that a program brings besides those that are here.
#[derive(Clone, Default)]
pub struct Kinds {
    custom: BTreeMap<String, Factory>,
}

impl Debug for Kinds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.custom.keys()).finish()
    }
}

impl Kinds {
    /// None but those that are here.
    pub fn new() -> Self {
        Self::default()
    }

    /// Brings a kind, for sinks that are configured as [`Destination::Custom`].
    #[must_use]
    pub fn kind(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(&SinkConfig) -> Result<Box<dyn Sink>, Rejection> + Send + Sync + 'static,
    ) -> Self {
        self.custom.insert(name.into(), Arc::new(factory));
        self
    }

    /// What makes a sink of a log that is configured so, and was added at this position: for a kind of one's
    /// own around one that is here.
    pub fn factory(&self, config: &SinkConfig, log: LogId, added: u64) -> Factory {
        tracing::debug!(%log, sink = config.name, added, "a sink begins");
        match &config.to {
            Destination::Jsonl(jsonl) => {
                let jsonl = jsonl.clone();
                Arc::new(move |_| Ok(Box::new(Jsonl::open(&jsonl)?)))
            }
            Destination::Command(command) => {
                let command = command.clone();
                Arc::new(move |_| Ok(Box::new(Piped::new(command.clone()))))
            }
            #[cfg(feature = "webhook")]
            Destination::Webhook(webhook) => {
                let webhook = webhook.clone();
                Arc::new(move |config| {
                    Ok(Box::new(Webhook::new(&webhook, &config.name, log, added)?))
                })
            }
            #[cfg(not(feature = "webhook"))]
            Destination::Webhook(_) => unavailable(config.to.unbuilt()),
            #[cfg(feature = "otlp")]
            Destination::Otlp(otlp) => {
                let otlp = otlp.clone();
                Arc::new(move |_| Ok(Box::new(Otlp::new(&otlp, log)?)))
            }
            #[cfg(not(feature = "otlp"))]
            Destination::Otlp(_) => unavailable(config.to.unbuilt()),
            Destination::Mirror(mirror) => {
                let mirror = mirror.clone();
                Arc::new(move |_| Ok(Box::new(Mirror::new(mirror.clone()))))
            }
            #[cfg(feature = "archive")]
            Destination::Archive(archive) => {
                let archive = archive.clone();
                Arc::new(move |_| Ok(Box::new(Archive::open(&archive, log)?)))
            }
            #[cfg(feature = "archive")]
            Destination::Checkpoints(checkpoints) => {
                let checkpoints = checkpoints.clone();
                Arc::new(move |_| Ok(Box::new(Checkpoints::open(&checkpoints, log)?)))
            }
            #[cfg(not(feature = "archive"))]
            Destination::Archive(_) | Destination::Checkpoints(_) => {
                unavailable(config.to.unbuilt())
            }
            Destination::Custom(custom) => {
                let missing = format!(
                    "the program that holds the log has no kind `{}` of sinks",
                    custom.kind
                );
                let known = self.custom.get(&custom.kind).cloned();
                // Another program that holds the log later may have it.
                known.unwrap_or_else(|| unavailable(missing))
            }
        }
    }
}

/// Makes nothing, as long as another program holds the log.
fn unavailable(why: String) -> Factory {
    Arc::new(move |_| Err(Rejection::Unavailable(why.clone())))
}

#[cfg(all(test, not(any(feature = "otlp", feature = "webhook"))))]
mod tests {
    use super::*;

    /// What another program recorded waits for one that has it; nothing more of it is recorded here.
    #[test]
    fn what_is_not_built_in_is_an_outage_and_cannot_be_added() {
        for destination in [
            r#"{"webhook":{"url":"https://a.b"}}"#,
            r#"{"otlp":{"endpoint":""}}"#,
        ] {
            let to: Destination = serde_json::from_str(destination).unwrap();
            let config = SinkConfig::new("a", to);
            let made = Kinds::new().factory(&config, LogId::new([1; 16]), 1)(&config);
            let Err(Rejection::Unavailable(why)) = made else {
                panic!("{destination}");
            };
            assert!(
                why.contains("built without") && !why.contains('\n'),
                "{why}"
            );
            assert_eq!(config.check().unwrap_err().code(), "sink_config");
        }
    }
}

//! A function, wrapped so that each of its calls happens once.

use super::call::{CallError, EffectCall};
use super::run::Run;
use super::waiting::Wait;
use runstone_projections::effects::{Class, EffectError, KeySource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A call of a wrapped function, under way.
type Calling<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, CallError<E>>> + Send + 'a>>;

/// A tool of a run; [`wrap`](Self::wrap) puts an existing function behind it.
#[derive(Debug, Clone)]
#[must_use = "a tool is nothing until it wraps a function"]
pub struct Tool {
    run: Run,
    name: String,
    class: Class,
    key_from: Vec<String>,
    wait: Wait,
}

impl Tool {
    pub(super) fn new(run: &Run, name: String) -> Self {
        Self {
            run: run.clone(),
            name,
            class: Class::Write,
            key_from: Vec::new(),
            wait: Wait::No,
        }
    }

    /// What it means to call it twice. Default [`Class::Write`].
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// The fields of the arguments that make two calls the same one, in the whole scope. All must
    /// be there. Default: all arguments, in this run.
    pub fn key_from<T: Into<String>>(mut self, fields: impl IntoIterator<Item = T>) -> Self {
        self.key_from = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Waits for a call in flight instead of refusing the second one.
    pub fn wait(mut self) -> Self {
        self.wait = Wait::Ever;
        self
    }

    /// [`wait`](Self::wait), but no longer than this; see
    /// [`EffectCall::wait_at_most`](crate::EffectCall::wait_at_most).
    pub fn wait_at_most(mut self, time: Duration) -> Self {
        self.wait = Wait::AtMost(time);
        self
    }

    /// The function, called once for each key. Its argument is the arguments by name.
    ///
    /// ```
    /// # use runstone::{EffectClass, Runstone, Status};
    /// # use serde_json::json;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// async fn charge(args: serde_json::Value) -> Result<String, std::io::Error> {
    ///     Ok(format!("charged {}", args["usd"]))
    /// }
    /// # let log = Runstone::memory()?;
    /// # let run = log.run("bot").resume_or_start("run-1").await?;
    /// let charge = run.tool("charge").class(EffectClass::Write).key_from(["invoice"]).wrap(charge);
    /// let args = json!({"invoice": "inv-42", "usd": 12});
    /// assert_eq!(charge(args.clone()).await?, "charged 12");
    /// assert_eq!(charge(args).await?, "charged 12");
    /// # run.finish(Status::Success).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wrap<'a, A, T, E, F, C>(self, function: F) -> impl Fn(A) -> Calling<'a, T, E> + 'a
    where
        A: Serialize + Send + 'a,
        T: Serialize + DeserializeOwned + Send + Sync + 'a,
        E: Debug + Display + Send + Sync + 'a,
        F: Fn(A) -> C + Clone + Send + 'a,
        C: Future<Output = Result<T, E>> + Send + 'a,
    {
        move |args: A| {
            let (call, function) = (self.call_of(&args), function.clone());
            Box::pin(async move { call?.call(move || function(args)).await })
        }
    }

    /// [`wrap`](Self::wrap) for callers without a runtime.
    pub fn wrap_blocking<A, T, E>(
        self,
        function: impl Fn(A) -> Result<T, E>,
    ) -> impl Fn(A) -> Result<T, CallError<E>>
    where
        A: Serialize,
        T: Serialize + DeserializeOwned,
        E: Debug + Display,
    {
        move |args| self.call_of(&args)?.call_blocking(|| function(args))
    }

    fn call_of<A: Serialize>(&self, args: &A) -> Result<EffectCall, EffectError> {
        let call = self
            .run
            .effect(self.name.as_str())
            .class(self.class)
            .args(args);
        let call = call.waits(self.wait);
        if self.key_from.is_empty() {
            return Ok(call);
        }
        let args = serde_json::to_value(args).map_err(|_| EffectError::Args)?;
        let fields = self.key_from.iter().map(|field| {
            let value = match args.get(field) {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => {
                    return Err(EffectError::Key {
                        why: "a field that it is made of is missing in the arguments".into(),
                    });
                }
                Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
                // One value has many spellings.
                Some(_) => {
                    return Err(EffectError::Key {
                        why: "a field that it is made of is neither text nor an integer".into(),
                    });
                }
            };
            Ok((field.clone(), value))
        });
        let fields = fields.collect::<Result<_, _>>()?;
        Ok(call
            .key_source(KeySource::Business(fields))
            .bound_to_key_only())
    }
}

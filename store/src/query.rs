//! Selecting events.
//!
//! `QUERY` = items joined by ` or `; an item is `type=a.b,c.*`, `tag=k:v`, `stream=s` and further
//! filters joined by `;`. Items are OR-ed; in an item types are OR-ed and everything else is
//! AND-ed.

use runstone_codec::{Authority, Header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use uuid::Uuid;

/// A filter on an optional id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IdFilter {
    /// The field is absent.
    Absent,
    /// The field is this id.
    Is(#[schemars(with = "String")] Uuid),
}

/// One alternative of a query: all its filters must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Item {
    /// Event types, any of them; `ns.*` selects a namespace.
    pub types: Vec<String>,
    /// Tags, all of them.
    pub tags: Vec<String>,
    /// The stream.
    pub stream: Option<String>,
    /// The producer's word for itself.
    pub source: Option<String>,
    /// The principal stamped by the log.
    pub principal: Option<String>,
    /// The authority stamped by the log.
    pub authority: Option<Authority>,
    /// The causing event.
    pub causation: Option<IdFilter>,
    /// The correlation id.
    pub correlation: Option<IdFilter>,
    /// The erasure scope.
    pub scope: Option<String>,
}

/// Which events are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "QueryForm", try_from = "QueryForm")]
#[schemars(with = "QueryForm")]
#[non_exhaustive]
pub enum Query {
    /// The whole log, asked for by name.
    #[default]
    Everything,
    /// Events that match any item.
    Items(Vec<Item>),
}

/// A query as other programs write it: its text, `*` for the whole log, or its items.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Query")]
#[serde(untagged)]
enum QueryForm {
    Text(String),
    Items(Vec<Item>),
}

impl From<Query> for QueryForm {
    fn from(query: Query) -> Self {
        match query {
            Query::Everything => Self::Text("*".to_owned()),
            Query::Items(items) => Self::Items(items),
        }
    }
}

impl TryFrom<QueryForm> for Query {
    type Error = QueryError;

    fn try_from(form: QueryForm) -> Result<Self, QueryError> {
        match form {
            QueryForm::Text(text) if text == "*" => Ok(Self::Everything),
            QueryForm::Text(text) => Self::parse(&text),
            QueryForm::Items(items) => Ok(Self::Items(items)),
        }
    }
}

/// A query text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// A filter that does not exist.
    #[error(
        "unknown filter `{name}`; known filters: type, tag, stream, source, principal, authority, causation, correlation, scope"
    )]
    UnknownFilter {
        /// What was written.
        name: String,
    },
    /// A filter without `=`, or without a value.
    #[error("`{text}` is not a filter; write name=value, as in type=tool.*;tag=user:7")]
    NotAFilter {
        /// What was written.
        text: String,
    },
    /// A value that does not fit its filter.
    #[error("`{value}` is not a value for {filter}: {why}")]
    BadValue {
        /// The filter.
        filter: &'static str,
        /// What was written.
        value: String,
        /// Why it does not fit.
        why: &'static str,
    },
    /// Nothing was asked for.
    #[error("the query is empty; everything is asked for in so many words")]
    Empty,
}

impl QueryError {
    /// Stable code with a page in docs/errors.
    pub fn code(&self) -> &'static str {
        "bad_query"
    }
}

impl Query {
    /// The whole log.
    pub fn everything() -> Self {
        Self::Everything
    }

    /// Events of one stream.
    pub fn stream(stream: impl Into<String>) -> Self {
        Item::new().stream(stream).into()
    }

    /// Events of a type, or of a namespace written as `ns.*`.
    pub fn of_type(event_type: impl Into<String>) -> Self {
        Item::new().of_type(event_type).into()
    }

    /// Events that carry a tag.
    pub fn tag(tag: impl Into<String>) -> Self {
        Item::new().tag(tag).into()
    }

    /// Events that match this query or the item.
    #[must_use]
    pub fn or(self, item: Item) -> Self {
        match self {
            Self::Everything => Self::Everything,
            Self::Items(mut items) => {
                items.push(item);
                Self::Items(items)
            }
        }
    }

    /// Reads the textual form.
    ///
    /// # Errors
    ///
    /// [`QueryError`] says which part cannot be read.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let items = text
            .split(" or ")
            .map(Item::parse)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self::Items(items))
    }

    /// Whether an event matches.
    pub fn matches(&self, header: &Header) -> bool {
        match self {
            Self::Everything => true,
            Self::Items(items) => items.iter().any(|item| item.matches(header)),
        }
    }
}

impl FromStr for Query {
    type Err = QueryError;

    /// As [`parse`](Self::parse).
    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

impl From<Item> for Query {
    fn from(item: Item) -> Self {
        Self::Items(vec![item])
    }
}

impl Item {
    /// An item without filters matches every event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type, or a namespace written as `ns.*`.
    #[must_use]
    pub fn of_type(mut self, event_type: impl Into<String>) -> Self {
        self.types.push(event_type.into());
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets the stream.
    #[must_use]
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    /// Sets the source.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    fn parse(text: &str) -> Result<Self, QueryError> {
        if text.trim().is_empty() {
            return Err(QueryError::Empty);
        }
        let mut item = Self::new();
        for part in text.split(';') {
            let (name, value) = part
                .split_once('=')
                .filter(|(_, value)| !value.is_empty())
                .ok_or_else(|| QueryError::NotAFilter {
                    text: part.to_owned(),
                })?;
            item.set(name.trim(), value)?;
        }
        Ok(item)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), QueryError> {
        match name {
            "type" => self.types.extend(value.split(',').map(str::to_owned)),
            "tag" => self.tags.push(value.to_owned()),
            "stream" => self.stream = Some(value.to_owned()),
            "source" => self.source = Some(value.to_owned()),
            "principal" => self.principal = Some(value.to_owned()),
            "scope" => self.scope = Some(value.to_owned()),
            "authority" => {
                self.authority = Some(value.parse().map_err(|_| QueryError::BadValue {
                    filter: "authority",
                    value: value.to_owned(),
                    why: "it is system, human, commander or agent",
                })?);
            }
            "causation" => self.causation = Some(id_filter("causation", value)?),
            "correlation" => self.correlation = Some(id_filter("correlation", value)?),
            _ => {
                return Err(QueryError::UnknownFilter {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Name of the first filter that has no index, if any.
    pub(crate) fn unindexed(&self) -> Option<&'static str> {
        [
            (self.source.is_some(), "source"),
            (self.principal.is_some(), "principal"),
            (self.authority.is_some(), "authority"),
            (self.causation.is_some(), "causation"),
            (self.correlation.is_some(), "correlation"),
            (self.scope.is_some(), "scope"),
        ]
        .into_iter()
        .find_map(|(set, name)| set.then_some(name))
    }

    /// Whether the index can say anything about this item.
    pub(crate) fn is_indexed(&self) -> bool {
        self.stream.is_some() || !self.types.is_empty() || !self.tags.is_empty()
    }

    /// Whether an event matches.
    pub fn matches(&self, header: &Header) -> bool {
        let is = |wanted: &Option<String>, actual: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == actual)
        };
        (self.types.is_empty()
            || self
                .types
                .iter()
                .any(|pattern| type_matches(pattern, &header.event_type)))
            && self.tags.iter().all(|tag| header.has_tag(tag))
            && is(&self.stream, &header.stream)
            && is(&self.source, &header.source)
            && is(&self.principal, &header.principal)
            && is(&self.scope, &header.scope)
            && self
                .authority
                .is_none_or(|wanted| wanted == header.authority)
            && id_matches(self.causation, header.causation)
            && id_matches(self.correlation, header.correlation)
    }
}

fn id_filter(filter: &'static str, value: &str) -> Result<IdFilter, QueryError> {
    if value == "none" {
        return Ok(IdFilter::Absent);
    }
    value
        .parse()
        .map(IdFilter::Is)
        .map_err(|_| QueryError::BadValue {
            filter,
            value: value.to_owned(),
            why: "it is an event id (UUID) or none",
        })
}

fn id_matches(filter: Option<IdFilter>, actual: Option<Uuid>) -> bool {
    match filter {
        None => true,
        Some(IdFilter::Absent) => actual.is_none(),
        Some(IdFilter::Is(wanted)) => actual == Some(wanted),
    }
}

/// Whether `event_type` is the pattern, or lies in the namespace written as `ns.*`.
fn type_matches(pattern: &str, event_type: &str) -> bool {
    pattern.strip_suffix(".*").map_or_else(
        || pattern == event_type,
        |namespace| {
            event_type
                .strip_prefix(namespace)
                .is_some_and(|rest| rest.starts_with('.'))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_textual_form() {
        let query = "type=a.b,c.*;tag=k:v;stream=s or authority=human";
        let query: Query = query.parse().unwrap();
        let Query::Items(items) = query else {
            panic!("items")
        };
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].types, ["a.b", "c.*"]);
        assert_eq!(items[0].tags, ["k:v"]);
        assert_eq!(items[0].stream.as_deref(), Some("s"));
        assert_eq!(items[1].authority, Some(Authority::Human));
    }

    #[test]
    fn names_what_it_cannot_read() {
        let unknown = Query::parse("colour=red").unwrap_err();
        assert!(unknown.to_string().contains("known filters: type, tag"));
        assert!(matches!(Query::parse(""), Err(QueryError::Empty)));
        assert!(matches!(
            Query::parse("type"),
            Err(QueryError::NotAFilter { .. })
        ));
        assert!(matches!(
            Query::parse("causation=xyz"),
            Err(QueryError::BadValue { .. })
        ));
    }

    #[test]
    fn namespaces_end_at_a_dot() {
        assert!(type_matches("tool.*", "tool.call.requested"));
        assert!(!type_matches("tool.*", "toolbox.opened"));
        assert!(!type_matches("tool.*", "tool"));
        assert!(type_matches("tool.call", "tool.call"));
    }
}

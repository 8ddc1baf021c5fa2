//! Actions and what travels about them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// Most items of one action.
pub const MAX_ITEMS: usize = 100;
/// Longest item, in bytes.
pub const MAX_ITEM_BYTES: usize = 64 * 1024;
/// Longest name of a source, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64;

/// What the worker does with each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    /// The item's SHA-256, in hexadecimal.
    Digest,
    /// The item as it came: a sign of life of its source.
    Heartbeat,
}

/// How far an action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// Written by api.
    Accepted,
    /// Split into steps by executor.
    Dispatched,
    /// Every step done by worker.
    Completed,
}

/// The body of `POST /actions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAction {
    /// What to do.
    pub kind: Kind,
    /// With what: one step each.
    pub items: Vec<String>,
    /// Who asks.
    #[serde(default = "anonymous")]
    pub source: String,
}

fn anonymous() -> String {
    "client".to_owned()
}

impl NewAction {
    /// Says what is wrong with it, in words for the caller.
    pub fn validate(&self) -> Result<(), String> {
        if self.items.is_empty() || self.items.len() > MAX_ITEMS {
            return Err(format!("items must hold 1 to {MAX_ITEMS} entries"));
        }
        if self.items.iter().any(|item| item.len() > MAX_ITEM_BYTES) {
            return Err(format!("an item must not exceed {MAX_ITEM_BYTES} bytes"));
        }
        // PostgreSQL's text cannot hold it; better said here than by a failing insert.
        if self.items.iter().any(|item| item.contains('\0')) {
            return Err("an item must not contain a NUL character".to_owned());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.source.is_empty()
            || self.source.len() > MAX_SOURCE_BYTES
            || !self.source.chars().all(plain)
        {
            return Err(format!(
                "source must be 1 to {MAX_SOURCE_BYTES} letters, digits, '-' or '_'"
            ));
        }
        Ok(())
    }
}

/// An action in a list.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Summary {
    /// Its id; sorts by time of creation.
    pub id: Uuid,
    /// What to do.
    pub kind: Kind,
    /// Who asked.
    pub source: String,
    /// How far it has come.
    pub state: State,
    /// Whether notifier has told the subscribers.
    pub notified: bool,
    /// When api accepted it.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its state last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// One item and what the worker made of it.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Step {
    /// The item.
    pub input: String,
    /// The result; null until the step is done.
    pub result: Option<String>,
}

/// Who did what, and when.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct Event {
    /// The service.
    pub service: String,
    /// What it did.
    pub event: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// An action with everything known about it.
#[derive(Clone, Debug, Serialize)]
pub struct Action {
    /// What a list shows of it.
    #[serde(flatten)]
    pub summary: Summary,
    /// Its steps, in the order of its items; empty until executor has seen it.
    pub steps: Vec<Step>,
    /// Its history, oldest first.
    pub history: Vec<Event>,
}

/// A message about an action as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionMessage {
    /// Which one.
    pub action_id: Uuid,
}

/// A message about one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepMessage {
    /// Which action.
    pub action_id: Uuid,
    /// Which of its items, from 0.
    pub position: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<NewAction, String> {
        let action: NewAction = serde_json::from_str(json).map_err(|error| error.to_string())?;
        action.validate().map(|()| action)
    }

    #[test]
    fn the_source_has_a_default() {
        let action = parse(r#"{"kind":"digest","items":["a"]}"#).unwrap();
        assert_eq!(
            (action.kind, action.source.as_str()),
            (Kind::Digest, "client")
        );
    }

    #[test]
    fn what_cannot_be_done_or_stored_is_refused() {
        for (json, words) in [
            (r#"{"kind":"digest","items":[]}"#, "1 to 100"),
            (r#"{"kind":"explode","items":["a"]}"#, "unknown variant"),
            (r#"{"kind":"digest","items":["a\u0000b"]}"#, "NUL"),
            (
                r#"{"kind":"digest","items":["a"],"source":"a b"}"#,
                "letters",
            ),
            (
                r#"{"kind":"digest","items":["a"],"prio":1}"#,
                "unknown field",
            ),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.contains(words), "{json}: {error}");
        }
        let long = "x".repeat(MAX_ITEM_BYTES + 1);
        let error = parse(&format!(r#"{{"kind":"digest","items":["{long}"]}}"#)).unwrap_err();
        assert!(error.contains("bytes"), "{error}");
    }
}

//! Actions and the messages about them.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// Maximum number of items in an action.
pub const MAX_ITEMS: usize = 100;
/// Maximum size of an item, in bytes.
pub const MAX_ITEM_BYTES: usize = 64 * 1024;
/// Maximum length of a source's name, in bytes.
pub const MAX_SOURCE_BYTES: usize = 64;

/// What the worker does with each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Kind {
    /// The item's SHA-256, in hexadecimal.
    Digest,
    /// The item unchanged: it shows that its source is alive.
    Heartbeat,
}

/// The state of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// Stored by api.
    Accepted,
    /// Split into steps by executor.
    Dispatched,
    /// Every step has been completed by worker.
    Completed,
}

/// The body of `POST /actions`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAction {
    /// What to do.
    pub kind: Kind,
    /// The items to process; each becomes one step.
    pub items: Vec<String>,
    /// Who requests it.
    #[serde(default = "anonymous")]
    pub source: String,
}

fn anonymous() -> String {
    "client".to_owned()
}

impl NewAction {
    /// Checks the action; the error is a message for the caller.
    pub fn validate(&self) -> Result<(), String> {
        if self.items.is_empty() || self.items.len() > MAX_ITEMS {
            return Err(format!("items must contain 1 to {MAX_ITEMS} entries"));
        }
        if self.items.iter().any(|item| item.len() > MAX_ITEM_BYTES) {
            return Err(format!("an item must not exceed {MAX_ITEM_BYTES} bytes"));
        }
        // PostgreSQL's text type cannot store it; a clear error here is better than a failed insert.
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
    /// Its id; ids sort by creation time.
    pub id: Uuid,
    /// What to do.
    pub kind: Kind,
    /// Who requested it.
    pub source: String,
    /// Its state.
    pub state: State,
    /// Whether notifier has notified the subscribers.
    pub notified: bool,
    /// When api accepted it.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When its state last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// An item and the worker's result for it.
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

/// An action with all its details.
#[derive(Clone, Debug, Serialize)]
pub struct Action {
    /// The part that is shown in lists.
    #[serde(flatten)]
    pub summary: Summary,
    /// Its steps, in the order of its items; empty until executor has processed it.
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

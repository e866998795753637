//! What the first page can change, for whoever knows the token.

use axum::body::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tempest_broker::{Broker, Changed, Error, LimitChange, Shelf};
use tempest_protocol::{JobId, Queue};
use tracing::{info, warn};

/// A change that is wanted: `{"do":"retry","queue":"mail","id":"…"}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(rename = "do")]
    deed: Deed,
    queue: String,
    /// The job's; pauses have none.
    id: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Deed {
    /// Runs a dead job again.
    Retry,
    /// Removes a dead job.
    Delete,
    /// Runs a delayed job now.
    Run,
    /// Stops the claims of a queue.
    Pause,
    /// Lets them go on.
    Resume,
}

/// Makes the change that a body asks for. Gives what the client is told.
pub(super) async fn change(broker: &Broker, body: &Bytes) -> (StatusCode, String) {
    let Some((deed, queue, id)) = read(body) else {
        return told(StatusCode::BAD_REQUEST, "bad_request", "This is no change that can be made.");
    };
    let made = match (deed, &id) {
        (Deed::Retry, Some(id)) => revive(broker, &queue, Shelf::Dead, id).await,
        (Deed::Run, Some(id)) => revive(broker, &queue, Shelf::Later, id).await,
        (Deed::Delete, Some(id)) => delete(broker, &queue, id).await,
        (Deed::Pause | Deed::Resume, _) => pause(broker, &queue, deed == Deed::Pause).await,
        (_, None) => return told(StatusCode::BAD_REQUEST, "bad_request", "This needs the id of a job."),
    };
    match made {
        Ok(true) => {
            let id = id.as_ref().map(JobId::as_str);
            info!(?deed, %queue, id, "changed on the admin page");
            (StatusCode::OK, format!("{}\n", json!({ "done": true })))
        }
        Ok(false) => told(StatusCode::NOT_FOUND, "not_found", "It is not there any more."),
        Err(error) => {
            warn!(%error, ?deed, %queue, "a change on the admin page failed");
            told(StatusCode::SERVICE_UNAVAILABLE, "redis_away", "Redis does not take it; try again later.")
        }
    }
}

fn told(status: StatusCode, code: &str, detail: &str) -> (StatusCode, String) {
    (status, format!("{}\n", json!({ "code": code, "detail": detail })))
}

/// None: it is nothing that is understood.
fn read(body: &Bytes) -> Option<(Deed, Queue, Option<JobId>)> {
    let wanted: Wanted = serde_json::from_slice(body).ok()?;
    let id = wanted.id.map(JobId::new).transpose().ok()?;
    Some((wanted.deed, Queue::new(wanted.queue).ok()?, id))
}

async fn revive(broker: &Broker, queue: &Queue, shelf: Shelf, id: &JobId) -> Result<bool, Error> {
    let entries = broker.shelved_of(queue, shelf, std::slice::from_ref(id)).await?;
    Ok(is_done(broker.revive(shelf, &entries).await?))
}

async fn delete(broker: &Broker, queue: &Queue, id: &JobId) -> Result<bool, Error> {
    let entries = broker.shelved_of(queue, Shelf::Dead, std::slice::from_ref(id)).await?;
    Ok(is_done(broker.discard(Shelf::Dead, &entries).await?))
}

async fn pause(broker: &Broker, queue: &Queue, paused: bool) -> Result<bool, Error> {
    broker.set_limits(queue, &[LimitChange::Paused(paused)]).await.map(|_| true)
}

fn is_done(changed: Changed) -> bool {
    changed.done > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_read() {
        let of = |text: &str| read(&Bytes::copy_from_slice(text.as_bytes()));
        assert!(of(r#"{"do":"pause","queue":"q"}"#).is_some_and(|(deed, ..)| deed == Deed::Pause));
        assert!(of(r#"{"do":"retry","queue":"q","id":"a"}"#).is_some_and(|(.., id)| id.is_some()));
        for wrong in [
            "",
            "[]",
            r#"{"do":"flushall","queue":"q"}"#,
            r#"{"do":"pause"}"#,
            r#"{"do":"pause","queue":"q}:x"}"#,
            r#"{"do":"retry","queue":"q","id":"a b"}"#,
            r#"{"do":"pause","queue":"q","more":1}"#,
        ] {
            assert!(of(wrong).is_none(), "{wrong}");
        }
    }
}

//! Mutations that a crash interrupted: their records are open, and SQL says how they ended (`design.md` §3).

use audit::Trail;
use front::owner_copies;
use ids::Timestamp;
use serde_json::Value;
use store::Store;
use trail::Record;

/// What `errorCode` says of a mutation that did not happen.
const FAILED: &str = "InternalFailure";

/// Why the open records could not be closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error("the records of interrupted calls cannot be closed: {0}")]
    Trail(#[from] audit::Error),
    #[error("what became of interrupted calls cannot be read: {0}")]
    Store(#[from] store::Error),
}

/// Closes every open record, as done if its change was committed and as failed if it was not, and says how many
/// there were. Runs once, before the first call; safe to repeat after a crash of its own.
///
/// # Errors
/// [`CloseError`]; the server must not start then.
pub async fn close_interrupted(trail: &Trail, store: &Store, now: Timestamp) -> Result<usize, CloseError> {
    let open = trail.unfinished().await?;
    let count = open.len();
    for record in open {
        let done = store.committed(&record.event_id).await?;
        tracing::warn!(
            event = record.event_name,
            event_id = record.event_id,
            done,
            "a crash had interrupted a call"
        );
        let mut closed = closed(record, done, now);
        for copy in if done { owner_copies(&mut closed) } else { Vec::new() } {
            trail.append(copy).await?;
        }
        let event_id = closed.event_id.clone();
        trail.close_record(&event_id, closed).await?;
    }
    // No record is open any more, so no mark is needed any more.
    store.forget_marks().await?;
    Ok(count)
}

/// The record keeps the time of the call; nobody was answered, so there is no answer in it.
fn closed(mut record: Record, done: bool, now: Timestamp) -> Record {
    let additional = record.additional_event_data.get_or_insert_default();
    additional.insert("closedAfterRestart".into(), Value::from(now.iso8601_seconds()));
    if !done {
        record.error_code = Some(FAILED.into());
        record.error_message = Some("The server stopped before the change was made.".into());
    }
    record
}

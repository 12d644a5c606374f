//! A crash between any two steps of a mutation: no change without its record, no record of what did not happen.

use std::{fs, path::Path};

use api_trail::close_interrupted;
use audit::Trail;
use ids::Timestamp;
use store::{Store, sqlx};
use trail::Record;

const NOW: Timestamp = Timestamp::from_millis(1_767_607_872_000);

fn record(event_id: &str) -> Record {
    serde_json::from_value(serde_json::json!({
        "eventVersion": "1.11", "userIdentity": {"type": "IAMUser", "userName": "dba"},
        "eventTime": "2026-01-05T10:00:00Z", "eventSource": "iam.amazonaws.com", "eventName": "CreateUser",
        "awsRegion": "us-east-1", "sourceIPAddress": "127.0.0.1", "requestParameters": {"userName": "new"},
        "responseElements": null, "eventID": event_id, "readOnly": false, "eventType": "AwsApiCall",
        "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management"
    }))
    .unwrap()
}

struct Home {
    store: Store,
    trail: Trail,
}

impl Home {
    async fn open(dir: &Path) -> Self {
        let store = Store::open(&dir.join("state.db")).await.unwrap();
        Self { store, trail: Trail::open(&dir.join("trail")).await.unwrap() }
    }

    async fn close(self) {
        self.trail.close().await;
        self.store.close().await;
    }

    async fn changed(&self, what: &str) -> bool {
        let sql = "SELECT 1 FROM iam_accounts WHERE id = $1";
        sqlx::query(sql).bind(what).fetch_optional(self.store.read()).await.unwrap().is_some()
    }
}

/// The steps of a mutation as the pipeline takes them, up to a crash before step `crash`.
async fn mutate(home: &Home, event_id: &str, crash: usize) {
    if crash < 1 {
        return;
    }
    home.trail.open_record(record(event_id)).await.unwrap();
    if crash < 2 {
        return;
    }
    let mut change = home.store.change(event_id).await.unwrap();
    if crash < 3 {
        return;
    }
    let insert = "INSERT INTO iam_accounts (id, created) VALUES ($1, 0)";
    sqlx::query(insert).bind(event_id).execute(change.tx()).await.unwrap();
    if crash < 4 {
        return;
    }
    change.commit().await.unwrap();
    if crash < 5 {
        return;
    }
    home.trail.close_record(event_id, record(event_id)).await.unwrap();
}

/// What is on disk now, as a crash of the process would leave it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn records(dir: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    audit::read_all(&dir.join("trail"), |record| records.push(record)).unwrap();
    records
}

#[tokio::test]
async fn a_crash_before_any_step_leaves_a_record_that_tells_the_truth() {
    for crash in 0..=5 {
        let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let home = Home::open(dir.path()).await;
        mutate(&home, "e1", crash).await;
        copy(dir.path(), image.path());
        home.close().await;

        let home = Home::open(image.path()).await;
        let closed = close_interrupted(&home.trail, &home.store, NOW).await.unwrap();
        assert_eq!(closed, usize::from((1..5).contains(&crash)), "crash before step {crash}");
        let changed = home.changed("e1").await;
        assert_eq!(changed, crash >= 4, "crash before step {crash}");
        assert!(!home.store.committed("e1").await.unwrap(), "marks have done their work");
        home.close().await;

        let found = records(image.path());
        assert_eq!(found.len(), usize::from(crash >= 1), "crash before step {crash}");
        for record in &found {
            assert_eq!(record.error_code.is_none(), changed, "crash before step {crash}");
            assert_eq!(record.event_time, Timestamp::parse("2026-01-05T10:00:00Z").unwrap());
        }

        let home = Home::open(image.path()).await;
        assert_eq!(close_interrupted(&home.trail, &home.store, NOW).await.unwrap(), 0, "safe to repeat");
        home.close().await;
        assert_eq!(records(image.path()), found);
    }
}

#[tokio::test]
async fn a_crash_while_closing_is_made_up_for_by_the_next_start() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let home = Home::open(dir.path()).await;
    mutate(&home, "done", 4).await;
    mutate(&home, "undone", 3).await;
    // One of the two was closed when the closing itself was interrupted.
    home.trail.close_record("done", record("done")).await.unwrap();
    copy(dir.path(), image.path());
    home.close().await;
    let home = Home::open(image.path()).await;
    assert_eq!(close_interrupted(&home.trail, &home.store, NOW).await.unwrap(), 1);
    home.close().await;
    let outcomes: Vec<_> = records(image.path())
        .into_iter()
        .map(|record| (record.event_id, record.error_code.is_none()))
        .collect();
    assert_eq!(outcomes, [("done".to_owned(), true), ("undone".to_owned(), false)]);
}

#[tokio::test]
async fn owners_of_foreign_resources_get_their_copy_of_what_was_done() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).await;
    let mut foreign = record("e1");
    foreign.resources = serde_json::from_value(serde_json::json!([{
        "accountId": "444455556666", "type": "AWS::KMS::Key", "ARN": "arn:aws:kms:us-west-2:444455556666:key/k",
    }]))
    .unwrap();
    home.trail.open_record(foreign).await.unwrap();
    home.store.change("e1").await.unwrap().commit().await.unwrap();
    close_interrupted(&home.trail, &home.store, NOW).await.unwrap();
    home.close().await;
    let recipients: Vec<_> =
        records(dir.path()).into_iter().map(|r| r.recipient_account_id.to_string()).collect();
    assert_eq!(recipients, ["444455556666", "111122223333"]);
}

//! The trail through its public face: nothing acknowledged is lost, nothing changed goes unnoticed.

use std::{fs, path::Path, sync::Arc};

use audit::{Error, Query, Trail, read_all};
use trail::{Attribute, Record};

fn record(id: &str, name: &str, second: i64) -> Record {
    serde_json::from_value(serde_json::json!({
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "userName": "dba", "accessKeyId": "AKIA1"},
        "eventTime": 1_767_000_000 + second, "eventSource": "kms.amazonaws.com", "eventName": name,
        "awsRegion": "us-west-2", "sourceIPAddress": "127.0.0.1", "requestParameters": null,
        "responseElements": null, "eventID": id, "readOnly": true,
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key",
                       "ARN": "arn:aws:kms:us-west-2:111122223333:key/k1"}],
        "eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": "111122223333",
        "eventCategory": "Management"
    }))
    .unwrap()
}

fn everything(limit: u32) -> Query {
    Query {
        account: "111122223333".parse().unwrap(),
        region: Some("us-west-2".parse().unwrap()),
        attribute: None,
        from: None,
        to: None,
        after: None,
        limit,
    }
}

fn ids(dir: &Path) -> Result<Vec<String>, Error> {
    let mut ids = Vec::new();
    read_all(dir, |record| ids.push(record.event_id))?;
    Ok(ids)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn lookups_see_everything_acknowledged_newest_first_and_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Arc::new(Trail::open(dir.path()).await.unwrap());
    let writers: Vec<_> = (0..50)
        .map(|n| {
            let trail = Arc::clone(&trail);
            tokio::spawn(async move { trail.append(record(&format!("e{n}"), "Decrypt", n)).await.unwrap() })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    trail.append(record("last", "Encrypt", 99)).await.unwrap();
    let mut seen = Vec::new();
    let mut query = everything(20);
    loop {
        let page = trail.lookup(&query).await.unwrap();
        let Some((_, cursor)) = page.last() else { break };
        query.after = Some(*cursor);
        seen.extend(page.into_iter().map(|(record, _)| record.event_id));
    }
    assert_eq!(seen.len(), 51);
    assert_eq!((seen[0].as_str(), seen[1].as_str(), seen[50].as_str()), ("last", "e49", "e0"));
    for (key, value, count) in [
        ("EventName", "Encrypt", 1),
        ("EventId", "e7", 1),
        ("EventId", "e", 0),
        ("ResourceType", "AWS::KMS::Key", 50),
        ("ResourceType", "AWS::KMS", 0),
        ("AccessKeyId", "AKIA1", 50),
        ("ReadOnly", "true", 50),
        ("ReadOnly", "false", 0),
        ("ResourceName", "k1", 50),
        ("ResourceName", "arn:aws:kms:us-west-2:111122223333:key/k1", 50),
        ("Username", "dba", 50),
        ("Username", "nobody", 0),
    ] {
        let query = Query { attribute: Some(Attribute::new(key, value.into()).unwrap()), ..everything(50) };
        assert_eq!(trail.lookup(&query).await.unwrap().len(), count.min(50), "{key} {value}");
    }
    let other = Query { region: Some("eu-west-1".parse().unwrap()), ..everything(50) };
    assert!(trail.lookup(&other).await.unwrap().is_empty(), "another region");
    trail.close().await;
    assert_eq!(ids(dir.path()).unwrap().len(), 51);
}

#[tokio::test]
async fn what_a_crash_interrupts_is_found_and_closed_once() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(dir.path()).await.unwrap();
    trail.open_record(record("done", "DisableKey", 1)).await.unwrap();
    trail.close_record("done", record("done", "DisableKey", 2)).await.unwrap();
    trail.open_record(record("cut", "DisableKey", 3)).await.unwrap();
    trail.close().await;
    for rebuilt in [false, true] {
        if rebuilt {
            fs::remove_file(dir.path().join("index.db")).unwrap();
        }
        let trail = Trail::open(dir.path()).await.unwrap();
        let unfinished: Vec<_> = trail.unfinished().await.unwrap().into_iter().map(|r| r.event_id).collect();
        assert_eq!(unfinished, ["cut"]);
        trail.close().await;
    }
    let trail = Trail::open(dir.path()).await.unwrap();
    trail.close_record("cut", record("cut", "DisableKey", 4)).await.unwrap();
    assert!(trail.unfinished().await.unwrap().is_empty());
    assert_eq!(trail.lookup(&everything(50)).await.unwrap().len(), 2, "intents are no events");
    trail.close().await;
}

#[tokio::test]
async fn a_log_cut_anywhere_opens_with_the_whole_records_before() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(dir.path()).await.unwrap();
    let log = dir.path().join("00000000.log");
    for n in 0..3 {
        trail.append(record(&format!("e{n}"), "Decrypt", n)).await.unwrap();
    }
    let running = fs::read(&log).unwrap();
    trail.close().await;
    let whole = fs::read(&log).unwrap();
    assert!(running.starts_with(&whole) && running[whole.len()..].iter().all(|byte| *byte == 0));
    let mut ends = vec![64];
    while let Some(length) = whole.get(ends[ends.len() - 1] + 4..).and_then(|rest| rest.first_chunk()) {
        ends.push(ends[ends.len() - 1] + 64 + u32::from_le_bytes(*length) as usize);
    }
    assert_eq!((ends.len(), ends.last()), (4, Some(&whole.len())));
    for length in (0..=whole.len()).step_by(7).chain([whole.len()]) {
        // At the end of the file, or with the zeros of a log that was being written.
        for zeros in [0, 100].into_iter().take(if length % 3 == 0 { 2 } else { 1 }) {
            let copy = tempfile::tempdir().unwrap();
            let mut bytes = whole[..length].to_vec();
            bytes.resize(length + zeros, 0);
            // The head of a segment is durable before anything else.
            if length < 64 && zeros > 0 {
                continue;
            }
            fs::write(copy.path().join("00000000.log"), &bytes).unwrap();
            let kept = ends.iter().skip(1).filter(|end| **end <= length).count();
            let mut expected: Vec<String> = (0..kept).map(|n| format!("e{n}")).collect();
            if length >= 64 {
                assert_eq!(ids(copy.path()).unwrap(), expected, "cut at {length}, {zeros} zeros, as it is");
            }
            let trail = Trail::open(copy.path()).await.unwrap();
            let torn = fs::read(copy.path().join("00000000.torn")).unwrap_or_default();
            let last = *ends.iter().rfind(|end| **end <= length).unwrap_or(&0);
            if length >= 64 {
                let left = &whole[last..length];
                let left = &left[..left.iter().rposition(|byte| *byte != 0).map_or(0, |end| end + 1)];
                assert_eq!(torn, left, "cut at {length}, {zeros} zeros");
            }
            trail.append(record("new", "Encrypt", 9)).await.unwrap();
            trail.close().await;
            expected.push("new".into());
            assert_eq!(ids(copy.path()).unwrap(), expected, "cut at {length}, {zeros} zeros");
        }
    }
}

#[tokio::test]
async fn a_flipped_byte_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let trail = Trail::open(dir.path()).await.unwrap();
    for n in 0..4 {
        trail.append(record(&format!("e{n}"), "Decrypt", n)).await.unwrap();
    }
    trail.close().await;
    let log = dir.path().join("00000000.log");
    let whole = fs::read(&log).unwrap();
    let last_frames = whole.len() - 2 * (whole.len() - 64) / 4;
    for at in (0..last_frames).step_by(11) {
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(copied.path().join("00000000.log"), &bytes).unwrap();
        let found = ids(copied.path());
        assert!(matches!(found, Err(Error::Damaged { .. })), "byte {at}: {found:?}");
        assert!(Trail::open(copied.path()).await.is_err(), "byte {at}");
    }
}

//! Random uploads, restores, removals and collections, some of them at the same time, against a model.

mod world;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use archive::{Archive, ArchiveError, Digest, Location, Progress};
use object_store::memory::InMemory;
use proptest::prelude::*;
use world::{Content, TestSeal, names, over, read, write};

#[derive(Clone, Debug)]
enum Step {
    Upload(u8, Content),
    Restore(u8),
    Delete(u8),
    Collect,
    /// An upload while a collection runs.
    Both(u8, Content),
    /// The server starts anew.
    Restart,
}

/// Few numbers and contents, so that snapshots share segments.
fn content() -> impl Strategy<Value = Content> {
    let bytes = (0..4_u8, 0..3_usize).prop_map(|(fill, size)| vec![fill; size * 700]);
    prop::collection::btree_map(1..5_u32, bytes, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let snapshot = 0..4_u8;
    prop_oneof![
        3 => (snapshot.clone(), content()).prop_map(|(s, c)| Step::Upload(s, c)),
        2 => snapshot.clone().prop_map(Step::Restore),
        2 => snapshot.clone().prop_map(Step::Delete),
        1 => Just(Step::Collect),
        2 => (snapshot, content()).prop_map(|(s, c)| Step::Both(s, c)),
        1 => Just(Step::Restart),
    ]
}

fn name(snapshot: u8) -> String {
    format!("snap-{snapshot}")
}

async fn play(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let inner = Arc::new(InMemory::new());
    let mut archive = over(inner.clone());
    let mut model: BTreeMap<u8, Content> = BTreeMap::new();
    // What nearby directories have is never taken for what it is not.
    let nearby: Vec<PathBuf> = (0..2).map(|i| dir.path().join(format!("nearby-{i}"))).collect();
    write(&nearby[0], &Content::from([(1, vec![1; 700]), (2, vec![9; 700]), (3, vec![2; 1400])]));
    for (number, step) in steps.into_iter().enumerate() {
        let here = dir.path().join(format!("step-{number}"));
        match step {
            // A snapshot never changes: one that is there stays as it is.
            Step::Upload(snapshot, content) => {
                let files = write(&here, &content);
                archive.upload(&name(snapshot), &files, &Progress::default()).await.unwrap();
                model.entry(snapshot).or_insert(content);
            }
            Step::Both(snapshot, content) => {
                let files = write(&here, &content);
                let (id, progress) = (name(snapshot), Progress::default());
                let (uploaded, collected) =
                    tokio::join!(archive.upload(&id, &files, &progress), archive.collect());
                uploaded.unwrap();
                collected.unwrap();
                model.entry(snapshot).or_insert(content);
            }
            Step::Restore(snapshot) => {
                let progress = Progress::default();
                let restored = archive.restore(&name(snapshot), &here, &nearby, &progress).await;
                match (model.get(&snapshot), restored) {
                    (Some(content), Ok(files)) => assert_eq!(&read(&files), content),
                    (None, Err(ArchiveError::NotFound(_))) => {}
                    other => panic!("{other:?}"),
                }
            }
            Step::Delete(snapshot) => {
                archive.delete(&name(snapshot)).await.unwrap();
                model.remove(&snapshot);
            }
            Step::Collect => drop(archive.collect().await.unwrap()),
            Step::Restart => archive = over(inner.clone()),
        }
        let there = archive.snapshots().await.unwrap();
        assert_eq!(there, model.keys().map(|s| name(*s)).collect::<Vec<_>>());
    }
    archive.collect().await.unwrap();
    let needed: std::collections::BTreeSet<_> = model
        .values()
        .flat_map(Content::values)
        .map(|bytes| Digest::of(bytes).to_string())
        .map(|digest| format!("segments/{}/{digest}", &digest[..2]))
        .collect();
    let kept = names(&inner).await.into_iter().filter(|name| name.starts_with("segments/"));
    assert_eq!(kept.collect::<Vec<_>>(), needed.into_iter().collect::<Vec<_>>());
}

/// `PROPTEST_CASES`, or as many as take a few seconds.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn what_was_uploaded_comes_back_and_nothing_else_stays(steps in prop::collection::vec(step(), 1..24)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(play(steps));
    }
}

#[tokio::test]
async fn a_directory_keeps_snapshots_and_is_cleared_of_what_a_dead_process_began() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let location = Location::parse(&format!("file://{}", store.display()), None, None, None).unwrap();
    let archive = Archive::at(&location, Arc::new(TestSeal(1)));
    let content = Content::from([(1, vec![1; 5000]), (3, vec![3; 100])]);
    let files = write(&dir.path().join("snapshot"), &content);
    let progress = Progress::default();
    archive.upload("snap-1", &files, &progress).await.unwrap();
    assert_eq!(progress.percent(), 100);

    let begun = [store.join("manifests/snap-2#1"), store.join("segments/00/x#12")];
    std::fs::create_dir_all(store.join("segments/00")).unwrap();
    begun.iter().for_each(|path| std::fs::write(path, b"half").unwrap());
    let archive = Archive::at(&location, Arc::new(TestSeal(1)));
    assert_eq!(archive.snapshots().await.unwrap(), ["snap-1"]);
    assert!(begun.iter().all(|path| !path.exists()));

    let into = dir.path().join("restored");
    let beside = dir.path().join("snapshot");
    let restored =
        archive.restore("snap-1", &into, std::slice::from_ref(&beside), &Progress::default()).await.unwrap();
    assert_eq!(read(&restored), content);
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    assert_eq!(inode(&restored.segments[0].1), inode(&beside.join("0000000001")), "a link, not a copy");

    archive.delete("snap-1").await.unwrap();
    let collected = archive.collect().await.unwrap();
    assert_eq!((collected.segments, collected.bytes), (2, 5100));
    assert!(matches!(archive.manifest("snap-1").await, Err(ArchiveError::NotFound(_))));
    for odd in ["", "a b", "../../etc/passwd", "a/b"] {
        assert!(!archive.has(odd).await.unwrap_or(false), "{odd}");
    }
}

//! A store that fails or dies at each of its operations: what was acknowledged is there, nothing is there by half, and
//! a repetition comes to the same end.

mod world;

use std::{collections::BTreeSet, sync::Arc};

use archive::{ArchiveError, Digest, Progress};
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path as ObjectPath};
use world::{Content, FAULTS, Fault, Faulty, names, over, read, write};

fn first() -> Content {
    Content::from([(1, vec![1; 5000]), (2, vec![2; 4096]), (5, vec![5; 100])])
}

/// Shares segments with the first.
fn second() -> Content {
    Content::from([(1, vec![1; 5000]), (2, vec![2; 4096]), (6, vec![6; 9000]), (7, vec![])])
}

fn expected(snapshots: &[(&str, Content)]) -> Vec<String> {
    let mut names = BTreeSet::from(["owner".to_owned()]);
    for (name, content) in snapshots {
        names.insert(format!("manifests/{name}"));
        for bytes in content.values() {
            let digest = Digest::of(bytes).to_string();
            names.insert(format!("segments/{}/{digest}", &digest[..2]));
        }
    }
    names.into_iter().collect()
}

/// Runs `broken` with operation 0, 1, 2, … going wrong in each way, until none does; `after` sees what is left.
async fn at_every_operation<B: Future<Output = bool>, A: Future<Output = ()>>(
    prepare: impl AsyncFn(&Arc<InMemory>),
    broken: impl Fn(Arc<dyn ObjectStore>) -> B,
    after: impl Fn(Arc<InMemory>, bool) -> A,
) {
    for fault in FAULTS {
        for at in 0.. {
            let inner = Arc::new(InMemory::new());
            prepare(&inner).await;
            let faulty = Faulty::new(Arc::clone(&inner), at, fault);
            let succeeded = broken(Arc::clone(&faulty) as _).await;
            let reached = faulty.operations() > at;
            after(inner, succeeded).await;
            if !reached {
                assert!(succeeded && at > 3, "{fault:?} at {at}");
                break;
            }
            assert!(
                !succeeded || matches!(fault, Fault::FailsBefore | Fault::FailsAfter),
                "{fault:?} at {at}"
            );
        }
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_anywhere_leaves_no_half_snapshot_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (write(&dir.path().join("1"), &first()), write(&dir.path().join("2"), &second()));
    at_every_operation(
        async |inner| over(inner.clone()).upload("snap-1", &one, &Progress::default()).await.unwrap(),
        |store| async { over(store).upload("snap-2", &two, &Progress::default()).await.is_ok() },
        |inner, succeeded| {
            let (one, two, dir) = (first(), &two, dir.path());
            async move {
                let archive = over(inner.clone());
                let there = archive.has("snap-2").await.unwrap();
                assert!(there || !succeeded);
                let into = tempfile::tempdir_in(dir).unwrap();
                let restored = archive.restore("snap-2", into.path(), &[], &Progress::default()).await;
                match (there, restored) {
                    (true, Ok(files)) => assert_eq!(read(&files), second()),
                    (false, Err(ArchiveError::NotFound(_))) => {}
                    (there, restored) => panic!("{there} {restored:?}"),
                }
                // What nothing needs goes, whenever that happens; then it is uploaded after all.
                archive.collect().await.unwrap();
                if !there {
                    assert_eq!(names(&inner).await, expected(&[("snap-1", one.clone())]));
                }
                archive.upload("snap-2", two, &Progress::default()).await.unwrap();
                assert_eq!(names(&inner).await, expected(&[("snap-1", one), ("snap-2", second())]));
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_removal_and_a_collection_that_break_off_anywhere_harm_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (write(&dir.path().join("1"), &first()), write(&dir.path().join("2"), &second()));
    at_every_operation(
        async |inner| {
            let archive = over(inner.clone());
            archive.upload("snap-1", &one, &Progress::default()).await.unwrap();
            archive.upload("snap-2", &two, &Progress::default()).await.unwrap();
        },
        |store| async {
            let archive = over(store);
            archive.delete("snap-1").await.is_ok() && archive.collect().await.is_ok()
        },
        |inner, succeeded| {
            let dir = dir.path();
            async move {
                let archive = over(inner.clone());
                assert!(!succeeded || !archive.has("snap-1").await.unwrap());
                let into = tempfile::tempdir_in(dir).unwrap();
                let files = archive.restore("snap-2", into.path(), &[], &Progress::default()).await.unwrap();
                assert_eq!(read(&files), second());
                archive.delete("snap-1").await.unwrap();
                archive.collect().await.unwrap();
                assert_eq!(names(&inner).await, expected(&[("snap-2", second())]), "no orphan stays");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_restore_that_breaks_off_anywhere_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let two = write(&dir.path().join("2"), &second());
    for fault in FAULTS {
        for at in 0.. {
            let inner = Arc::new(InMemory::new());
            over(inner.clone()).upload("snap-2", &two, &Progress::default()).await.unwrap();
            let faulty = Faulty::new(Arc::clone(&inner), at, fault);
            let into = tempfile::tempdir_in(dir.path()).unwrap();
            let broken = over(faulty.clone()).restore("snap-2", into.path(), &[], &Progress::default()).await;
            if let Ok(files) = &broken {
                assert_eq!(read(files), second());
            }
            if broken.is_err() {
                until_nothing_is_there_by_half(into.path()).await;
            }
            let progress = Progress::default();
            let files = over(inner).restore("snap-2", into.path(), &[], &progress).await.unwrap();
            assert_eq!((read(&files), progress.percent()), (second(), 100));
            if faulty.operations() <= at {
                assert!(broken.is_ok());
                break;
            }
        }
    }
}

/// Returns when no file is there by half: one whose fetch was given up may still be getting its name.
async fn until_nothing_is_there_by_half(directory: &std::path::Path) {
    let by_half = || {
        let mut entries = std::fs::read_dir(directory).into_iter().flatten();
        entries.any(|entry| entry.unwrap().path().extension().is_some())
    };
    while by_half() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn nothing_that_was_changed_in_the_store_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(&dir.path().join("1"), &first());
    let inner = Arc::new(InMemory::new());
    let archive = over(inner.clone());
    archive.upload("snap-1", &one, &Progress::default()).await.unwrap();
    archive.upload("snap-0", &one, &Progress::default()).await.unwrap();
    for name in names(&inner).await.into_iter().filter(|name| name != "owner" && name != "manifests/snap-0") {
        let path = ObjectPath::from(name.as_str());
        let whole = inner.get(&path).await.unwrap().bytes().await.unwrap();
        let mut flipped = whole.to_vec();
        flipped[whole.len() / 2] ^= 1;
        let other = ObjectPath::from("manifests/snap-0");
        let swapped = inner.get(&other).await.unwrap().bytes().await.unwrap();
        let short = whole.slice(..whole.len() - 1);
        for bad in [flipped.into(), short, [&whole[..], b"x"].concat().into(), swapped] {
            inner.put(&path, bad.into()).await.unwrap();
            let into = tempfile::tempdir_in(dir.path()).unwrap();
            let restored = archive.restore("snap-1", into.path(), &[], &Progress::default()).await;
            assert!(matches!(restored, Err(ArchiveError::Damaged(_))), "{name}: {restored:?}");
            // Attempts must not fill the disk.
            until_nothing_is_there_by_half(into.path()).await;
            if name.starts_with("manifests/") {
                let kept = names(&inner).await;
                archive.collect().await.unwrap_err();
                assert_eq!(names(&inner).await, kept, "an unreadable manifest may need anything");
            }
        }
        inner.delete(&path).await.unwrap();
        let into = tempfile::tempdir_in(dir.path()).unwrap();
        let lost = archive.restore("snap-1", into.path(), &[], &Progress::default()).await;
        assert!(
            matches!(lost, Err(ArchiveError::Damaged(_) | ArchiveError::NotFound(_))),
            "{name}: {lost:?}"
        );
        inner.put(&path, whole.into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_segment_that_is_cut_short_while_it_is_read_is_no_endless_one() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(&dir.path().join("1"), &first());
    let inner = Arc::new(InMemory::new());
    over(inner.clone()).upload("snap-1", &one, &Progress::default()).await.unwrap();
    let into = tempfile::tempdir_in(dir.path()).unwrap();
    let store = Faulty::new(inner, usize::MAX, Fault::DriesUp);
    let restored = over(store).restore("snap-1", into.path(), &[], &Progress::default()).await;
    assert!(matches!(restored, Err(ArchiveError::Damaged(_))), "{restored:?}");
}

#[tokio::test]
async fn an_upload_that_is_given_up_anywhere_leaves_nothing_once_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (write(&dir.path().join("1"), &first()), write(&dir.path().join("2"), &second()));
    for remove in [true, false] {
        for at in 0.. {
            let inner = Arc::new(InMemory::new());
            over(inner.clone()).upload("snap-1", &one, &Progress::default()).await.unwrap();
            let store = Faulty::new(Arc::clone(&inner), at, Fault::Hangs);
            let archive = over(store.clone());
            let progress = Progress::default();
            let given_up = tokio::select! {
                done = archive.upload("snap-2", &two, &progress) => {
                    done.unwrap();
                    false
                }
                () = store.hangs() => true,
            };
            if !given_up {
                assert!(at > 6);
                break;
            }
            // What is still on its way arrives after a collection, and after the removal has begun.
            archive.collect().await.unwrap();
            let name = if remove { "snap-2" } else { "another" };
            let (removed, ()) = tokio::join!(archive.delete(name), async { store.release() });
            removed.unwrap();
            if remove {
                archive.collect().await.unwrap();
                assert_eq!(names(&inner).await, expected(&[("snap-1", first())]), "at {at}");
            } else if archive.has("snap-2").await.unwrap() {
                let into = tempfile::tempdir_in(dir.path()).unwrap();
                let files = archive.restore("snap-2", into.path(), &[], &Progress::default()).await.unwrap();
                assert_eq!(read(&files), second(), "at {at}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_manifest_any_more_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(&dir.path().join("1"), &first());
    let inner = Arc::new(InMemory::new());
    inner.put(&ObjectPath::from("manifests/snap-1"), b"rubbish".to_vec().into()).await.unwrap();
    over(inner.clone()).upload("snap-1", &one, &Progress::default()).await.unwrap();
    let into = tempfile::tempdir_in(dir.path()).unwrap();
    let files = over(inner).restore("snap-1", into.path(), &[], &Progress::default()).await.unwrap();
    assert_eq!(read(&files), first());
}

#[tokio::test]
async fn however_many_uploads_there_are_four_segments_are_sent_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Faulty::new(Arc::new(InMemory::new()), usize::MAX, Fault::Hangs);
    let archive = over(store.clone());
    archive.has("any").await.unwrap();
    let uploads = (0..6_u8).map(|snapshot| {
        let content = (1..9_u32).map(|number| (number, vec![snapshot, number as u8])).collect();
        let files = write(&dir.path().join(snapshot.to_string()), &content);
        let archive = &archive;
        async move { archive.upload(&format!("snap-{snapshot}"), &files, &Progress::default()).await }
    });
    futures_util::future::try_join_all(uploads).await.unwrap();
    // And of each snapshot its manifest, when it has no segment left to send.
    assert!((1..=4 + 6).contains(&store.most_written()), "{}", store.most_written());
    assert_eq!(archive.snapshots().await.unwrap().len(), 6);
}

#[tokio::test]
async fn a_manifest_that_a_dead_server_sent_and_that_arrives_after_the_removal_goes_with_the_next_collection()
{
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (write(&dir.path().join("1"), &first()), write(&dir.path().join("2"), &second()));
    let inner = Arc::new(InMemory::new());
    over(inner.clone()).upload("snap-2", &two, &Progress::default()).await.unwrap();
    // From here on the hashes are noted, so that each upload takes the same steps.
    over(Arc::new(InMemory::new())).upload("snap-1", &one, &Progress::default()).await.unwrap();
    let uploaded = Faulty::new(inner.clone(), usize::MAX, Fault::Hangs);
    over(uploaded.clone()).upload("snap-1", &one, &Progress::default()).await.unwrap();
    over(inner.clone()).delete("snap-1").await.unwrap();
    over(inner.clone()).collect().await.unwrap();
    // The same again, with a manifest that is under way when its server dies.
    let hanging = Faulty::new(inner.clone(), uploaded.operations() - 1, Fault::Hangs);
    let (dying, progress) = (over(hanging.clone()), Progress::default());
    tokio::select! {
        done = dying.upload("snap-1", &one, &progress) => panic!("{done:?}"),
        () = hanging.hangs() => {}
    }
    let next = over(inner.clone());
    next.delete("snap-1").await.unwrap();
    hanging.release();
    while !next.has("snap-1").await.unwrap() {
        tokio::task::yield_now().await;
    }
    next.collect().await.unwrap();
    assert_eq!(names(&inner).await, expected(&[("snap-2", second())]));
    // One of that name which is wanted after all stays.
    next.upload("snap-1", &one, &Progress::default()).await.unwrap();
    next.collect().await.unwrap();
    assert_eq!(names(&inner).await, expected(&[("snap-1", first()), ("snap-2", second())]));
}

#[tokio::test]
async fn no_more_segments_are_fetched_at_the_same_time_than_are_held_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Arc::new(InMemory::new());
    let names: Vec<String> = (0..6).map(|number| format!("snap-{number}")).collect();
    for (number, name) in (0_u8..).zip(&names) {
        let content = (1..9_u32).map(|segment| (segment, vec![number, segment as u8])).collect();
        let files = write(&dir.path().join(name), &content);
        over(inner.clone()).upload(name, &files, &Progress::default()).await.unwrap();
    }
    let store = Faulty::new(inner, usize::MAX, Fault::Hangs);
    let archive = over(store.clone());
    archive.has("any").await.unwrap();
    let restores = names.iter().map(|name| {
        let (archive, into) = (&archive, dir.path().join(format!("{name}-back")));
        async move { archive.restore(name, &into, &[], &Progress::default()).await }
    });
    let restored = futures_util::future::try_join_all(restores).await.unwrap();
    assert_eq!(restored.len(), 6);
    assert!((2..=4).contains(&store.most_read()), "{}", store.most_read());
}

#[tokio::test]
async fn a_restore_leaves_the_reserve_of_the_host_alone_and_needs_no_room_for_what_is_here() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Arc::new(InMemory::new());
    let files = write(&dir.path().join("files"), &first());
    over(inner.clone()).upload("snap-1", &files, &Progress::default()).await.unwrap();
    let store = Faulty::new(inner.clone(), usize::MAX, Fault::Hangs);
    let full = over(store.clone()).leaving(u64::MAX);
    let into = dir.path().join("into");
    let restored = full.restore("snap-1", &into, &[], &Progress::default()).await;
    assert!(matches!(restored, Err(ArchiveError::Full { needed: 9196, room: 0 })), "{restored:?}");
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 0, "nothing is begun");
    assert_eq!(store.most_read(), 0);
    // What another volume has is linked.
    let nearby = [dir.path().join("files")];
    let linked = full.restore("snap-1", &into, &nearby, &Progress::default()).await.unwrap();
    assert_eq!(read(&linked), first());
    // And with room the rest is fetched.
    let into = dir.path().join("again");
    let fetched = over(inner).restore("snap-1", &into, &[], &Progress::default()).await.unwrap();
    assert_eq!(read(&fetched), first());
}

#[tokio::test]
async fn a_store_of_another_server_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let one = write(&dir.path().join("1"), &first());
    let inner = Arc::new(InMemory::new());
    over(inner.clone()).upload("snap-1", &one, &Progress::default()).await.unwrap();
    let before = names(&inner).await;
    let other = archive::Archive::over(inner.clone(), Arc::new(world::TestSeal(2)));
    for refused in [
        other.upload("snap-2", &one, &Progress::default()).await,
        other.delete("snap-1").await,
        other.collect().await.map(drop),
        other.has("snap-1").await.map(drop),
    ] {
        assert!(matches!(refused, Err(ArchiveError::OfAnother)), "{refused:?}");
    }
    assert_eq!(names(&inner).await, before);
}

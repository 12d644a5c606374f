//! A store that fails or dies at any operation, snapshots to put into it, and a seal.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use archive::{Archive, Digest, Files, Seal};
use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path as ObjectPath,
};
use tokio::sync::Notify;

/// Seals by a digest over the place: good enough to tell a change, and nothing more.
pub struct TestSeal(pub u8);

impl Seal for TestSeal {
    fn seal(&self, place: &str, plaintext: &[u8]) -> Vec<u8> {
        [&self.tag(place, plaintext).0[..], plaintext].concat()
    }

    fn open(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (tag, plaintext) = sealed.split_at_checked(32)?;
        (tag == self.tag(place, plaintext).0).then(|| plaintext.to_vec())
    }
}

impl TestSeal {
    fn tag(&self, place: &str, plaintext: &[u8]) -> Digest {
        Digest::of(&[&[self.0], place.as_bytes(), &[0], plaintext].concat())
    }
}

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing is done, and nothing ever after: the process has died.
    DiesBefore,
    /// It is done, but nobody hears of it.
    DiesAfter,
    /// Nothing is done, and it goes on.
    FailsBefore,
    /// It is done and reported as failed.
    FailsAfter,
    /// It is done once [`Faulty::release`] is called.
    Hangs,
    /// Segments, whenever they are read, give no byte and no end: a file does so that is cut short meanwhile.
    DriesUp,
}

pub const FAULTS: [Fault; 4] = [Fault::DiesBefore, Fault::DiesAfter, Fault::FailsBefore, Fault::FailsAfter];

/// A store in which operation number `at` goes wrong, counted from 0.
#[derive(Debug)]
pub struct Faulty {
    pub inner: Arc<InMemory>,
    done: AtomicUsize,
    at: usize,
    fault: Fault,
    hangs: Arc<Notify>,
    released: Arc<Notify>,
    /// Objects that are being written, and the most there were.
    writing: AtomicUsize,
    most: AtomicUsize,
    /// And segments that are being read.
    reading: Arc<AtomicUsize>,
    most_read: AtomicUsize,
}

impl Faulty {
    pub fn new(inner: Arc<InMemory>, at: usize, fault: Fault) -> Arc<Self> {
        let (hangs, released) = <(Arc<Notify>, Arc<Notify>)>::default();
        let (done, writing, most) = <(AtomicUsize, AtomicUsize, AtomicUsize)>::default();
        let (reading, most_read) = Default::default();
        Arc::new(Self { inner, done, at, fault, hangs, released, writing, most, reading, most_read })
    }

    pub fn operations(&self) -> usize {
        self.done.load(SeqCst)
    }

    /// Returns when an operation hangs.
    pub async fn hangs(&self) {
        self.hangs.notified().await;
    }

    /// Lets an operation that hangs go on.
    pub fn release(&self) {
        self.released.notify_one();
    }

    /// The most objects that were written at the same time.
    pub fn most_written(&self) -> usize {
        self.most.load(SeqCst)
    }

    /// The most segments that were read at the same time.
    pub fn most_read(&self) -> usize {
        self.most_read.load(SeqCst)
    }

    /// Whether the next operation is done, and whether it is heard of.
    fn next(&self) -> (bool, bool) {
        let number = self.done.fetch_add(1, SeqCst);
        match (number.cmp(&self.at), self.fault) {
            (std::cmp::Ordering::Less, _) => (true, true),
            (std::cmp::Ordering::Equal, Fault::DiesBefore | Fault::FailsBefore) => (false, false),
            (std::cmp::Ordering::Equal, Fault::DiesAfter | Fault::FailsAfter) => (true, false),
            (std::cmp::Ordering::Greater, Fault::DiesBefore | Fault::DiesAfter) => (false, false),
            (std::cmp::Ordering::Equal, Fault::Hangs | Fault::DriesUp) | (std::cmp::Ordering::Greater, _) => {
                (true, true)
            }
        }
    }

    async fn through<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let hangs = self.fault == Fault::Hangs && self.operations() == self.at;
        let (done, heard) = self.next();
        if !done {
            return Err(broken());
        }
        if hangs {
            self.hangs.notify_one();
            self.released.notified().await;
        }
        let result = operation.await;
        if heard { result } else { Err(broken()) }
    }
}

/// Counts a segment as being read for as long as it lives.
struct Reading(Arc<AtomicUsize>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Faulty {
    /// Lets others come in between before a payload is read.
    fn slowly(&self, payload: GetResultPayload) -> GetResultPayload {
        let GetResultPayload::Stream(bytes) = payload else { return payload };
        let reading = Reading(Arc::clone(&self.reading));
        self.most_read.fetch_max(self.reading.fetch_add(1, SeqCst) + 1, SeqCst);
        let waited = futures_util::stream::once(async {
            for _ in 0..16 {
                tokio::task::yield_now().await;
            }
            Ok(Default::default())
        });
        let counted = waited.chain(bytes).map(move |chunk| {
            let _ = &reading;
            chunk
        });
        GetResultPayload::Stream(counted.boxed())
    }
}

fn broken() -> Error {
    Error::Generic { store: "test", source: "broken".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.most.fetch_max(self.writing.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::task::yield_now().await;
        let put = self.through(self.inner.put_opts(at, payload, options)).await;
        self.writing.fetch_sub(1, SeqCst);
        put
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.through(self.inner.put_multipart_opts(at, options)).await
    }

    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let dries_up = self.fault == Fault::DriesUp && at.as_ref().starts_with("segments/");
        let mut found = self.through(self.inner.get_opts(at, options)).await?;
        if at.as_ref().starts_with("segments/") && !dries_up {
            found.payload = self.slowly(found.payload);
        }
        if dries_up {
            let nothing = futures_util::stream::repeat_with(|| Ok(Default::default()));
            found.payload = GetResultPayload::Stream(nothing.boxed());
        }
        Ok(found)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        let hangs = self.fault == Fault::Hangs && self.operations() == self.at;
        let (done, heard) = self.next();
        if !done {
            return futures_util::stream::iter([Err(broken())]).boxed();
        }
        let deleted = self.inner.delete_stream(locations);
        let deleted = if heard { deleted } else { deleted.map(|_| Err(broken())).boxed() };
        let (hanging, released) = (Arc::clone(&self.hangs), Arc::clone(&self.released));
        let reached = async move {
            if hangs {
                hanging.notify_one();
                released.notified().await;
            }
        };
        reached.map(|()| deleted).flatten_stream().boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.next() {
            (true, true) => self.inner.list(prefix),
            // Some of the list, then an error.
            _ => self.inner.list(prefix).take(1).chain(futures_util::stream::iter([Err(broken())])).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.through(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.through(self.inner.copy_opts(from, to, options)).await
    }
}

/// A snapshot as a table: segment number to content.
pub type Content = BTreeMap<u32, Vec<u8>>;

/// Writes a snapshot's segments as files below `dir`.
pub fn write(dir: &Path, content: &Content) -> Files {
    fs::create_dir_all(dir).unwrap();
    let file = |(number, bytes): (&u32, &Vec<u8>)| {
        let path = dir.join(format!("{number:010}"));
        fs::write(&path, bytes).unwrap();
        (*number, path)
    };
    Files {
        header: header_of(content),
        checkpoint: vec![7; 8192],
        segments: content.iter().map(file).collect(),
    }
}

pub fn header_of(content: &Content) -> Vec<u8> {
    format!("a header of {} segments", content.len()).into_bytes()
}

/// Reads back what [`write`] wrote.
pub fn read(files: &Files) -> Content {
    assert_eq!(files.checkpoint, vec![7; 8192]);
    let content: Content = files.segments.iter().map(|(n, path)| (*n, fs::read(path).unwrap())).collect();
    assert_eq!(files.header, header_of(&content));
    content
}

pub fn over(store: Arc<dyn ObjectStore>) -> Archive {
    Archive::over(store, Arc::new(TestSeal(1)))
}

/// Names of everything there is in a store, but for what is noted of removed snapshots.
pub async fn names(store: &InMemory) -> Vec<String> {
    let mut names: Vec<_> =
        store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    names.retain(|name| !name.starts_with("removed/"));
    names.sort();
    names
}

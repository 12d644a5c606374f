//! SHA-256 of segments, and the note of it that a segment's file carries.
//!
//! Hashing terabytes again for every snapshot would be most of the work of an upload that has little to upload. So the
//! digest is noted in an extended attribute of the file, together with its size and time of modification; a segment is
//! never changed as long as a snapshot links it, and one that is used again for another number is written, which
//! changes the time. A note is only ever believed to find out that the store has a segment already: what is sent is
//! hashed anew. Where there are no extended attributes, segments are hashed each time.

use std::{
    fmt,
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};

const NOTE: &str = "user.strongroom.sha256";
/// Size (8), seconds (8) and nanoseconds (8) of the last change, digest; little endian.
const NOTE_LEN: usize = 24 + SHA256_OUTPUT_LEN;
/// A file that changed so short a time ago might change again without a new time of modification.
const SETTLED: Duration = Duration::from_secs(2);
const CHUNK: usize = 1 << 20;

/// SHA-256 of a segment's file. Shown, and named in the store, as 64 hexadecimal digits.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(pub [u8; SHA256_OUTPUT_LEN]);

impl Digest {
    /// Of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Of what is left to read.
    ///
    /// # Errors
    /// Of the reader.
    pub(crate) fn of_reader(from: &mut impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(read) => hasher.update(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a SHA-256")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotADigest)?;
        let digest = Self(bytes);
        if digest.to_string() == text { Ok(digest) } else { Err(NotADigest) }
    }
}

/// A digest in the making.
pub(crate) struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Digest {
        Digest(self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// The digest that was noted for a file, if the file is still the one it was.
pub(crate) fn noted(file: &File) -> Option<Digest> {
    let mut note = [0; NOTE_LEN];
    let read = fgetxattr(file, NOTE, &mut note[..]).ok()?;
    let (stamp, digest) = note.split_at(24);
    let current = read == NOTE_LEN && stamp == stamp_of(&file.metadata().ok()?);
    current.then(|| Digest(digest.try_into().expect("32 of the bytes of a note")))
}

/// Notes the digest of a file. `before` is what the file was like before it was read.
pub(crate) fn note(file: &File, before: &Metadata, digest: Digest) {
    let Ok(now) = file.metadata() else { return };
    let settled =
        now.modified().is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|d| d > SETTLED));
    if settled && stamp_of(before) == stamp_of(&now) {
        let note = [&stamp_of(&now)[..], &digest.0].concat();
        // Without it, the file is hashed again next time.
        let _ = fsetxattr(file, NOTE, &note, XattrFlags::empty());
    }
}

fn stamp_of(metadata: &Metadata) -> [u8; 24] {
    let mut stamp = [0; 24];
    stamp[..8].copy_from_slice(&metadata.size().to_le_bytes());
    stamp[8..16].copy_from_slice(&metadata.mtime().to_le_bytes());
    stamp[16..].copy_from_slice(&metadata.mtime_nsec().to_le_bytes());
    stamp
}

#[cfg(test)]
mod tests {
    use std::{fs, time::SystemTime};

    use super::*;

    #[test]
    fn a_digest_reads_back_from_its_text_and_from_no_other() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(Digest::of_reader(&mut &b"abc"[..]).unwrap(), digest);
        for bad in ["", "ba", &text.to_uppercase(), &text.replace('b', "g"), &format!("{text}00")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_note_is_believed_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000001");
        fs::write(&path, b"one").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let digest = Digest::of(b"one");
        note(&file, &file.metadata().unwrap(), digest);
        assert_eq!(noted(&file), None, "it has just been written");

        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        note(&file, &file.metadata().unwrap(), digest);
        if fgetxattr(&file, NOTE, &mut [0; NOTE_LEN][..]).is_err() {
            return; // no extended attributes here
        }
        assert_eq!(noted(&file), Some(digest));
        let link = dir.path().join("link");
        fs::hard_link(&path, &link).unwrap();
        assert_eq!(noted(&File::open(&link).unwrap()), Some(digest), "a link is the same file");
        fs::write(&path, b"two").unwrap();
        assert_eq!(noted(&file), None);
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_not_noted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000001");
        fs::write(&path, b"one").unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let before = file.metadata().unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        note(&file, &before, Digest::of(b"one"));
        assert_eq!(noted(&file), None);
    }
}

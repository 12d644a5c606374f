//! Segments of the write-ahead log that are there before they are needed. PostgreSQL stops when it finds no room for the
//! next one, whereas a table that finds no room is an error for one statement; so on a full volume the log must not be
//! the first to ask.
//!
//! A segment that lies ahead of the log is taken as one that PostgreSQL itself has prepared (`XLogFileInit`); it holds
//! zeros. Which ones the log has begun their first page tells (`XLogLongPageHeaderData`: a magic number, flags and a
//! timeline in 8 bytes, then the page's own address, little-endian here).
//!
//! The calls may wait for the volume: make them apart.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
};

use nix::fcntl::{AT_FDCWD, FallocateFlags, RenameFlags, fallocate, renameat2};

/// PostgreSQL removes what has such a name when it starts.
const TEMPORARY: &str = "xlogtemp.strongroom";

/// Name of a segment: timeline, and the number of the segment, split at 4 GiB of log.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Segment {
    timeline: u32,
    number: u64,
}

impl Segment {
    fn parse(name: &str, size: u64) -> Option<Self> {
        let digits =
            name.len() == 24 && name.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
        let part = |at: usize| u32::from_str_radix(name.get(at..at + 8)?, 16).ok();
        let (timeline, high, low) = (part(0)?, part(8)?, part(16)?);
        let number = u64::from(high) * ((1 << 32) / size) + u64::from(low);
        digits.then_some(Self { timeline, number })
    }

    fn name(self, size: u64) -> String {
        let in_4_gib = (1 << 32) / size;
        format!("{:08X}{:08X}{:08X}", self.timeline, self.number / in_4_gib, self.number % in_4_gib)
    }
}

/// Sees to it that `count` segments lie ahead of the log in the directory `pg_wal`. Returns how many were made.
///
/// # Errors
/// What the system says; those that were made before stay.
pub fn provide(dir: &Path, count: u64) -> io::Result<u64> {
    let Some((newest, size)) = newest(dir)? else { return Ok(0) };
    let missing = count.saturating_sub(newest.number - begun(dir, newest, size)?);
    for next in 1..=missing {
        make(dir, &Segment { number: newest.number + next, ..newest }.name(size), size)?;
    }
    if missing > 0 {
        File::open(dir)?.sync_all()?;
    }
    Ok(missing)
}

/// Bytes that [`provide`] would take.
///
/// # Errors
/// What the system says.
pub fn lacking(dir: &Path, count: u64) -> io::Result<u64> {
    let Some((newest, size)) = newest(dir)? else { return Ok(0) };
    Ok(count.saturating_sub(newest.number - begun(dir, newest, size)?) * size)
}

/// The last segment that there is, and the size of all.
fn newest(dir: &Path) -> io::Result<Option<(Segment, u64)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string());
    }
    let is_segment = |name: &&String| Segment::parse(name, 1 << 24).is_some();
    let Some(any) = names.iter().find(is_segment) else { return Ok(None) };
    let size = fs::metadata(dir.join(any))?.len();
    if !size.is_power_of_two() || !(1 << 20..=1 << 30).contains(&size) {
        return Ok(None);
    }
    Ok(names.iter().filter_map(|name| Segment::parse(name, size)).max().map(|newest| (newest, size)))
}

/// Number of the last segment up to `newest` that the log has begun.
fn begun(dir: &Path, newest: Segment, size: u64) -> io::Result<u64> {
    let mut at = newest;
    loop {
        let mut head = [0; 16];
        match File::open(dir.join(at.name(size))).and_then(|mut file| file.read_exact(&mut head)) {
            Ok(()) => {}
            // Segments lie side by side: before this one there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(at.number),
            Err(error) => return Err(error),
        }
        let [.., a, b, c, d, e, f, g, h] = head;
        if u64::from_le_bytes([a, b, c, d, e, f, g, h]) == at.number * size && head[..8] != [0; 8] {
            return Ok(at.number);
        }
        match at.number.checked_sub(1) {
            Some(before) => at.number = before,
            None => return Ok(0),
        }
    }
}

/// Makes one, whole or not at all; never in the place of one that is there.
fn make(dir: &Path, name: &str, size: u64) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY);
    let owner = fs::metadata(dir)?;
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    let made = || {
        file.set_permissions(Permissions::from_mode(0o600))?;
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(size).map_err(io::Error::other)?)?;
        file.sync_all()?;
        match renameat2(AT_FDCWD, &temporary, AT_FDCWD, &dir.join(name), RenameFlags::RENAME_NOREPLACE) {
            // The database was faster.
            Err(nix::errno::Errno::EEXIST) => fs::remove_file(&temporary),
            renamed => Ok(renamed?),
        }
    };
    made().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 20;

    fn segment(dir: &Path, name: &str, begins_at: u64) {
        let mut content = vec![0; 1 << 20];
        if begins_at > 0 {
            content[..2].copy_from_slice(&[0x10, 0xd1]);
            content[8..16].copy_from_slice(&begins_at.to_le_bytes());
        }
        fs::write(dir.join(name), content).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn segments_have_the_names_that_postgresql_gives_them() {
        let segment = Segment::parse("0000000100000002000000FF", 1 << 24).unwrap();
        assert_eq!(segment, Segment { timeline: 1, number: 2 * 256 + 255 });
        assert_eq!(
            Segment { number: segment.number + 1, ..segment }.name(1 << 24),
            "000000010000000300000000"
        );
        for other in ["00000001.history", "0000000100000002000000FF.partial", "0000000100000002000000fg", ""]
        {
            assert!(Segment::parse(other, 1 << 24).is_none(), "{other}");
        }
    }

    #[test]
    fn as_many_lie_ahead_of_the_log_as_are_wished_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::create_dir(dir.join("archive_status")).unwrap();
        assert_eq!(provide(dir, 3).unwrap(), 0, "there is no log");
        segment(dir, "000000010000000000000FFE", 4094 * SIZE);
        // One that is used again still has the address that it had.
        segment(dir, "000000010000000000000FFF", 7 * SIZE);
        assert_eq!(lacking(dir, 3).unwrap(), 2 * SIZE);
        assert_eq!(provide(dir, 3).unwrap(), 2);
        assert_eq!(
            names(dir),
            [
                "000000010000000000000FFE",
                "000000010000000000000FFF",
                "000000010000000100000000",
                "000000010000000100000001",
                "archive_status"
            ]
        );
        assert_eq!(fs::read(dir.join("000000010000000100000001")).unwrap(), vec![0; 1 << 20]);
        assert_eq!(provide(dir, 3).unwrap(), 0);
        segment(dir, "000000010000000100000000", 4096 * SIZE);
        assert_eq!(provide(dir, 3).unwrap(), 2);
    }
}

//! The requests of the kernel as bytes, and the answers (`include/uapi/linux/fuse.h`, version 7.42). Numbers have the
//! machine's byte order.
//!
//! A request comes in three parts, of which an answer reuses the first and the last: a header, the arguments of the
//! operation, and a payload.

use std::io;

use crate::device::SECTOR;
use crate::fuse::{DeviceFile, OPEN_FLAGS, errno};
use crate::fuser_transport::FOREVER;

/// `struct fuse_uring_req_header`: what the kernel and the server write beside the payload.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct RequestHeader {
    /// `struct fuse_in_header` of a request, `struct fuse_out_header` of an answer.
    pub(crate) in_out: [u8; 128],
    /// The operation's own arguments.
    pub(crate) operation: [u8; 128],
    pub(crate) entry: EntryInOut,
}

/// `struct fuse_uring_ent_in_out`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct EntryInOut {
    flags: u64,
    /// Names the request when it is answered.
    pub(crate) commit_id: u64,
    /// Bytes of the payload in use.
    pub(crate) payload_size: u32,
    padding: u32,
    reserved: u64,
}

// `enum fuse_opcode`
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const FALLOCATE: u32 = 43;

/// Does what the request in `header` and `payload` asks of `file`, and puts the answer in their place. `held` is called if
/// the request has to wait for space.
pub(crate) fn answer(file: &DeviceFile, header: &mut RequestHeader, payload: &mut [u8], held: impl FnOnce()) {
    let (opcode, unique) = (u32_at(&header.in_out, 4), u64_at(&header.in_out, 8));
    let given = header.entry.payload_size as usize;
    let done = perform(file, opcode, &header.operation, given, payload, held);
    let (error, length) = match done {
        Ok(length) => (0, length),
        Err(error) => (-error, 0),
    };
    // `struct fuse_out_header`; the length counts the header, as it does on `/dev/fuse`.
    let mut out = Fields(&mut header.in_out);
    out.put(&(16 + length as u32).to_ne_bytes());
    out.put(&error.to_ne_bytes());
    out.put(&unique.to_ne_bytes());
    header.entry.payload_size = length as u32;
}

/// Returns how many bytes of `payload` are the answer, or an error number.
fn perform(
    file: &DeviceFile,
    opcode: u32,
    operation: &[u8; 128],
    given: usize,
    payload: &mut [u8],
    held: impl FnOnce(),
) -> Result<usize, i32> {
    let device = |result: io::Result<()>| result.map_err(|error| errno(&error));
    match opcode {
        READ => {
            let (offset, size) = (u64_at(operation, 8), u32_at(operation, 16) as usize);
            let buffer = payload.get_mut(..size).ok_or(libc::EINVAL)?;
            device(file.read(offset, buffer)).map(|()| size)
        }
        WRITE => {
            let (offset, size) = (u64_at(operation, 8), u32_at(operation, 16));
            let bytes = payload.get(..size as usize).filter(|bytes| bytes.len() == given);
            device(file.write(offset, bytes.ok_or(libc::EINVAL)?, held))?;
            Ok(put(payload, &[&size.to_ne_bytes(), &[0; 4]]))
        }
        FSYNC => Err(file.fsync(held).raw_os_error().unwrap_or(libc::EIO)),
        FALLOCATE => {
            let (offset, length) = (u64_at(operation, 8), u64_at(operation, 16));
            device(file.fallocate(offset, length, u32_at(operation, 24) as i32, held)).map(|()| 0)
        }
        GETATTR => Ok(attributes(file.size(), payload)),
        OPEN => Ok(put(payload, &[&[0; 8], &OPEN_FLAGS.to_ne_bytes(), &[0; 4]])),
        STATFS => Ok(file_system(file.size(), payload)),
        RELEASE | FLUSH => Ok(0),
        _ => Err(libc::ENOSYS),
    }
}

/// `struct fuse_attr_out`.
fn attributes(size: u64, payload: &mut [u8]) -> usize {
    const ROOT: u64 = 1;
    let (mode, links) = ((libc::S_IFREG | 0o600).to_ne_bytes(), 1_u32.to_ne_bytes());
    put(
        payload,
        &[
            &FOREVER.as_secs().to_ne_bytes(),
            &[0; 8], // no nanoseconds
            &ROOT.to_ne_bytes(),
            &size.to_ne_bytes(),
            &(size / 512).to_ne_bytes(),
            &[0; 24 + 12], // times
            &mode,
            &links,
            &[0; 12], // owner, group, device
            &(SECTOR as u32).to_ne_bytes(),
            &[0; 4], // flags
        ],
    )
}

/// `struct fuse_statfs_out`. The loop device takes the block size as the granularity of its discards.
fn file_system(size: u64, payload: &mut [u8]) -> usize {
    let sector = SECTOR as u32;
    put(
        payload,
        &[
            &(size / u64::from(sector)).to_ne_bytes(),
            &[0; 16], // free, available
            &1_u64.to_ne_bytes(),
            &[0; 8], // free files
            &sector.to_ne_bytes(),
            &[0; 4], // length of names
            &sector.to_ne_bytes(),
            &[0; 4 + 24],
        ],
    )
}

/// Writes `fields` one after the other; returns how many bytes they have.
fn put(payload: &mut [u8], fields: &[&[u8]]) -> usize {
    let before = payload.len();
    let mut rest = Fields(payload);
    fields.iter().for_each(|field| rest.put(field));
    before - rest.0.len()
}

/// The part of a buffer that is not filled yet.
struct Fields<'a>(&'a mut [u8]);

impl Fields<'_> {
    fn put(&mut self, field: &[u8]) {
        let (here, rest) = std::mem::take(&mut self.0).split_at_mut(field.len());
        here.copy_from_slice(field);
        self.0 = rest;
    }
}

fn u32_at(bytes: &[u8; 128], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_ne_bytes(value)
}

fn u64_at(bytes: &[u8; 128], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_ne_bytes(value)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::BlockDevice;
    use crate::locked::Aborter;

    const SIZE: usize = 64 * SECTOR;

    /// Remembers bytes, and how often it was flushed; fails flushes from a number on.
    struct Plain(Mutex<(Vec<u8>, u32)>, u32);

    impl BlockDevice for Plain {
        fn size(&self) -> u64 {
            SIZE as u64
        }
        fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let start = offset as usize;
            buffer.copy_from_slice(&self.0.lock().expect("locked").0[start..start + buffer.len()]);
            Ok(())
        }
        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let start = offset as usize;
            self.0.lock().expect("locked").0[start..start + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
        fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
            let start = offset as usize;
            self.0.lock().expect("locked").0[start..start + length as usize].fill(0);
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            let mut plain = self.0.lock().expect("locked");
            plain.1 += 1;
            if plain.1 >= self.1 { Err(io::Error::from_raw_os_error(libc::ENOSYS)) } else { Ok(()) }
        }
    }

    fn file() -> DeviceFile {
        failing_from(u32::MAX)
    }

    fn failing_from(flush: u32) -> DeviceFile {
        let plain = Plain(Mutex::new((vec![0; SIZE], 0)), flush);
        DeviceFile::new(Arc::new(plain), Aborter::new("/nowhere".into()))
    }

    /// Asks, and returns the error number (negative) and the payload of the answer.
    fn ask(file: &DeviceFile, opcode: u32, arguments: &[&[u8]], payload: &[u8]) -> (i32, Vec<u8>) {
        let mut header = RequestHeader {
            in_out: [0; 128],
            operation: [0; 128],
            entry: EntryInOut {
                flags: 0,
                commit_id: 9,
                payload_size: payload.len() as u32,
                padding: 0,
                reserved: 0,
            },
        };
        put(&mut header.in_out, &[&[0; 4], &opcode.to_ne_bytes(), &77_u64.to_ne_bytes()]);
        put(&mut header.operation, arguments);
        let mut buffer = vec![0; SIZE];
        buffer[..payload.len()].copy_from_slice(payload);
        answer(file, &mut header, &mut buffer, || ());
        assert_eq!(u64_at(&header.in_out, 8), 77, "the answer is to the request");
        let length = header.entry.payload_size;
        assert_eq!(u32_at(&header.in_out, 0), 16 + length);
        (u32_at(&header.in_out, 4) as i32, buffer[..length as usize].to_vec())
    }

    fn transfer(offset: u64, size: u32) -> [Vec<u8>; 3] {
        [vec![0; 8], offset.to_ne_bytes().into(), size.to_ne_bytes().into()]
    }

    fn slices(parts: &[Vec<u8>]) -> Vec<&[u8]> {
        parts.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn structures_have_the_sizes_of_the_kernels_header() {
        assert_eq!(size_of::<RequestHeader>(), 288);
        assert_eq!(size_of::<EntryInOut>(), 32);
        assert_eq!(ask(&file(), GETATTR, &[], &[]).1.len(), 104);
        assert_eq!(ask(&file(), OPEN, &[], &[]).1.len(), 16);
        assert_eq!(ask(&file(), STATFS, &[], &[]).1.len(), 80);
    }

    #[test]
    fn what_is_written_is_read_back_and_a_hole_reads_as_zeros() {
        let file = file();
        let arguments = transfer(SECTOR as u64, SECTOR as u32);
        let written = ask(&file, WRITE, &slices(&arguments), &[7; SECTOR]);
        assert_eq!(written, (0, [(SECTOR as u32).to_ne_bytes(), [0; 4]].concat()));
        assert_eq!(ask(&file, READ, &slices(&arguments), &[]), (0, vec![7; SECTOR]));
        let hole = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).to_ne_bytes();
        let sector = (SECTOR as u64).to_ne_bytes();
        assert_eq!(ask(&file, FALLOCATE, &[&[0; 8], &sector, &sector, &hole], &[]), (0, Vec::new()));
        assert_eq!(ask(&file, READ, &slices(&arguments), &[]), (0, vec![0; SECTOR]));
    }

    #[test]
    fn the_size_of_the_device_is_the_size_of_the_file() {
        let (error, attributes) = ask(&file(), GETATTR, &[], &[]);
        assert_eq!(error, 0);
        assert_eq!(attributes[24..32], (SIZE as u64).to_ne_bytes());
        assert_eq!(attributes[76..80], (libc::S_IFREG | 0o600).to_ne_bytes());
    }

    #[test]
    fn a_request_that_does_not_fit_is_an_error_and_never_a_panic() {
        let file = file();
        for (offset, size, given) in [
            (0, u32::MAX, 0),                         // larger than any buffer
            (0, SECTOR as u32, 8),                    // not all of it was sent
            (1, SECTOR as u32, SECTOR),               // between sectors
            (SIZE as u64, SECTOR as u32, SECTOR),     // behind the end
            (u64::MAX - 4095, SECTOR as u32, SECTOR), // around the end of numbers
        ] {
            let arguments = transfer(offset, size);
            assert_eq!(ask(&file, WRITE, &slices(&arguments), &vec![0; given]).0, -libc::EINVAL);
        }
        assert_eq!(ask(&file, READ, &slices(&transfer(0, u32::MAX)), &[]).0, -libc::EINVAL);
        assert_eq!(ask(&file, FALLOCATE, &[], &[]).0, -libc::EOPNOTSUPP);
    }

    #[test]
    fn a_write_and_zeros_are_durable_when_they_are_answered() {
        let sector = (SECTOR as u64).to_ne_bytes();
        let write =
            |file: &DeviceFile| ask(file, WRITE, &slices(&transfer(0, SECTOR as u32)), &[7; SECTOR]).0;
        let forget = |file: &DeviceFile, mode: i32| {
            let mode = (mode | libc::FALLOC_FL_KEEP_SIZE).to_ne_bytes();
            ask(file, FALLOCATE, &[&[0; 8], &sector, &sector, &mode], &[]).0
        };
        let file = failing_from(3);
        assert_eq!(write(&file), 0);
        assert_eq!(forget(&file, libc::FALLOC_FL_ZERO_RANGE), 0);
        assert_eq!(write(&file), -libc::EIO, "the third flush fails");
        assert_eq!(forget(&file, libc::FALLOC_FL_ZERO_RANGE), -libc::EIO);
        assert_eq!(forget(&file, libc::FALLOC_FL_PUNCH_HOLE), 0, "nobody relies on that");
    }

    #[test]
    fn only_what_is_unknown_or_done_already_is_said_not_to_exist() {
        // The kernel never asks again after ENOSYS, and takes it for a success.
        assert_eq!(ask(&file(), FSYNC, &[], &[]).0, -libc::ENOSYS);
        assert_eq!(ask(&failing_from(1), FSYNC, &[], &[]).0, -libc::EIO);
        for unknown in [0, 1, 22, 40, 99, u32::MAX] {
            assert_eq!(ask(&file(), unknown, &[], &[]).0, -libc::ENOSYS);
        }
    }
}

//! Segments of the audit trail: heads and frames of whatever bytes. The parser is private to its crate, and taken from
//! its source, as the crate itself brings a database along.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unreachable_pub)]
#[path = "../../crates/shell/audit/src/frame.rs"]
mod frame;

fuzz_target!(|data: &[u8]| {
    let mut at = 0;
    let mut link = frame::Link::default();
    while let Some(read) = frame::read_frame(&data[at..], &link) {
        assert!(read.length() <= data.len() - at);
        (at, link) = (at + read.length(), read.link);
    }
    for start in 0..data.len().min(256) {
        let _ = frame::read_loose_frame(&data[start..]);
    }
    // What is written is read, and any one flipped bit is noticed.
    let mut bytes = Vec::new();
    let payload = &data[..data.len().min(200)];
    let written = frame::write_frame(&mut bytes, link.hash, link.group + 1, frame::Kind::Record, payload);
    assert_eq!(
        frame::read_frame(&bytes, &link).map(|read| (read.link, read.payload)),
        Some((written, payload))
    );
    let flipped = payload.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte))
        % (bytes.len() * 8);
    bytes[flipped / 8] ^= 1 << (flipped % 8);
    assert_eq!(frame::read_frame(&bytes, &link), None);
});

//! What lies sealed on the disk of a volume, as it is parsed once it is open. First byte: which structure.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let [kind, bytes @ ..] = data {
        volume::parsers::parse(*kind, bytes);
    }
});

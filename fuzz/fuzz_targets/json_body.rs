//! Bodies of AWS JSON calls, against the model of every operation. Input: a byte that picks the operation, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{ServiceId, json, validate};

fuzz_target!(|data: &[u8]| {
    let Some((pick, body)) = data.split_first() else { return };
    let service = if pick & 0x80 == 0 { ServiceId::Kms } else { ServiceId::CloudTrail };
    let operations = &service.model().operations;
    let Some(name) = operations.keys().nth(usize::from(pick & 0x7f) % operations.len()) else { return };
    let Ok(input) = json::decode(service, name, body) else { return };
    assert!(input.is_object());
    let _ = validate(service, name, &input);
    // What was decoded is in the model's own words: decoding it again changes nothing.
    let again = json::decode(service, name, input.to_string().as_bytes());
    assert_eq!(again.ok(), Some(input));
});

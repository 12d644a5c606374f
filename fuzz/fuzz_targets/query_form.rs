//! Forms of Query calls, against the model of every operation. Input: a byte that picks the operation, the form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    ServiceId,
    query::{self, Form},
    validate,
};

fuzz_target!(|data: &[u8]| {
    let Some((pick, body)) = data.split_first() else { return };
    let service = [ServiceId::Rds, ServiceId::Iam, ServiceId::Sts][usize::from(pick % 3)];
    let operations = &service.model().operations;
    let Some(name) = operations.keys().nth(usize::from(pick / 3) % operations.len()) else { return };
    let Ok(form) = Form::parse(body) else { return };
    let Ok(input) = query::decode(service, name, &form) else { return };
    assert!(input.is_object());
    let _ = validate(service, name, &input);
});

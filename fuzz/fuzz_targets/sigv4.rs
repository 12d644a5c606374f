//! SigV4 in headers and in the query: parsing, scope, time and proof of whatever comes. Input: lines; the first is
//! method, path and query, the others are headers, up to an empty line; the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::{
    Audience, ServiceId,
    sigv4::{Request, Signature, SigningKey, check_time},
};

fuzz_target!(|data: &[u8]| {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let query = first.next().unwrap_or_default();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let request = Request { method, path, query, headers: &headers, body };
    for audience in [Audience::Json, Audience::Query] {
        let Ok(signature) = Signature::parse(&request, audience) else { continue };
        for service in ServiceId::ALL {
            let _ = signature.check_scope(service);
        }
        let _ = check_time(&signature, signature.signed_at, audience);
        let key =
            SigningKey::derive("a secret that no input knows", &signature.date, &signature.region, "kms");
        assert!(signature.verify(&request, &key, audience).is_err(), "a signature was forged");
    }
});

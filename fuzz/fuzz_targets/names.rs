//! ARNs, key names, identifiers, regions, accounts, instants: what parses is written back as it was.
#![no_main]

use std::{fmt::Display, str::FromStr};

use ids::{AccountId, Arn, Region, Timestamp};
use libfuzzer_sys::fuzz_target;

fn same<T: FromStr + Display>(text: &str) {
    if let Ok(parsed) = text.parse::<T>() {
        assert_eq!(parsed.to_string(), text);
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    same::<Arn>(text);
    same::<AccountId>(text);
    same::<Region>(text);
    same::<kms::KeyId>(text);
    let (account, region) =
        ("111122223333".parse().expect("an account"), "us-west-2".parse().expect("a region"));
    let _ = kms::read_name(text, &account, &region);
    let _ = kms::check_alias(text);
    if let Ok(identifier) = clusters::Identifier::parse(text, clusters::Identifier::LONGEST) {
        assert_eq!(identifier.as_str(), text.to_ascii_lowercase());
    }
    if let Ok(instant) = Timestamp::parse(text) {
        assert_eq!(Timestamp::parse(&instant.iso8601()).ok(), Some(instant));
    }
});

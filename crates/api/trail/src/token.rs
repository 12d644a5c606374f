//! `NextToken`: where a page ended, and of which lookup it was a page.

use audit::Cursor;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ids::{AccountId, Region, Timestamp};
use serde::{Deserialize, Serialize};

/// What must be the same in every call for a page of one lookup.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lookup {
    pub account: AccountId,
    pub region: Region,
    pub attribute: Option<(String, String)>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
}

#[derive(Deserialize, Serialize)]
struct Token {
    lookup: Lookup,
    /// Milliseconds, segment, place.
    cursor: (i64, u64, u64),
}

/// A token for the page behind `cursor`.
pub fn write(lookup: Lookup, cursor: Cursor) -> String {
    let cursor = (cursor.at.as_millis(), cursor.segment, cursor.place);
    let token = serde_json::to_vec(&Token { lookup, cursor }).expect("names and numbers are JSON");
    URL_SAFE_NO_PAD.encode(token)
}

/// The cursor in a token, if it belongs to this lookup.
pub fn read(token: &str, lookup: &Lookup) -> Option<Cursor> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let Token { lookup: of, cursor: (at, segment, place) } = serde_json::from_slice(&bytes).ok()?;
    (of == *lookup).then_some(Cursor { at: Timestamp::from_millis(at), segment, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(value: &str) -> Lookup {
        Lookup {
            account: "111122223333".parse().unwrap(),
            region: "us-west-2".parse().unwrap(),
            attribute: Some(("Username".into(), value.into())),
            start: Some(Timestamp::from_millis(1_767_225_600_123)),
            end: None,
        }
    }

    #[test]
    fn a_token_belongs_to_its_lookup() {
        let cursor = Cursor { at: Timestamp::from_millis(7), segment: 1, place: 2 };
        let token = write(lookup("dba"), cursor);
        assert_eq!(read(&token, &lookup("dba")), Some(cursor));
        assert_eq!(read(&token, &lookup("other")), None);
        for bad in ["", "x", "e30", &token[..token.len() - 4]] {
            assert_eq!(read(bad, &lookup("dba")), None, "{bad}");
        }
    }
}

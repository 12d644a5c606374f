//! Tags of keys (spec/kms.md §7).

use std::collections::BTreeMap;

/// Tags of one key.
pub const MOST_TAGS: usize = 50;

/// Why tags are refused: the texts of `TagException`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadTags {
    #[error("Duplicate tag keys")]
    Duplicate,
    #[error("Too many tags")]
    TooMany,
    #[error("Tags beginning with aws: are reserved")]
    Reserved,
}

/// Tags with new ones set.
///
/// # Errors
/// [`BadTags`]
pub fn with_tags(
    tags: &BTreeMap<String, String>,
    new: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, BadTags> {
    let mut set = BTreeMap::new();
    for (key, value) in new {
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(BadTags::Reserved);
        }
        if set.insert(key, value).is_some() {
            return Err(BadTags::Duplicate);
        }
    }
    let mut all = tags.clone();
    all.extend(set);
    if all.len() > MOST_TAGS { Err(BadTags::TooMany) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_unique_few_and_not_reserved() {
        let none = BTreeMap::new();
        let tag = |key: &str| (key.to_owned(), String::new());
        assert_eq!(with_tags(&none, [tag("a"), tag("a")]), Err(BadTags::Duplicate));
        assert_eq!(with_tags(&none, [tag("AWS:x")]), Err(BadTags::Reserved));
        let full = with_tags(&none, (0..50).map(|n| tag(&n.to_string()))).unwrap();
        assert!(with_tags(&full, [tag("0")]).is_ok(), "set again");
        assert_eq!(with_tags(&full, [tag("a")]), Err(BadTags::TooMany));
    }
}

//! Tags in requests and answers (spec/kms.md §7).

use std::collections::BTreeMap;

use front::Ask;
use serde::{Deserialize, Serialize};

/// A tag as the model has it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    pub tag_key: String,
    pub tag_value: String,
}

/// Keys and values.
pub fn pairs(tags: Vec<Tag>) -> impl Iterator<Item = (String, String)> {
    tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value))
}

/// Tags of a key as the model has them.
pub fn listed(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { tag_key: key.clone(), tag_value: value.clone() }).collect()
}

/// Adds the condition keys of tags that a request brings (spec/policy.md §6).
pub fn with_tags(mut ask: Ask, tags: &[Tag]) -> Ask {
    for tag in tags {
        ask = ask.with(format!("aws:RequestTag/{}", tag.tag_key), [tag.tag_value.clone()]);
    }
    ask.with("aws:TagKeys", tags.iter().map(|tag| tag.tag_key.clone()))
}

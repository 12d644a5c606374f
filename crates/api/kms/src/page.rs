//! Pages of lists: an opaque marker names the last item of the page before (spec/kms.md §13).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use wire::Fault;

use crate::fault;

const PREFIX: &str = "1:";

/// The members of a request that ask for a page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wanted {
    limit: Option<usize>,
    marker: Option<String>,
}

/// How many items a page of an operation may have.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub most: usize,
    pub default: usize,
}

impl Limits {
    /// Keys, policies, rotations.
    pub const LONG: Self = Self { most: 1000, default: 100 };
    /// Aliases, grants.
    pub const SHORT: Self = Self { most: 100, default: 50 };
    /// Tags.
    pub const TAGS: Self = Self { most: 50, default: 50 };
}

/// One page of a sorted list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_marker: Option<String>,
}

impl Wanted {
    /// Cuts a page out of items that are sorted by `key`.
    ///
    /// # Errors
    /// `ValidationException` for a limit that is too high, `InvalidMarkerException` for a marker that we did
    /// not make.
    pub fn page<T>(
        &self,
        limits: Limits,
        sorted: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Fault> {
        let limit = self.limit.unwrap_or(limits.default);
        if limit > limits.most {
            let rule = format!("Member must have value less than or equal to {}", limits.most);
            return Err(fault::constraint(&format!("'{limit}'"), "limit", &rule));
        }
        let after = self.marker.as_deref().map(read).transpose()?;
        let mut rest =
            sorted.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let last = items.last().filter(|_| more);
        let next_marker = last.map(|item| URL_SAFE_NO_PAD.encode(format!("{PREFIX}{}", key(item))));
        Ok(Page { items, next_marker })
    }
}

fn read(marker: &str) -> Result<String, Fault> {
    let decoded = URL_SAFE_NO_PAD.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = decoded.and_then(|text| text.strip_prefix(PREFIX).map(str::to_owned));
    key.ok_or_else(|| Fault::client("InvalidMarkerException", "The marker is not valid."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let (mut seen, mut wanted) = (Vec::new(), Wanted { limit: Some(3), marker: None });
        loop {
            let page = wanted.page(Limits::TAGS, all.clone(), Clone::clone).unwrap();
            seen.extend(page.items);
            wanted.marker = page.next_marker;
            if wanted.marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        wanted.marker = Some("nonsense".into());
        assert_eq!(
            wanted.page(Limits::TAGS, all.clone(), Clone::clone).unwrap_err().code,
            "InvalidMarkerException"
        );
        let many = Wanted { limit: Some(51), marker: None };
        assert_eq!(many.page(Limits::TAGS, all, Clone::clone).unwrap_err().code, "ValidationException");
    }
}

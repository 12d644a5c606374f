//! Pages of lists: an opaque marker names the list and the last item of the page before (spec/policy.md §12).

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use wire::Fault;

use crate::fault;

/// Items on a page where the caller does not say.
const USUAL: usize = 100;

/// One page of a sorted list.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub truncated: bool,
    pub marker: Option<String>,
}

/// Bytes of a list's name in its markers.
const NAME: usize = 8;

/// Cuts a page out of items that are sorted by `key`, which has at most 200 bytes: a marker has at most 320
/// characters. `list` names the list, so that a marker of one is none of another.
///
/// # Errors
/// `ValidationError` for a marker that we did not make for this list.
pub fn page<T>(
    list: &str,
    sorted: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    max_items: Option<usize>,
) -> Result<Page<T>, Fault> {
    let hash = digest(&SHA256, list.as_bytes());
    let name = &hash.as_ref()[..NAME];
    let after = marker.map(|marker| read(marker, name)).transpose()?;
    let mut rest = sorted.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let items: Vec<T> = rest.by_ref().take(max_items.unwrap_or(USUAL)).collect();
    let truncated = rest.next().is_some();
    let last = items.last().filter(|_| truncated);
    let marker = last.map(|item| URL_SAFE_NO_PAD.encode([name, key(item).as_bytes()].concat()));
    Ok(Page { items, truncated, marker })
}

fn read(marker: &str, name: &[u8]) -> Result<String, Fault> {
    let decoded = URL_SAFE_NO_PAD.decode(marker).ok();
    let key = decoded.and_then(|bytes| String::from_utf8(bytes.strip_prefix(name)?.to_vec()).ok());
    key.ok_or_else(|| fault::validation("Invalid Marker."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_markers_belong_to_their_list() {
        let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let (mut seen, mut marker) = (Vec::new(), None);
        loop {
            let page = page("users", all.clone(), Clone::clone, marker.as_deref(), Some(3)).unwrap();
            seen.extend(page.items);
            assert_eq!(page.truncated, page.marker.is_some());
            marker = page.marker;
            let Some(marker) = &marker else { break };
            assert!(super::page("keys", all.clone(), Clone::clone, Some(marker), None).is_err());
        }
        assert_eq!(seen, all);
        let refused = page("users", all, Clone::clone, Some("nonsense"), None).unwrap_err();
        assert_eq!(refused.code, "ValidationError");
    }
}

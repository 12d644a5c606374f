//! Pages of lists: an opaque marker names the last item of the page before (spec/kms.md §13).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use wire::Fault;

const PREFIX: &str = "1:";

/// One page of a sorted list.
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_marker: Option<String>,
}

/// Cuts a page out of items that are sorted by `key`.
///
/// # Errors
/// `InvalidMarkerException` for a marker that we did not make.
pub fn page<T>(
    sorted: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> String,
    marker: Option<&str>,
    limit: usize,
) -> Result<Page<T>, Fault> {
    let after = marker.map(read).transpose()?;
    let mut rest = sorted.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let next_marker = items.last().filter(|_| more).map(|item| URL_SAFE_NO_PAD.encode(format!("{PREFIX}{}", key(item))));
    Ok(Page { items, next_marker })
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
        let (mut seen, mut marker) = (Vec::new(), None);
        loop {
            let page = page(all.clone(), Clone::clone, marker.as_deref(), 3).unwrap();
            seen.extend(page.items);
            marker = page.next_marker;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
        assert!(page(all, Clone::clone, Some("nonsense"), 3).is_err());
    }
}

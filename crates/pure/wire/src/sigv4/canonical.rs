//! The text that is signed.

use aws_lc_rs::digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{ALGORITHM, Request};

/// Everything but RFC 3986's unreserved characters.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

pub(super) fn string_to_sign(signed_at: &str, scope: &str, canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{signed_at}\n{scope}\n{}", hex_sha256(canonical_request.as_bytes()))
}

pub(super) fn request(request: &Request<'_>, signed_headers: &[String], presigned: bool) -> String {
    let headers: String = signed_headers.iter().map(|name| header_line(request, name)).collect();
    [
        request.method,
        &path(request.path),
        &query(request.query, presigned),
        &headers,
        &signed_headers.join(";"),
        &hex_sha256(request.body),
    ]
    .join("\n")
}

/// `name:value`; values of a repeated header are joined by commas, runs of spaces collapsed.
fn header_line(request: &Request<'_>, name: &str) -> String {
    let values = request.headers.iter().filter(|(n, _)| n == name);
    let values: Vec<String> = values
        .map(|(_, value)| value.split(' ').filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" "))
        .collect();
    format!("{name}:{}\n", values.join(","))
}

/// Each segment of the path as received is encoded once more (services other than S3 encode twice).
fn path(raw: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let encoded: Vec<String> =
        segments.iter().map(|s| utf8_percent_encode(s, UNRESERVED).to_string()).collect();
    let trailing = if raw.ends_with('/') && !encoded.is_empty() { "/" } else { "" };
    format!("/{}{trailing}", encoded.join("/"))
}

/// The pairs of a query, decoded.
pub(super) fn query_pairs(raw: &str) -> Vec<(String, String)> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn query(raw: &str, presigned: bool) -> String {
    let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let mut pairs: Vec<(String, String)> = query_pairs(raw)
        .into_iter()
        .filter(|(name, _)| !(presigned && name == "X-Amz-Signature"))
        .map(|(name, value)| (encode(&name), encode(&value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_sorted_and_encoded_again() {
        assert_eq!(query("b=2&a=1+1&a=%2F&c", false), "a=%2F&a=1%201&b=2&c=");
        assert_eq!(query("X-Amz-Signature=x&a=1", true), "a=1");
    }

    #[test]
    fn paths_are_normalised() {
        assert_eq!(path("/"), "/");
        assert_eq!(path(""), "/");
        assert_eq!(path("/a/../b//c/"), "/b/c/");
        assert_eq!(path("/a%20b"), "/a%2520b");
    }
}

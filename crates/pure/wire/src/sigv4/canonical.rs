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
    let length: usize = request.headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut text = String::with_capacity(2 * length + request.path.len() + 3 * request.query.len() + 128);
    text.push_str(request.method);
    text.push('\n');
    text.push_str(&path(request.path));
    text.push('\n');
    text.push_str(&query(request.query, presigned));
    text.push('\n');
    for name in signed_headers {
        header_line(&mut text, request, name);
    }
    text.push('\n');
    for (index, name) in signed_headers.iter().enumerate() {
        if index > 0 {
            text.push(';');
        }
        text.push_str(name);
    }
    text.push('\n');
    text.push_str(&hex_sha256(request.body));
    text
}

/// `name:value`; values of a repeated header are joined by commas, runs of spaces collapsed.
fn header_line(text: &mut String, request: &Request<'_>, name: &str) {
    text.push_str(name);
    text.push(':');
    let values = request.headers.iter().filter(|(n, _)| n == name);
    for (index, (_, value)) in values.enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (index, word) in value.split(' ').filter(|word| !word.is_empty()).enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    text.push('\n');
}

/// Each segment of the path as received is encoded once more (services other than S3 encode twice).
fn path(raw: &str) -> String {
    if raw == "/" {
        return raw.into();
    }
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
    if raw.is_empty() {
        return String::new();
    }
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
    fn headers_are_collapsed_and_joined() {
        let headers: Vec<(String, String)> = [("a", " x  y "), ("host", "h"), ("a", "z"), ("unsigned", "u")]
            .map(|(n, v)| (n.into(), v.into()))
            .into();
        let sent = Request { method: "POST", path: "/", query: "", headers: &headers, body: b"" };
        let text = request(&sent, &["a".into(), "host".into(), "none".into()], false);
        let hash = hex_sha256(b"");
        assert_eq!(text, format!("POST\n/\n\na:x y,z\nhost:h\nnone:\n\na;host;none\n{hash}"));
    }

    #[test]
    fn paths_are_normalised() {
        assert_eq!(path("/"), "/");
        assert_eq!(path(""), "/");
        assert_eq!(path("/a/../b//c/"), "/b/c/");
        assert_eq!(path("/a%20b"), "/a%2520b");
    }
}

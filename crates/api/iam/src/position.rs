//! Where the statements of a policy stand in its text: what simulations point to.

use serde_json::{Value, json};

/// The first character of a statement and the one after its last, counted in bytes.
type Span = (usize, usize);

/// The spans of the statements of a policy that was read before, in order.
pub fn statements(text: &str) -> Vec<Span> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = string_end(bytes, at);
                if depth == 1 && &text[at..end] == "\"Statement\"" {
                    let colon = bytes[end..].iter().position(|b| *b == b':').map(|offset| end + offset);
                    // A value may be called so as well: only a name is followed by a colon.
                    if let Some(colon) = colon.filter(|colon| text[end..*colon].trim().is_empty()) {
                        return objects(bytes, colon + 1);
                    }
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    Vec::new()
}

/// The objects of a list, or the one object that begins at or after `from`.
fn objects(bytes: &[u8], from: usize) -> Vec<Span> {
    let (mut spans, mut begun, mut depth, mut listed) = (Vec::new(), 0, 0_usize, false);
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'[' if depth == 0 && !listed => listed = true,
            b'{' | b'[' => {
                if depth == 0 {
                    begun = at;
                }
                depth += 1;
            }
            // The end of the list.
            b'}' | b']' if depth == 0 => break,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    spans.push((begun, at + 1));
                    if !listed {
                        break;
                    }
                }
            }
            _ => {}
        }
        at += 1;
    }
    spans
}

/// The place after the string that begins at `from`.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A place as `Position` has it: line and column, counted from one.
pub fn position(text: &str, at: usize) -> Value {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    json!({"Line": line, "Column": column})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_found_alone_and_in_lists() {
        let one = r#"{"Id": "Statement", "Statement": {"Sid": "}]", "Action": ["a"]}}"#;
        let [(from, to)] = statements(one)[..] else { panic!("one statement") };
        assert_eq!(&one[from..to], r#"{"Sid": "}]", "Action": ["a"]}"#);
        let two = "{\"Version\": \"v\",\n \"Statement\" : [ {\"a\": {\"b\": \"\\\"{\"}},\n  {\"c\": []} ]}";
        let spans = statements(two);
        let texts: Vec<_> = spans.iter().map(|(from, to)| &two[*from..*to]).collect();
        assert_eq!(texts, ["{\"a\": {\"b\": \"\\\"{\"}}", "{\"c\": []}"]);
        assert_eq!(position(two, spans[1].0), json!({"Line": 3, "Column": 3}));
    }

    #[test]
    fn what_is_no_policy_has_none() {
        for text in
            ["", "{", "\"Statement", "{\"Statement\"", "{\"Statement\": [", "[]", "{\"Statement\": \"{}\"}"]
        {
            assert!(statements(text).is_empty(), "{text}");
        }
    }
}

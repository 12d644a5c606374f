//! A stored policy as it is shown: who was deleted stands by the unique id, as the ARN may be somebody else's by now
//! (spec/policy.md §3).

use std::collections::BTreeMap;

/// Replaces ARNs by unique ids in the `Principal` and `NotPrincipal` elements of a policy, and leaves every other
/// character as it was written.
pub fn with_deleted_principals(text: &str, gone: &BTreeMap<&str, &str>) -> String {
    let mut shown = String::with_capacity(text.len());
    if gone.is_empty() {
        shown.push_str(text);
        return shown;
    }
    let bytes = text.as_bytes();
    let (mut at, mut copied, mut depth) = (0, 0, 0_usize);
    // The depth around the element, while its value is being read.
    let mut element: Option<usize> = None;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = string_end(bytes, at);
                let inside = text.get(at + 1..end.saturating_sub(1)).unwrap_or_default();
                let is_name = text[end..].trim_start().starts_with(':');
                match element {
                    None if is_name && matches!(inside, "Principal" | "NotPrincipal") => {
                        element = Some(depth)
                    }
                    Some(around) if !is_name => {
                        if let Some(id) = gone.get(inside) {
                            shown.push_str(&text[copied..=at]);
                            shown.push_str(id);
                            copied = end - 1;
                        }
                        if depth == around {
                            element = None;
                        }
                    }
                    _ => {}
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if element.is_some_and(|around| depth <= around) {
                    element = None;
                }
            }
            _ => {}
        }
        at += 1;
    }
    shown.push_str(&text[copied..]);
    shown
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARN: &str = "arn:aws:iam::111122223333:user/dba";

    #[test]
    fn only_principals_are_replaced_and_nothing_else_changes() {
        let gone = BTreeMap::from([(ARN, "AIDAEXAMPLEEXAMPLE001")]);
        let text = r#"{ "Statement" : [ {"Principal":{"AWS" : ["ARN" , "*"]}, "Resource":"ARN"},
            {"NotPrincipal": {"AWS":"ARN"}, "Condition":{"ArnEquals":{"aws:PrincipalArn":"ARN"}}},
            {"Principal":"*","Sid":"ARN"} ] }"#;
        let text = text.replace("ARN", ARN);
        let expected = text
            .replacen(ARN, "AIDAEXAMPLEEXAMPLE001", 1)
            .replace(&format!("{{\"AWS\":\"{ARN}\"}}"), "{\"AWS\":\"AIDAEXAMPLEEXAMPLE001\"}");
        assert_eq!(with_deleted_principals(&text, &gone), expected);
        assert_eq!(with_deleted_principals(&text, &BTreeMap::new()), text);
    }

    proptest! {
        #[test]
        fn what_names_nobody_stays_as_it_is(text in ".{0,80}", members in "[\\[\\]{}\":, Principal\\\\]{0,60}") {
            let gone = BTreeMap::from([(ARN, "AIDA")]);
            prop_assert_eq!(with_deleted_principals(&text, &gone), text);
            prop_assert_eq!(with_deleted_principals(&members, &gone), members);
        }
    }
}

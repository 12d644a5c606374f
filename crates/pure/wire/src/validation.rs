//! Input against the model: the constraints in AWS's own words (spec/kms.md §1).

use serde_json::Value;

use crate::model::{Model, Reference, ServiceId, Shape, ShapeKind};
use crate::{fault::Fault, model::Protocol};

/// Checks a typed input value (as [`crate::json::decode`] and [`crate::query::decode`] make it) against
/// the constraints of its shape.
///
/// # Errors
/// `ValidationException` (JSON), `ValidationError` (IAM, STS), or RDS's own codes, with every violation
/// in AWS's words.
pub fn validate(service: ServiceId, operation: &str, input: &Value) -> Result<(), Fault> {
    let model = service.model();
    let Some(reference) = model.operations.get(operation).and_then(|op| op.input.as_ref()) else {
        return Ok(());
    };
    let mut found = Found { model, violations: Vec::new() };
    found.check(model.shape(reference), input, "", false);
    if found.violations.is_empty() {
        return Ok(());
    }
    Err(found.fault(service))
}

struct Found<'m> {
    model: &'m Model,
    violations: Vec<Violation>,
}

struct Violation {
    /// `tags.1.member.tagKey`
    field: String,
    /// As sent; `None` for sensitive values and structures.
    value: Option<String>,
    constraint: String,
    missing: bool,
}

impl Found<'_> {
    fn check(&mut self, shape: &Shape, value: &Value, at: &str, sensitive: bool) {
        let sensitive = sensitive || shape.sensitive;
        match (shape.kind, value) {
            (ShapeKind::Structure, Value::Object(members)) => {
                for name in &shape.required {
                    if members.get(name).is_none_or(Value::is_null) {
                        self.add(&join(at, &lower_first(name)), None, "Member must not be null".into(), true);
                    }
                }
                for (name, reference) in &shape.members {
                    if let Some(member) = members.get(name).filter(|v| !v.is_null()) {
                        self.follow(reference, member, &join(at, &lower_first(name)), sensitive);
                    }
                }
            }
            (ShapeKind::List, Value::Array(items)) => {
                self.length(shape, items.len(), value, at, sensitive);
                if let Some(reference) = &shape.member {
                    for (index, item) in items.iter().enumerate() {
                        self.follow(reference, item, &join(at, &format!("{}.member", index + 1)), sensitive);
                    }
                }
            }
            (ShapeKind::Map, Value::Object(entries)) => {
                self.length(shape, entries.len(), value, at, sensitive);
                for (key, item) in entries {
                    if let Some(reference) = &shape.key {
                        self.follow(reference, &Value::String(key.clone()), &join(at, "key"), sensitive);
                    }
                    if let Some(reference) = &shape.value {
                        self.follow(reference, item, &join(at, &format!("{key}.member")), sensitive);
                    }
                }
            }
            (ShapeKind::String, Value::String(text)) => {
                self.length(shape, text.chars().count(), value, at, sensitive);
                if !shape.choices.is_empty() && !shape.choices.contains(text) {
                    let set = shape.choices.join(", ");
                    let rule = format!("Member must satisfy enum value set: [{set}]");
                    self.add(at, shown(value, sensitive), rule, false);
                }
                if !shape.matches(text) {
                    let pattern = shape.pattern().unwrap_or_default();
                    let rule = format!("Member must satisfy regular expression pattern: {pattern}");
                    self.add(at, shown(value, sensitive), rule, false);
                }
            }
            (ShapeKind::Blob, Value::String(text)) => {
                self.length(shape, decoded_length(text), value, at, true);
            }
            (ShapeKind::Integer | ShapeKind::Long | ShapeKind::Double, Value::Number(number)) => {
                let number = number.as_f64().unwrap_or(f64::NAN);
                let outside = |bound: Option<f64>, word: &str, fails: fn(f64, f64) -> bool| {
                    bound
                        .filter(|bound| fails(number, *bound))
                        .map(|bound| format!("Member must have value {word} than or equal to {bound}"))
                };
                let rules =
                    [outside(shape.max, "less", |n, b| n > b), outside(shape.min, "greater", |n, b| n < b)];
                for rule in rules.into_iter().flatten() {
                    self.add(at, shown(value, sensitive), rule, false);
                }
            }
            // Types were settled when the value was decoded.
            _ => {}
        }
    }

    fn follow(&mut self, reference: &Reference, value: &Value, at: &str, sensitive: bool) {
        let model = self.model;
        self.check(model.shape(reference), value, at, sensitive);
    }

    fn length(&mut self, shape: &Shape, length: usize, value: &Value, at: &str, sensitive: bool) {
        #[expect(clippy::cast_precision_loss, reason = "a body is far shorter than 2^53 bytes")]
        let length = length as f64;
        let kind = if matches!(shape.kind, ShapeKind::Structure | ShapeKind::List | ShapeKind::Map) {
            None
        } else {
            shown(value, sensitive)
        };
        if let Some(max) = shape.max.filter(|max| length > *max) {
            self.add(at, kind.clone(), format!("Member must have length less than or equal to {max}"), false);
        }
        if let Some(min) = shape.min.filter(|min| length < *min) {
            self.add(at, kind, format!("Member must have length greater than or equal to {min}"), false);
        }
    }

    fn add(&mut self, at: &str, value: Option<String>, constraint: String, missing: bool) {
        self.violations.push(Violation { field: at.into(), value, constraint, missing });
    }

    fn fault(&self, service: ServiceId) -> Fault {
        if service == ServiceId::Rds {
            return self.rds_fault();
        }
        let told: Vec<String> = self.violations.iter().map(Violation::tell).collect();
        let count = told.len();
        let plural = if count == 1 { "error" } else { "errors" };
        let message = format!("{count} validation {plural} detected: {}", told.join("; "));
        let code = match service.model().metadata.protocol {
            Protocol::Json => "ValidationException",
            Protocol::Query => "ValidationError",
        };
        Fault::client(code, message)
    }

    /// RDS has its own words (spec/rds.md §11).
    fn rds_fault(&self) -> Fault {
        let first = &self.violations[0];
        let name = upper_first(&first.field);
        if first.missing {
            return Fault::client(
                "MissingParameter",
                format!("The request must contain the parameter {name}."),
            );
        }
        let value = first.value.as_deref().unwrap_or_default();
        Fault::client(
            "InvalidParameterValue",
            format!("Invalid value '{value}' for {name}: {}", first.constraint),
        )
    }
}

impl Violation {
    fn tell(&self) -> String {
        let Self { field, constraint, .. } = self;
        match &self.value {
            Some(value) => format!("Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"),
            None if self.missing => {
                format!("Value null at '{field}' failed to satisfy constraint: {constraint}")
            }
            None => format!("Value at '{field}' failed to satisfy constraint: {constraint}"),
        }
    }
}

/// Only texts and numbers are quoted, and not where the member is sensitive; long ones are cut.
fn shown(value: &Value, sensitive: bool) -> Option<String> {
    match value {
        _ if sensitive => None,
        Value::String(text) => Some(text.chars().take(256).collect()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn decoded_length(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|b| *b == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.into() } else { format!("{at}.{name}") }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_lowercase().to_string() + chars.as_str())
}

fn upper_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(service: ServiceId, operation: &str, input: Value) -> String {
        validate(service, operation, &input).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_member_is_null() {
        assert_eq!(
            message(ServiceId::Kms, "DisableKey", json!({})),
            "ValidationException: 1 validation error detected: Value null at 'keyId' failed to satisfy \
             constraint: Member must not be null"
        );
    }

    #[test]
    fn several_violations_are_all_told() {
        let input = json!({"KeyId": "k", "Tags": [{"TagKey": "", "TagValue": "v"}, {"TagValue": "v"}]});
        let text = message(ServiceId::Kms, "TagResource", input);
        assert!(text.starts_with("ValidationException: 2 validation errors detected: "), "{text}");
        assert!(text.contains("Value '' at 'tags.1.member.tagKey' failed"), "{text}");
        assert!(text.contains("Value null at 'tags.2.member.tagKey' failed"), "{text}");
    }

    #[test]
    fn sensitive_values_are_not_repeated() {
        let long = "A".repeat(8 * 1024);
        assert_eq!(
            message(ServiceId::Kms, "Encrypt", json!({"KeyId": "k", "Plaintext": long})),
            "ValidationException: 1 validation error detected: Value at 'plaintext' failed to satisfy \
             constraint: Member must have length less than or equal to 4096"
        );
    }

    #[test]
    fn enumerations_patterns_and_ranges_are_held() {
        let text = message(ServiceId::Kms, "CreateKey", json!({"KeySpec": "DES"}));
        assert!(text.contains(
            "Value 'DES' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: ["
        ));
        let text = message(ServiceId::Kms, "GenerateRandom", json!({"NumberOfBytes": 1025}));
        assert!(text.contains("Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024"));
    }

    #[test]
    fn rds_says_it_in_its_own_words() {
        assert_eq!(
            message(ServiceId::Rds, "DeleteDBCluster", json!({})),
            "MissingParameter: The request must contain the parameter DBClusterIdentifier."
        );
    }
}

//! AWS JSON 1.1: one JSON object in, one out (spec/kms.md §1).

use std::io;

use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{
    fault::Fault,
    model::{Model, Reference, ServiceId, ShapeKind},
};

/// Reads a body into the input of an operation: types as the model has them, unknown members dropped,
/// `null` as absent. Constraints are [`crate::validate`]'s.
///
/// # Errors
/// `SerializationException` for anything that is not JSON of the operation's shape.
pub fn decode(service: ServiceId, operation: &str, body: &[u8]) -> Result<Value, Fault> {
    let model = service.model();
    let value: Value = if body.is_empty() {
        json!({})
    } else {
        serde_json::from_slice(body).map_err(|_| refuse("Could not parse the request body as JSON"))?
    };
    let Some(reference) = model.operations.get(operation).and_then(|op| op.input.as_ref()) else {
        return Ok(json!({}));
    };
    if !value.is_object() {
        return Err(refuse("Start of structure or map expected"));
    }
    typed(model, reference, value)
}

/// Writes the answer of an operation. The bytes are wiped when they are dropped.
///
/// # Errors
/// An internal fault if the answer cannot be written as JSON.
pub fn encode(answer: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, Fault> {
    // Answers carry keys: a buffer that grows would leave copies behind.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, answer).map_err(Fault::internal)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *bytes, answer).map_err(Fault::internal)?;
    Ok(bytes)
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an error: the bare name in `__type`, the text in `message`; `AccessDeniedException` has it in
/// `Message`, and some errors have none.
pub fn encode_fault(fault: &Fault) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("__type".into(), json!(fault.code));
    if let Some(message) = &fault.message {
        let name = if fault.code == "AccessDeniedException" { "Message" } else { "message" };
        body.insert(name.into(), json!(message));
    }
    Value::Object(body).to_string().into_bytes()
}

fn typed(model: &Model, reference: &Reference, value: Value) -> Result<Value, Fault> {
    let shape = model.shape(reference);
    match (shape.kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (ShapeKind::Structure, Value::Object(mut sent)) => {
            let mut kept = Map::new();
            for (name, reference) in &shape.members {
                let wire = reference.location_name.as_deref().unwrap_or(name);
                if let Some(member) = sent.remove(wire).filter(|v| !v.is_null()) {
                    kept.insert(name.clone(), typed(model, reference, member)?);
                }
            }
            Ok(Value::Object(kept))
        }
        (ShapeKind::List, Value::Array(items)) => {
            let Some(inner) = &shape.member else { return Ok(Value::Array(items)) };
            let items = items.into_iter().map(|item| not_null(typed(model, inner, item)?));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        (ShapeKind::Map, Value::Object(entries)) => {
            let Some(inner) = &shape.value else { return Ok(Value::Object(entries)) };
            let entries = entries.into_iter().map(|(key, v)| Ok((key, not_null(typed(model, inner, v)?)?)));
            entries.collect::<Result<_, _>>().map(Value::Object)
        }
        (ShapeKind::Blob, Value::String(text)) => {
            base64_shaped(&text).then_some(Value::String(text)).ok_or_else(|| refuse("Invalid base64 text"))
        }
        (ShapeKind::String, value @ Value::String(_))
        | (ShapeKind::Boolean, value @ Value::Bool(_))
        | (ShapeKind::Double, value @ Value::Number(_)) => Ok(value),
        (ShapeKind::Timestamp, value) => {
            let readable = serde_json::from_value::<ids::Timestamp>(value.clone()).is_ok();
            if readable { Ok(value) } else { Err(mismatch(&value, "a Timestamp")) }
        }
        (ShapeKind::Integer, Value::Number(n)) if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {
            Ok(Value::Number(n))
        }
        (ShapeKind::Long, Value::Number(n)) if n.is_i64() || n.is_u64() => Ok(Value::Number(n)),
        (kind, value) => Err(mismatch(&value, type_name(kind))),
    }
}

fn not_null(value: Value) -> Result<Value, Fault> {
    if value.is_null() { Err(refuse("NULL_VALUE can not be an element")) } else { Ok(value) }
}

/// Standard alphabet with padding; the bytes themselves are decoded where they are used.
fn base64_shaped(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

fn mismatch(value: &Value, wanted: &str) -> Fault {
    let sent = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    refuse(&format!("{sent} can not be converted to {wanted}"))
}

const fn type_name(kind: ShapeKind) -> &'static str {
    match kind {
        ShapeKind::Structure => "a Structure",
        ShapeKind::List => "a List",
        ShapeKind::Map => "a Map",
        ShapeKind::String => "a String",
        ShapeKind::Blob => "a Blob",
        ShapeKind::Boolean => "a Boolean",
        ShapeKind::Integer => "an Integer",
        ShapeKind::Long => "a Long",
        ShapeKind::Double => "a Double",
        ShapeKind::Timestamp => "a Timestamp",
    }
}

fn refuse(message: &str) -> Fault {
    Fault::client("SerializationException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_members_are_dropped_and_null_is_absent() {
        let body = br#"{"KeyId":"k","Nonsense":[1],"GrantTokens":null}"#;
        assert_eq!(decode(ServiceId::Kms, "DescribeKey", body).unwrap(), json!({"KeyId": "k"}));
    }

    #[test]
    fn wrong_types_are_told() {
        for (body, text) in [
            (&br#"{"KeyId":7}"#[..], "NUMBER_VALUE can not be converted to a String"),
            (br#"{"KeyId":"k","GrantTokens":{}}"#, "START_OBJECT can not be converted to a List"),
            (br#"{"KeyId":"k","GrantTokens":[null]}"#, "NULL_VALUE can not be an element"),
            (br#"[]"#, "Start of structure or map expected"),
            (b"{", "Could not parse the request body as JSON"),
            (b"{\"KeyId\":\"\xff\"}", "Could not parse the request body as JSON"),
        ] {
            let fault = decode(ServiceId::Kms, "DescribeKey", body).unwrap_err();
            assert_eq!(
                (fault.code.as_ref(), fault.message.as_deref()),
                ("SerializationException", Some(text))
            );
        }
        for blob in ["a", "a===", "====", "YQ=", "Y Q="] {
            let body = format!("{{\"CiphertextBlob\":\"{blob}\"}}");
            assert!(decode(ServiceId::Kms, "Decrypt", body.as_bytes()).is_err(), "{blob}");
        }
    }

    #[test]
    fn an_answer_is_written_without_growing() {
        let text = "x\"é".repeat(5000);
        let bytes = encode(&json!({"Plaintext": text})).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap()["Plaintext"], json!(text));
        assert_eq!(bytes.len(), bytes.capacity());
    }

    #[test]
    fn an_error_has_its_name_and_text_where_clients_look() {
        assert_eq!(
            encode_fault(&Fault::bare("InvalidCiphertextException")),
            br#"{"__type":"InvalidCiphertextException"}"#
        );
        assert_eq!(
            encode_fault(&Fault::client("AccessDeniedException", "no")),
            br#"{"Message":"no","__type":"AccessDeniedException"}"#
        );
    }
}

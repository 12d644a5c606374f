//! Answers of Query services: XML by the model (spec/policy.md §11, spec/rds.md §1).

use quick_xml::{
    Writer,
    events::{BytesEnd, BytesStart, BytesText, Event},
};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    fault::Fault,
    model::{Model, Reference, ServiceId, ShapeKind},
};

type Xml = Writer<Vec<u8>>;
/// Room for answers with a secret in them, so that the buffer does not grow and leave copies behind.
const ANSWER_CAPACITY: usize = 16 * 1024;

/// Writes the answer of an operation. Members without a value are left out, empty lists are written as
/// the empty element. The bytes are wiped when they are dropped.
///
/// # Errors
/// An internal fault if the answer does not have the shape of the model.
pub fn encode(
    service: ServiceId,
    operation: &str,
    answer: &Value,
    request_id: &str,
) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let model = service.model();
    let known =
        model.operations.get(operation).ok_or_else(|| Fault::internal("no model of the operation"))?;
    let mut xml = Writer::new(Vec::with_capacity(ANSWER_CAPACITY));
    let namespace = ("xmlns", model.metadata.xml_namespace.as_str());
    let response = format!("{operation}Response");
    open(&mut xml, &response, &[namespace])?;
    if let (Some(output), Some(wrapper)) = (&known.output, &known.result_wrapper) {
        element(&mut xml, model, output, wrapper, answer)?;
    }
    open(&mut xml, "ResponseMetadata", &[])?;
    text_element(&mut xml, "RequestId", request_id)?;
    close(&mut xml, "ResponseMetadata")?;
    close(&mut xml, &response)?;
    Ok(Zeroizing::new(xml.into_inner()))
}

/// Writes an error.
pub fn encode_fault(service: ServiceId, fault: &Fault, request_id: &str) -> Vec<u8> {
    let mut xml = Writer::new(Vec::new());
    let written = (|| {
        open(&mut xml, "ErrorResponse", &[("xmlns", service.model().metadata.xml_namespace.as_str())])?;
        open(&mut xml, "Error", &[])?;
        text_element(&mut xml, "Type", if fault.status >= 500 { "Receiver" } else { "Sender" })?;
        text_element(&mut xml, "Code", &fault.code)?;
        text_element(&mut xml, "Message", fault.message.as_deref().unwrap_or_default())?;
        close(&mut xml, "Error")?;
        text_element(&mut xml, "RequestId", request_id)?;
        close(&mut xml, "ErrorResponse")
    })();
    written.map_or_else(|_: Fault| Vec::new(), |()| xml.into_inner())
}

fn element(
    xml: &mut Xml,
    model: &Model,
    reference: &Reference,
    name: &str,
    value: &Value,
) -> Result<(), Fault> {
    let shape = model.shape(reference);
    match (shape.kind, value) {
        (_, Value::Null) => Ok(()),
        (ShapeKind::Structure, Value::Object(members)) => {
            open(xml, name, &[])?;
            if let Some(stray) = members.keys().find(|key| !shape.members.contains_key(*key)) {
                return Err(Fault::internal(format!(
                    "{name} has a member {stray} that the model does not know"
                )));
            }
            for (member, reference) in &shape.members {
                let wire = reference.location_name.as_deref().unwrap_or(member);
                if let Some(value) = members.get(member) {
                    element(xml, model, reference, wire, value)?;
                }
            }
            close(xml, name)
        }
        (ShapeKind::List, Value::Array(items)) => {
            let inner = shape.member.as_ref().ok_or_else(|| Fault::internal("a list without a member"))?;
            let item_name = inner.location_name.as_deref().unwrap_or("member");
            open(xml, name, &[])?;
            for item in items {
                element(xml, model, inner, item_name, item)?;
            }
            close(xml, name)
        }
        (ShapeKind::Map, Value::Object(entries)) => {
            let inner = shape.key.as_ref().zip(shape.value.as_ref());
            let (key, held) = inner.ok_or_else(|| Fault::internal("a map without keys and values"))?;
            open(xml, name, &[])?;
            for (entry, value) in entries {
                open(xml, "entry", &[])?;
                element(xml, model, key, "key", &Value::String(entry.clone()))?;
                element(xml, model, held, "value", value)?;
                close(xml, "entry")?;
            }
            close(xml, name)
        }
        (ShapeKind::Timestamp, value) => {
            let instant: ids::Timestamp = serde_json::from_value(value.clone()).map_err(Fault::internal)?;
            // RDS writes milliseconds, IAM and STS whole seconds (spec/policy.md §11).
            let whole = !model.metadata.xml_namespace.contains("//rds.");
            text_element(xml, name, &if whole { instant.iso8601_seconds() } else { instant.iso8601() })
        }
        (_, Value::String(text)) => text_element(xml, name, text),
        (_, Value::Bool(flag)) => text_element(xml, name, if *flag { "true" } else { "false" }),
        (_, Value::Number(number)) => text_element(xml, name, &number.to_string()),
        (kind, _) => Err(Fault::internal(format!("{name} should be a {kind:?}"))),
    }
}

fn open(xml: &mut Xml, name: &str, attributes: &[(&str, &str)]) -> Result<(), Fault> {
    let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
    xml.write_event(Event::Start(start)).map_err(Fault::internal)
}

fn close(xml: &mut Xml, name: &str) -> Result<(), Fault> {
    xml.write_event(Event::End(BytesEnd::new(name))).map_err(Fault::internal)
}

fn text_element(xml: &mut Xml, name: &str, text: &str) -> Result<(), Fault> {
    open(xml, name, &[])?;
    // XML 1.0 has no way to write most control characters.
    let clean: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')).collect();
    xml.write_event(Event::Text(BytesText::new(&Zeroizing::new(clean)))).map_err(Fault::internal)?;
    close(xml, name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_has_result_and_metadata() {
        let answer = json!({"Account": "111122223333", "Arn": "a<b", "UserId": "U"});
        let xml = encode(ServiceId::Sts, "GetCallerIdentity", &answer, "r").unwrap();
        assert_eq!(
            std::str::from_utf8(&xml).unwrap(),
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Account>111122223333</Account><Arn>a&lt;b</Arn><UserId>U</UserId></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        );
    }

    #[test]
    fn lists_use_the_item_names_of_the_model_and_times_are_iso() {
        let answer =
            json!({"DBClusters": [{"DBClusterIdentifier": "x", "ClusterCreateTime": 1.5, "TagList": []}]});
        let xml = encode(ServiceId::Rds, "DescribeDBClusters", &answer, "r").unwrap();
        let text = std::str::from_utf8(&xml).unwrap();
        assert!(text.contains("<DBClusters><DBCluster>"), "{text}");
        assert!(text.contains("<ClusterCreateTime>1970-01-01T00:00:01.500Z</ClusterCreateTime>"), "{text}");
        assert!(text.contains("<TagList></TagList>"), "{text}");
    }

    #[test]
    fn maps_are_entries_of_key_and_value() {
        let xml =
            encode(ServiceId::Iam, "GetAccountSummary", &json!({"SummaryMap": {"Users": 2}}), "r").unwrap();
        let text = std::str::from_utf8(&xml).unwrap();
        assert!(
            text.contains("<SummaryMap><entry><key>Users</key><value>2</value></entry></SummaryMap>"),
            "{text}"
        );
    }

    #[test]
    fn a_member_that_the_model_does_not_know_is_our_mistake() {
        assert!(encode(ServiceId::Sts, "GetCallerIdentity", &json!({"Nonsense": 1}), "r").is_err());
    }
}

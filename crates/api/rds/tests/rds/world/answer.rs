//! Reads answers by AWS's own model: an element that the model does not know, or a value of another type, fails.

use ids::Timestamp;
use quick_xml::{Reader, events::Event};
use serde_json::{Map, Value, json};
use wire::{Model, ServiceId, Shape, ShapeKind};

/// An element of XML.
#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

/// The result of an operation, with the model's names.
pub fn read(operation: &str, xml: &[u8]) -> Value {
    let model = ServiceId::Rds.model();
    let root = parse(std::str::from_utf8(xml).unwrap());
    assert_eq!(root.name, format!("{operation}Response"));
    let known = &model.operations[operation];
    let (Some(output), Some(wrapper)) = (&known.output, &known.result_wrapper) else { return Value::Null };
    let result = root.children.iter().find(|child| child.name == *wrapper).expect("a result");
    value(model, model.shape(output), result)
}

fn value(model: &Model, shape: &Shape, element: &Element) -> Value {
    let text = element.text.as_str();
    match shape.kind {
        ShapeKind::Structure => {
            let mut members = Map::new();
            for child in &element.children {
                let (name, reference) = shape
                    .members
                    .iter()
                    .find(|(name, reference)| *reference.location_name.as_ref().unwrap_or(name) == child.name)
                    .unwrap_or_else(|| panic!("{} is not a member of {}", child.name, element.name));
                members.insert(name.clone(), value(model, model.shape(reference), child));
            }
            Value::Object(members)
        }
        ShapeKind::List => {
            let reference = shape.member.as_ref().unwrap();
            let name = reference.location_name.as_deref().unwrap_or("member");
            let items = element.children.iter().inspect(|child| assert_eq!(child.name, name));
            items.map(|child| value(model, model.shape(reference), child)).collect()
        }
        ShapeKind::Boolean => json!(text.parse::<bool>().unwrap()),
        ShapeKind::Integer | ShapeKind::Long => json!(text.parse::<i64>().unwrap()),
        ShapeKind::Double => json!(text.parse::<f64>().unwrap()),
        ShapeKind::Timestamp => json!(Timestamp::parse(text).unwrap().iso8601()),
        ShapeKind::String => {
            assert!(shape.choices.is_empty() || shape.choices.iter().any(|choice| choice == text), "{text}");
            json!(text)
        }
        ShapeKind::Map | ShapeKind::Blob => panic!("RDS has none"),
    }
}

fn parse(xml: &str) -> Element {
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                open.push(Element { name, ..Element::default() });
            }
            Event::End(_) => {
                let closed = open.pop().unwrap();
                open.last_mut().unwrap().children.push(closed);
            }
            Event::Text(text) => open.last_mut().unwrap().text.push_str(&text),
            Event::GeneralRef(entity) => {
                let character = match &*entity {
                    "amp" => "&",
                    "lt" => "<",
                    "gt" => ">",
                    "quot" => "\"",
                    "apos" => "'",
                    other => panic!("{other}"),
                };
                open.last_mut().unwrap().text.push_str(character);
            }
            Event::Eof => return open.pop().unwrap().children.remove(0),
            _ => {}
        }
    }
}

//! The Query protocol: a form in, XML out (spec/policy.md §11, spec/rds.md §1).

use serde_json::{Map, Value, json};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use crate::xml::{encode, encode_fault};
use crate::{
    fault::Fault,
    model::{Model, Reference, ServiceId, Shape, ShapeKind},
};

/// How deep and how far indexes of lists may go; AWS's own lists are far shorter.
const LONGEST_LIST: usize = 1000;
/// More parameters than any request of AWS's has; the bound keeps the search for doubles short.
const MOST_PARAMETERS: usize = 2000;

/// The decoded name-value pairs of a form. Wiped on drop, as passwords come in forms.
#[derive(ZeroizeOnDrop)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded` bytes.
    ///
    /// # Errors
    /// `MalformedQueryString` if a name or value is not UTF-8 after decoding, or a name stands twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut form = Self(Vec::new());
        for pair in bytes.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_at(pair.iter().position(|b| *b == b'=').unwrap_or(pair.len()));
            if form.0.len() == MOST_PARAMETERS {
                return Err(malformed("The request has too many parameters"));
            }
            let name = text(name)?;
            if form.get(&name).is_some() {
                return Err(malformed(&format!("The parameter {} is given twice", printable(&name))));
            }
            form.0.push((name, text(value.get(1..).unwrap_or_default())?));
        }
        Ok(form)
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether any name begins with a prefix and a dot.
    fn has_under(&self, prefix: &str) -> bool {
        self.0.iter().any(|(name, _)| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
    }
}

/// Reads a form into the input of an operation, typed by the model; unknown parameters are dropped.
///
/// # Errors
/// The service's code for a value of the wrong type.
pub fn decode(service: ServiceId, operation: &str, form: &Form) -> Result<Value, Fault> {
    let model = service.model();
    let Some(reference) = model.operations.get(operation).and_then(|op| op.input.as_ref()) else {
        return Ok(json!({}));
    };
    let reader = Reader { service, model, form };
    Ok(reader.structure(model.shape(reference), "")?.unwrap_or_else(|| json!({})))
}

struct Reader<'a> {
    service: ServiceId,
    model: &'a Model,
    form: &'a Form,
}

impl Reader<'_> {
    fn value(&self, reference: &Reference, at: &str) -> Result<Option<Value>, Fault> {
        let shape = self.model.shape(reference);
        match shape.kind {
            ShapeKind::Structure => self.structure(shape, at),
            ShapeKind::List => self.list(shape, at),
            ShapeKind::Map => Err(self.refuse(at)),
            _ => self.form.get(at).map(|text| self.scalar(shape, text, at)).transpose(),
        }
    }

    fn structure(&self, shape: &Shape, at: &str) -> Result<Option<Value>, Fault> {
        if !at.is_empty() && !self.form.has_under(at) {
            return Ok(None);
        }
        let mut members = Map::new();
        for (name, reference) in &shape.members {
            let wire = reference.location_name.as_deref().unwrap_or(name);
            let at = if at.is_empty() { wire.to_owned() } else { format!("{at}.{wire}") };
            if let Some(value) = self.value(reference, &at)? {
                members.insert(name.clone(), value);
            }
        }
        Ok(Some(Value::Object(members)))
    }

    /// `Tags.Tag.1`, `TagKeys.member.1`; `member` is taken for every list (older clients).
    fn list(&self, shape: &Shape, at: &str) -> Result<Option<Value>, Fault> {
        let Some(inner) = &shape.member else { return Ok(None) };
        let named = inner.location_name.as_deref().unwrap_or("member");
        let prefixes = [format!("{at}.{named}"), format!("{at}.member"), at.to_owned()];
        let Some(prefix) = prefixes.into_iter().find(|prefix| self.exists(&format!("{prefix}.1"))) else {
            // An empty list is sent as the bare name.
            return Ok((self.form.get(at) == Some("")).then(|| json!([])));
        };
        let mut items = Vec::new();
        for index in 1..=LONGEST_LIST {
            let at = format!("{prefix}.{index}");
            if !self.exists(&at) {
                break;
            }
            items.extend(self.value(inner, &at)?);
        }
        Ok(Some(Value::Array(items)))
    }

    fn exists(&self, at: &str) -> bool {
        self.form.get(at).is_some() || self.form.has_under(at)
    }

    fn scalar(&self, shape: &Shape, text: &str, at: &str) -> Result<Value, Fault> {
        let refused = || self.refuse(at);
        match shape.kind {
            ShapeKind::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(json!(true)),
                "false" => Ok(json!(false)),
                _ => Err(refused()),
            },
            ShapeKind::Integer => text.parse::<i32>().map(Value::from).map_err(|_| refused()),
            ShapeKind::Long => text.parse::<i64>().map(Value::from).map_err(|_| refused()),
            ShapeKind::Double => {
                let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
                number.map(Value::from).ok_or_else(refused)
            }
            ShapeKind::Timestamp => {
                ids::Timestamp::parse(text).map_err(|_| refused())?;
                Ok(json!(text))
            }
            _ => Ok(json!(text)),
        }
    }

    fn refuse(&self, at: &str) -> Fault {
        match self.service {
            ServiceId::Rds => Fault::client(
                "InvalidParameterValue",
                format!("The value for the parameter {at} is of the wrong type."),
            ),
            _ => Fault::client(
                "MalformedInput",
                format!("The value for the parameter {at} is of the wrong type."),
            ),
        }
    }
}

/// Percent-decoding with `+` for space.
fn text(bytes: &[u8]) -> Result<String, Fault> {
    let spaced =
        Zeroizing::new(bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect::<Vec<u8>>());
    let decoded: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|error| {
        error.into_bytes().zeroize();
        malformed("The parameters are not UTF-8")
    })
}

fn malformed(message: &str) -> Fault {
    Fault::client("MalformedQueryString", message)
}

fn printable(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rds(operation: &str, body: &str) -> Result<Value, Fault> {
        decode(ServiceId::Rds, operation, &Form::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn members_lists_and_types_follow_the_model() {
        let body = "Action=CreateDBCluster&Version=2014-10-31&DBClusterIdentifier=orders&Engine=aurora-postgresql\
                    &StorageEncrypted=true&Port=6000&Tags.Tag.1.Key=a&Tags.Tag.1.Value=b+c&Tags.Tag.2.Key=d%26\
                    &VpcSecurityGroupIds.member.1=sg";
        assert_eq!(
            rds("CreateDBCluster", body).unwrap(),
            json!({"DBClusterIdentifier": "orders", "Engine": "aurora-postgresql", "StorageEncrypted": true,
                   "Port": 6000, "Tags": [{"Key": "a", "Value": "b c"}, {"Key": "d&"}],
                   "VpcSecurityGroupIds": ["sg"]})
        );
    }

    #[test]
    fn wrong_types_are_refused() {
        assert_eq!(rds("CreateDBCluster", "Port=x").unwrap_err().code, "InvalidParameterValue");
        assert_eq!(
            rds("CreateDBCluster", "StorageEncrypted=maybe").unwrap_err().code,
            "InvalidParameterValue"
        );
    }

    #[test]
    fn bytes_that_are_no_text_and_doubled_names_are_refused() {
        assert!(Form::parse(b"A=%ff").is_err());
        assert!(Form::parse(b"A=1&A=2").is_err());
    }
}

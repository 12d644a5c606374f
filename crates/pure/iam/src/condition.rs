//! Condition operators (spec/policy.md §5), parsed once and tried against a request's context.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ids::Timestamp;
use serde_json::Value;

use crate::{document::Malformed, request::Context, template::Template};

/// One line of a `Condition` block: an operator, a key, the values to compare with.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// As written: `ForAnyValue:StringEquals`.
    operator: String,
    key: String,
    test: Test,
    negated: bool,
    if_exists: bool,
    set: Set,
    values: Vec<Wanted>,
}

/// How a key with several values is tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Set {
    Plain,
    ForAll,
    ForAny,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A value of the policy, in the form that its operator compares.
#[derive(Clone, Debug)]
enum Wanted {
    Text(Template),
    Number(f64),
    Date(Timestamp),
    Bool(bool),
    Bytes(Vec<u8>),
    Network(IpAddr, u8),
}

impl Condition {
    /// Reads one operator with one key. `variables`: whether `${…}` means something in this document.
    pub(crate) fn parse(
        operator: &str,
        key: &str,
        values: &Value,
        variables: bool,
    ) -> Result<Self, Malformed> {
        let (set, name) = if let Some(name) = operator.strip_prefix("ForAllValues:") {
            (Set::ForAll, name)
        } else if let Some(name) = operator.strip_prefix("ForAnyValue:") {
            (Set::ForAny, name)
        } else {
            (Set::Plain, operator)
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (test, negated) = test_of(name).ok_or(Malformed::Syntax)?;
        if test == Test::Null && (if_exists || set != Set::Plain) {
            return Err(Malformed::Syntax);
        }
        let listed = match values {
            Value::Array(items) => items.iter().collect(),
            single => vec![single],
        };
        let values =
            listed.into_iter().map(|value| wanted(test, value, variables)).collect::<Result<_, _>>()?;
        let (operator, key) = (operator.to_owned(), key.to_ascii_lowercase());
        Ok(Self { operator, key, test, negated, if_exists, set, values })
    }

    /// The key, and the keys that are variables in its values.
    pub(crate) fn context_keys(&self) -> Vec<String> {
        let variables = self.values.iter().filter_map(|wanted| match wanted {
            Wanted::Text(template) => Some(template.keys().map(str::to_owned)),
            _ => None,
        });
        std::iter::once(self.key.clone()).chain(variables.flatten()).collect()
    }

    /// For people: `StringEquals kms:viaservice (the request has "rds.us-west-2.amazonaws.com")`.
    pub(crate) fn told(&self, context: &Context) -> String {
        let (operator, key) = (&self.operator, &self.key);
        match context.values(key) {
            Some(sent) => format!("{operator} {key} (the request has {sent:?})"),
            None => format!("{operator} {key} (the request has no such key)"),
        }
    }

    /// Whether the condition holds for a request.
    pub(crate) fn holds(&self, context: &Context) -> bool {
        let sent = context.values(&self.key);
        if self.test == Test::Null {
            let absent = sent.is_none();
            return self.values.iter().any(|wanted| matches!(wanted, Wanted::Bool(null) if *null == absent));
        }
        let unresolved = |wanted: &Wanted| matches!(wanted, Wanted::Text(text) if !text.resolves(context));
        if self.values.iter().any(unresolved) {
            return false;
        }
        let Some(sent) = sent else {
            return match self.set {
                _ if self.if_exists => true,
                Set::ForAll => true,
                Set::ForAny => false,
                Set::Plain => self.negated,
            };
        };
        // The values of a policy are alternatives; a negated operator wants none of them.
        let fits = |value: &String| {
            self.values.iter().any(|wanted| self.fits(value, wanted, context)) != self.negated
        };
        match self.set {
            Set::ForAll => sent.iter().all(fits),
            Set::ForAny => sent.iter().any(fits),
            // Without a set operator a negation speaks of all values, everything else of any.
            Set::Plain if self.negated => sent.iter().all(fits),
            Set::Plain => sent.iter().any(fits),
        }
    }

    fn fits(&self, sent: &str, wanted: &Wanted, context: &Context) -> bool {
        match (self.test, wanted) {
            (Test::Equals, Wanted::Text(template)) => template.fill(context).as_deref() == Some(sent),
            (Test::EqualsIgnoreCase, Wanted::Text(template)) => {
                template.fill(context).is_some_and(|text| text.to_lowercase() == sent.to_lowercase())
            }
            (Test::Like, Wanted::Text(template)) => {
                template.pattern(context).is_some_and(|p| p.matches(sent))
            }
            (Test::Arn, Wanted::Text(template)) => template.matches_arn(sent, context),
            (Test::Number(order), Wanted::Number(number)) => {
                sent.parse::<f64>().is_ok_and(|sent| order.holds(&sent, number))
            }
            (Test::Date(order), Wanted::Date(date)) => {
                read_date(sent).is_some_and(|sent| order.holds(&sent, date))
            }
            (Test::Bool, Wanted::Bool(flag)) => {
                sent.eq_ignore_ascii_case(if *flag { "true" } else { "false" })
            }
            (Test::Binary, Wanted::Bytes(bytes)) => STANDARD.decode(sent).is_ok_and(|sent| sent == *bytes),
            (Test::Ip, Wanted::Network(network, prefix)) => {
                sent.parse().is_ok_and(|address| in_network(address, *network, *prefix))
            }
            _ => false,
        }
    }
}

fn test_of(name: &str) -> Option<(Test, bool)> {
    use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    Some(match name {
        "StringEquals" => (Test::Equals, false),
        "StringNotEquals" => (Test::Equals, true),
        "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
        "StringLike" => (Test::Like, false),
        "StringNotLike" => (Test::Like, true),
        "NumericEquals" => (Test::Number(Equal), false),
        "NumericNotEquals" => (Test::Number(Equal), true),
        "NumericLessThan" => (Test::Number(Less), false),
        "NumericLessThanEquals" => (Test::Number(LessOrEqual), false),
        "NumericGreaterThan" => (Test::Number(Greater), false),
        "NumericGreaterThanEquals" => (Test::Number(GreaterOrEqual), false),
        "DateEquals" => (Test::Date(Equal), false),
        "DateNotEquals" => (Test::Date(Equal), true),
        "DateLessThan" => (Test::Date(Less), false),
        "DateLessThanEquals" => (Test::Date(LessOrEqual), false),
        "DateGreaterThan" => (Test::Date(Greater), false),
        "DateGreaterThanEquals" => (Test::Date(GreaterOrEqual), false),
        "Bool" => (Test::Bool, false),
        "BinaryEquals" => (Test::Binary, false),
        "IpAddress" => (Test::Ip, false),
        "NotIpAddress" => (Test::Ip, true),
        "ArnEquals" | "ArnLike" => (Test::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
        "Null" => (Test::Null, false),
        _ => return None,
    })
}

fn wanted(test: Test, value: &Value, variables: bool) -> Result<Wanted, Malformed> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        _ => return Err(Malformed::Syntax),
    };
    let read = match test {
        Test::Equals | Test::EqualsIgnoreCase | Test::Like | Test::Arn => {
            Some(Wanted::Text(Template::parse(&text, variables)?))
        }
        Test::Number(_) => text.parse().ok().map(Wanted::Number),
        Test::Date(_) => read_date(&text).map(Wanted::Date),
        Test::Bool | Test::Null => match text.to_ascii_lowercase().as_str() {
            "true" => Some(Wanted::Bool(true)),
            "false" => Some(Wanted::Bool(false)),
            _ => None,
        },
        Test::Binary => STANDARD.decode(&text).ok().map(Wanted::Bytes),
        Test::Ip => read_network(&text),
    };
    read.ok_or(Malformed::Syntax)
}

/// ISO 8601, a day of it, or epoch seconds.
fn read_date(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(Timestamp::from_millis(seconds.saturating_mul(1000)));
    }
    Timestamp::parse(text).or_else(|_| Timestamp::parse(&format!("{text}T00:00:00Z"))).ok()
}

fn read_network(text: &str) -> Option<Wanted> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(longest), |p| p.parse().ok().filter(|p| *p <= longest))?;
    Some(Wanted::Network(address, prefix))
}

fn in_network(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let host_bits = width - u32::from(prefix);
    host_bits == 128 || address >> host_bits == network >> host_bits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(operator: &str, wanted: Value, sent: Option<&[&str]>) -> bool {
        let mut context = Context::default();
        context.set("aws:Key", sent.unwrap_or_default().iter().copied());
        context.set("aws:username", ["dba"]);
        Condition::parse(operator, "AWS:key", &wanted, true).unwrap().holds(&context)
    }

    #[test]
    fn every_operator_has_its_row() {
        for (operator, wanted, sent, expected) in [
            ("StringEquals", json!("a"), "a", true),
            ("StringEquals", json!("a"), "A", false),
            ("StringEquals", json!(["b", "a"]), "a", true),
            ("StringEquals", json!("${aws:username}"), "dba", true),
            ("StringEquals", json!("${aws:nothing}"), "dba", false),
            ("StringNotEquals", json!("${aws:nothing}"), "dba", false),
            ("StringEquals", json!("${aws:nothing, 'dba'}"), "dba", true),
            ("StringNotEquals", json!(["a", "b"]), "a", false),
            ("StringNotEquals", json!(["a", "b"]), "c", true),
            ("StringEqualsIgnoreCase", json!("ABC"), "abc", true),
            ("StringNotEqualsIgnoreCase", json!("ABC"), "abc", false),
            ("StringLike", json!("a*"), "abc", true),
            ("StringLike", json!("${*}"), "*", true),
            ("StringLike", json!("${*}"), "x", false),
            ("StringNotLike", json!("a*"), "abc", false),
            ("NumericEquals", json!(7), "7.0", true),
            ("NumericNotEquals", json!("7"), "8", true),
            ("NumericLessThan", json!("7"), "6", true),
            ("NumericLessThanEquals", json!("7"), "7", true),
            ("NumericGreaterThan", json!("7"), "7", false),
            ("NumericGreaterThanEquals", json!("7"), "7", true),
            ("NumericEquals", json!("7"), "seven", false),
            ("DateEquals", json!("2026-01-01T00:00:00Z"), "1767225600", true),
            ("DateNotEquals", json!("2026-01-01"), "2026-01-02T00:00:00Z", true),
            ("DateLessThan", json!("2026-01-02"), "2026-01-01T00:00:00Z", true),
            ("DateLessThanEquals", json!("2026-01-01"), "2026-01-01T00:00:00Z", true),
            ("DateGreaterThan", json!("2026-01-01"), "2026-01-01T00:00:00Z", false),
            ("DateGreaterThanEquals", json!("2026-01-01"), "2026-01-01T00:00:00Z", true),
            ("Bool", json!(true), "true", true),
            ("Bool", json!("false"), "true", false),
            ("BinaryEquals", json!("aGk="), "aGk=", true),
            ("IpAddress", json!("192.0.2.0/24"), "192.0.2.200", true),
            ("IpAddress", json!("192.0.2.0/24"), "192.0.3.1", false),
            ("IpAddress", json!("0.0.0.0/0"), "198.51.100.1", true),
            ("IpAddress", json!("::/0"), "2001:db8::1", true),
            ("NotIpAddress", json!("2001:db8::/32"), "2001:db8::1", false),
            ("ArnLike", json!("arn:aws:iam::1*:user/?"), "arn:aws:iam::12:user/a", true),
            ("ArnEquals", json!("arn:*:user/a"), "arn:aws:iam::12:user/a", false),
            ("ArnNotLike", json!("arn:aws:iam::*:user/*"), "arn:aws:iam::12:role/a", true),
            ("Null", json!("true"), "x", false),
            ("Null", json!(false), "x", true),
        ] {
            assert_eq!(
                holds(operator, wanted.clone(), Some(&[sent])),
                expected,
                "{operator} {wanted} {sent}"
            );
        }
    }

    #[test]
    fn an_absent_key_fails_what_is_positive_and_passes_what_is_negated() {
        for (operator, expected) in [
            ("StringEquals", false),
            ("StringNotEquals", true),
            ("StringEqualsIfExists", true),
            ("NotIpAddress", true),
            ("ForAllValues:StringEquals", true),
            ("ForAnyValue:StringEquals", false),
            ("ForAnyValue:StringNotEquals", false),
        ] {
            let wanted = if operator == "NotIpAddress" { json!("10.0.0.0/8") } else { json!("a") };
            assert_eq!(holds(operator, wanted, None), expected, "{operator}");
        }
        assert!(holds("Null", json!("true"), None));
    }

    #[test]
    fn set_operators_speak_of_all_or_any_value() {
        let sent: Option<&[&str]> = Some(&["a", "b"]);
        assert!(holds("ForAllValues:StringEquals", json!(["a", "b", "c"]), sent));
        assert!(!holds("ForAllValues:StringEquals", json!("a"), sent));
        assert!(holds("ForAnyValue:StringEquals", json!("b"), sent));
        assert!(!holds("ForAnyValue:StringEquals", json!("c"), sent));
        assert!(holds("StringEquals", json!("b"), sent), "any value, without a set operator");
        assert!(!holds("StringNotEquals", json!("b"), sent), "no value may be b");
    }

    #[test]
    fn what_is_no_operator_or_no_value_of_it_is_refused() {
        for (operator, wanted) in [
            ("StringMatches", json!("a")),
            ("NullIfExists", json!("true")),
            ("ForAllValues:Null", json!("true")),
            ("NumericEquals", json!("x")),
            ("IpAddress", json!("10.0.0.0/33")),
            ("DateEquals", json!("soon")),
            ("Bool", json!("yes")),
            ("StringEquals", json!({"a": 1})),
        ] {
            assert!(Condition::parse(operator, "k", &wanted, true).is_err(), "{operator} {wanted}");
        }
    }
}

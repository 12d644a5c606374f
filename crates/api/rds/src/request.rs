//! Parts that many requests have: tags, filters, pages, and parameters that are not served.

use std::collections::BTreeMap;

use front::Ask;
use serde::Deserialize;
use serde_json::{Map, Value};
use wire::Fault;

use crate::faults;

/// `Tag`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
}

/// The tags of a request, checked. A key given twice is refused.
///
/// # Errors
/// InvalidParameterValue.
pub fn tags(list: &[Tag]) -> Result<BTreeMap<String, String>, Fault> {
    let tags: BTreeMap<_, _> = list.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    if tags.len() != list.len() {
        return Err(faults::value("Duplicate tag keys found. Please note that tag keys are unique."));
    }
    clusters::check_tags(&tags).map_err(|error| faults::value(error.to_string()))?;
    Ok(tags)
}

/// Adds what tags in a create call ask for: their condition keys, and AddTagsToResource.
pub fn ask_tags(mut ask: Ask, list: &[Tag]) -> Vec<Ask> {
    for tag in list {
        ask = ask.with(format!("aws:RequestTag/{}", tag.key), [tag.value.clone()]);
    }
    ask = ask.with("aws:TagKeys", list.iter().map(|tag| tag.key.clone()));
    if list.is_empty() {
        return vec![ask];
    }
    let add = Ask { action: "rds:AddTagsToResource", ..ask.clone() };
    vec![ask, add]
}

/// Adds the tags that a resource has, as condition keys.
pub fn with_tags(mut ask: Ask, prefix: &str, tags: &BTreeMap<String, String>) -> Ask {
    for (key, value) in tags {
        ask = ask.with(format!("aws:ResourceTag/{key}"), [value.clone()]);
        ask = ask.with(format!("rds:{prefix}-tag/{key}"), [value.clone()]);
    }
    ask
}

/// `Filter`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Filter {
    pub name: String,
    #[serde(default)]
    pub values: Vec<String>,
}

/// Applies filters: each keeps what has one of its values. `known` has the values of one item by filter name; the same
/// names for every item.
///
/// # Errors
/// InvalidParameterValue for a name that is not among `names`.
pub fn filter<T>(
    items: Vec<T>,
    filters: &[Filter],
    names: &[&str],
    known: impl Fn(&T, &str) -> Vec<String>,
) -> Result<Vec<T>, Fault> {
    if let Some(unknown) = filters.iter().find(|f| !names.contains(&f.name.as_str())) {
        return Err(faults::value(format!("Unrecognized filter name: {}", unknown.name)));
    }
    let keeps = |item: &T, f: &Filter| {
        let has = known(item, &f.name);
        f.values.iter().any(|value| has.iter().any(|h| h.eq_ignore_ascii_case(value)))
    };
    Ok(items.into_iter().filter(|item| filters.iter().all(|f| keeps(item, f))).collect())
}

/// One page of sorted items: those after the marker, at most `max`, and the marker of the next page.
///
/// # Errors
/// InvalidParameterValue unless `max` is 20 to 100, and for a marker that was not made here.
pub fn page<T>(
    items: Vec<T>,
    max: Option<i64>,
    marker: Option<&str>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), Fault> {
    let max = max.unwrap_or(100);
    let size = usize::try_from(max).ok().filter(|size| (20..=100).contains(size)).ok_or_else(|| {
        faults::value(format!("Invalid value {max} for MaxRecords. Must be between 20 and 100"))
    })?;
    let after = marker.map(read_marker).transpose()?;
    let mut rest: Vec<T> =
        items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after)).collect();
    let more = rest.len() > size;
    rest.truncate(size);
    let next = more.then(|| rest.last().map(|last| hex::encode(format!("{MARKER}{}", key(last))))).flatten();
    Ok((rest, next))
}

/// What every marker begins with, before it is made opaque.
const MARKER: &str = "after:";

fn read_marker(marker: &str) -> Result<String, Fault> {
    let text = hex::decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let after = text.and_then(|text| text.strip_prefix(MARKER).map(str::to_owned));
    after.ok_or_else(|| faults::value("Invalid value for Marker."))
}

/// Parameters of the model that an operation does not read.
pub type Unread = Map<String, Value>;

/// Any value of a parameter that changes nothing here.
pub const ANY: &str = "*";

/// Refuses parameters that would change what happens but are not served. Those in `harmless`, with the value given there
/// or [`ANY`], and all that say no (`false`, zero, nothing) change nothing.
///
/// # Errors
/// InvalidParameterCombination, naming the parameter.
pub fn refuse_unread(unread: &Unread, harmless: &[(&str, &str)]) -> Result<(), Fault> {
    let says_no = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    };
    let is_harmless = |name: &str, value: &Value| {
        let same = |ok: &str| ok == ANY || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(ok));
        harmless.iter().any(|(known, ok)| *known == name && same(ok))
    };
    match unread.iter().find(|(name, value)| !is_harmless(name, value) && !says_no(value)) {
        Some((name, _)) => Err(faults::combination(format!(
            "The parameter {name} is not supported by this server for engine aurora-postgresql."
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_and_end() {
        let items: Vec<u32> = (100..145).collect();
        let key = |n: &u32| n.to_string();
        let (first, marker) = page(items.clone(), Some(20), None, key).unwrap();
        assert_eq!((first.len(), first[19]), (20, 119));
        let (second, marker) = page(items.clone(), Some(20), marker.as_deref(), key).unwrap();
        assert_eq!((second[0], second[19]), (120, 139));
        let (third, marker) = page(items.clone(), Some(20), marker.as_deref(), key).unwrap();
        assert_eq!((third.len(), marker), (5, None));
        for bad in ["", "119", "zz"] {
            assert!(page(items.clone(), None, Some(bad), key).is_err(), "{bad}");
        }
        for bad in [0, 19, 101, -1] {
            assert_eq!(page(items.clone(), Some(bad), None, key).unwrap_err().code, "InvalidParameterValue");
        }
    }

    #[test]
    fn parameters_that_are_not_served_are_refused_unless_they_say_no() {
        let unread = |text: &str| serde_json::from_str::<Unread>(text).unwrap();
        let no = r#"{"BacktrackWindow": 0, "EnableHttpEndpoint": false, "AvailabilityZones": ["a"], "AssociatedRoles": []}"#;
        assert!(refuse_unread(&unread(no), &[("AvailabilityZones", ANY)]).is_ok());
        let mode = unread(r#"{"EngineMode": "Provisioned"}"#);
        assert!(refuse_unread(&mode, &[("EngineMode", "provisioned")]).is_ok());
        assert!(refuse_unread(&mode, &[("EngineMode", "serverless")]).is_err());
        let fault = refuse_unread(&unread(r#"{"BacktrackWindow": 60}"#), &[]).unwrap_err();
        assert_eq!(fault.code, "InvalidParameterCombination");
        assert!(fault.message.unwrap().contains("BacktrackWindow"));
    }

    #[test]
    fn a_tag_key_is_given_once() {
        let tag = |key: &str| Tag { key: key.into(), value: "v".into() };
        assert!(tags(&[tag("a"), tag("b")]).is_ok());
        assert!(tags(&[tag("a"), tag("a")]).is_err());
        assert!(tags(&[tag("aws:a")]).is_err());
    }
}

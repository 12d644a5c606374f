//! The service models: which operations exist and what shape their input and output have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{LazyLock, OnceLock},
};

use regex::Regex;
use serde::Deserialize;

use crate::fault::Audience;

/// The services that answer on the one endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ServiceId {
    Kms,
    Rds,
    Iam,
    Sts,
    CloudTrail,
}

/// How a service speaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Json,
    Query,
}

impl ServiceId {
    /// Every service.
    pub const ALL: [Self; 5] = [Self::Kms, Self::Rds, Self::Iam, Self::Sts, Self::CloudTrail];

    /// The signing name, which is also the prefix of actions: `kms`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::Rds => "rds",
            Self::Iam => "iam",
            Self::Sts => "sts",
            Self::CloudTrail => "cloudtrail",
        }
    }

    /// The service of a signing name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// The `eventSource` of the trail: `kms.amazonaws.com`.
    pub fn event_source(self) -> String {
        format!("{}.amazonaws.com", self.name())
    }

    /// The service's model.
    pub fn model(self) -> &'static Model {
        static MODELS: LazyLock<BTreeMap<ServiceId, Model>> = LazyLock::new(|| {
            ServiceId::ALL.into_iter().map(|service| (service, Model::parse(service.source()))).collect()
        });
        &MODELS[&self]
    }

    /// Whose spelling of shared errors the service uses.
    pub fn audience(self) -> Audience {
        match self.model().metadata.protocol {
            Protocol::Json => Audience::Json,
            Protocol::Query => Audience::Query,
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Kms => include_str!("../models/kms.json"),
            Self::Rds => include_str!("../models/rds.json"),
            Self::Iam => include_str!("../models/iam.json"),
            Self::Sts => include_str!("../models/sts.json"),
            Self::CloudTrail => include_str!("../models/cloudtrail.json"),
        }
    }
}

/// A service: its protocol, operations and shapes.
#[derive(Debug, Deserialize)]
pub struct Model {
    pub metadata: Metadata,
    /// The names of all operations of the real service, served here or not.
    pub known: BTreeSet<String>,
    pub operations: BTreeMap<String, OperationModel>,
    shapes: BTreeMap<String, Shape>,
}

/// What identifies a service on the wire.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub api_version: String,
    pub protocol: Protocol,
    #[serde(default)]
    pub target_prefix: String,
    #[serde(default)]
    pub xml_namespace: String,
}

/// Input and output of one operation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationModel {
    pub input: Option<Reference>,
    pub output: Option<Reference>,
    pub result_wrapper: Option<String>,
}

/// A use of a shape: by a member, a list, a map.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub shape: String,
    /// The name on the wire where it differs from the member's.
    pub location_name: Option<String>,
}

/// A type of the model with its constraints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    #[serde(rename = "type")]
    pub kind: ShapeKind,
    #[serde(default)]
    pub required: Vec<String>,
    #[serde(default)]
    pub members: BTreeMap<String, Reference>,
    pub member: Option<Reference>,
    pub key: Option<Reference>,
    pub value: Option<Reference>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    #[serde(rename = "pattern")]
    pattern_text: Option<String>,
    #[serde(default, rename = "enum")]
    pub choices: Vec<String>,
    #[serde(default)]
    pub sensitive: bool,
    #[serde(default)]
    pub flattened: bool,
    #[serde(skip)]
    compiled: OnceLock<Regex>,
}

/// The types of the models that are served.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ShapeKind {
    Structure,
    List,
    Map,
    String,
    Blob,
    Boolean,
    Integer,
    Long,
    Double,
    Timestamp,
}

impl Model {
    fn parse(source: &str) -> Self {
        serde_json::from_str(source).expect("the models are part of the program, and a test reads each")
    }

    /// The shape that a reference names.
    pub fn shape(&self, reference: &Reference) -> &Shape {
        self.shapes.get(&reference.shape).expect("tools/models.py keeps every shape that is referred to")
    }
}

impl Shape {
    /// The pattern as AWS writes it, for messages.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern_text.as_deref()
    }

    /// Whether the whole text matches the shape's pattern; true where there is none.
    pub fn matches(&self, text: &str) -> bool {
        let Some(pattern) = &self.pattern_text else { return true };
        self.compiled
            .get_or_init(|| {
                let ours = format!("^(?:{})$", translate(pattern));
                Regex::new(&ours).expect("the patterns are part of the program, and a test compiles each")
            })
            .is_match(text)
    }
}

/// AWS writes patterns for Java: `\u0020` for a code point, and `\w`, `\d`, `\s` for ASCII only.
fn translate(pattern: &str) -> String {
    static CODE_POINT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\\u(10[0-9A-F]{4}|[0-9A-F]{4})").expect("a constant"));
    let text = CODE_POINT.replace_all(pattern, r"\u{$1}").into_owned();
    // Order matters: a class inside brackets stays a plain list of ranges.
    text.replace("([a-z0-9]|-(?!-)){1,61}[a-z0-9]", "(-?[a-z0-9])+") // no look-ahead: the length is held apart
        .replace(r"[\w]", "[0-9A-Za-z_]")
        .replace(r"[\w", "[0-9A-Za-z_")
        .replace(r"\s\S", r"\x00-\u{10FFFF}")
        .replace(r"\d", "[0-9]")
        .replace(r"_\s.", "_ \\t\\n\\x0B\\f\\r.")
        .replace("9-_.]", "9_.\\-]")
        .replace("z-:._]", "z\\-:._]")
        .replace(r"\uD7FF\uE000", "\u{D7FF}\u{E000}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_reads_and_every_pattern_compiles() {
        for service in ServiceId::ALL {
            let model = service.model();
            assert!(!model.operations.is_empty());
            for (name, shape) in &model.shapes {
                let _ = shape.matches("x");
                for inner in shape.members.values().chain(&shape.member).chain(&shape.key).chain(&shape.value)
                {
                    assert!(model.shapes.contains_key(&inner.shape), "{name} refers to {}", inner.shape);
                }
            }
        }
    }

    #[test]
    fn word_characters_are_ascii_and_everything_matches_everything() {
        let shape = |pattern: &str| Shape {
            kind: ShapeKind::String,
            required: vec![],
            members: BTreeMap::new(),
            member: None,
            key: None,
            value: None,
            min: None,
            max: None,
            pattern_text: Some(pattern.into()),
            choices: vec![],
            sensitive: false,
            flattened: false,
            compiled: OnceLock::new(),
        };
        let alias = r"^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$";
        for (text, fits) in [("abc", true), ("a-b-c", true), ("a--b", false), ("-ab", false), ("ab-", false)]
        {
            assert_eq!(shape(alias).matches(text), fits, "{text}");
        }
        assert!(shape(r"[\w+=,.@-]+").matches("a.b@c-d_9"));
        assert!(!shape(r"[\w+=,.@-]+").matches("ä"));
        assert!(!shape(r"[\w+=,.@-]+").matches("a b"));
        assert!(shape(r"[\s\S]*").matches("a\nß\u{10000}"));
        assert!(shape(r"^[a-zA-Z0-9-_.]+$").matches("a-b_c."));
        assert!(!shape(r"^[a-zA-Z0-9-_.]+$").matches("a:b"));
        assert!(shape(r"^[a-zA-Z0-9:/_\s.-]+$").matches("a b/c"));
        let plane = r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+";
        assert!(shape(plane).matches("a\u{10001}ß"));
        assert!(!shape(plane).matches("\u{1}"));
    }
}

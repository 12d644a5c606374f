//! Rules for what users name and choose (spec/rds.md §8). Every error's text is the one the caller reads.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// A rule that a parameter's value breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct RuleBroken(pub String);

fn broken(text: impl Into<String>) -> RuleBroken {
    RuleBroken(text.into())
}

/// Checks a master password: 8 to 41 printable ASCII characters, none of `/ " @` and space.
///
/// # Errors
/// [`RuleBroken`], in AWS's words. The password is never part of the text.
pub fn check_master_password(password: &str) -> Result<(), RuleBroken> {
    let because = if password.chars().count() < 8 {
        "because it is shorter than 8 characters."
    } else if password.chars().count() > 41 {
        "because it is longer than 41 characters."
    } else if !password.bytes().all(|b| b.is_ascii_graphic() && !b"/\"@".contains(&b)) {
        "Only printable ASCII characters besides '/', '@', '\"', ' ' may be used."
    } else {
        return Ok(());
    };
    let text = format!("The parameter MasterUserPassword is not a valid password {because}");
    Err(broken(text.replace("password Only", "password. Only")))
}

/// A master user name: 1 to 63 letters, digits and underscores, a letter first, no reserved word of the engine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct MasterUsername(String);

/// Roles that PostgreSQL or the control plane keep for themselves, and key words that cannot name a role.
const RESERVED_ROLES: &[&str] = &[
    "admin",
    "all",
    "current_role",
    "current_user",
    "none",
    "postgres_admin",
    "public",
    "rdsadmin",
    "session_user",
    "user",
];

impl MasterUsername {
    /// Reads a master user name.
    ///
    /// # Errors
    /// [`RuleBroken`], in AWS's words.
    pub fn parse(text: &str) -> Result<Self, RuleBroken> {
        if text.trim().is_empty() {
            return Err(broken("The parameter MasterUsername must be provided and must not be blank."));
        }
        let lower = text.to_ascii_lowercase();
        if RESERVED_ROLES.contains(&lower.as_str()) || lower.starts_with("pg_") || lower.starts_with("rds_") {
            return Err(broken(format!(
                "MasterUsername {text} cannot be used as it is a reserved word used by the engine"
            )));
        }
        if !is_name(text) {
            return Err(broken(
                "The parameter MasterUsername is not a valid identifier. It must begin with a letter, contain only \
                 alphanumeric characters and underscores, and be at most 63 characters long.",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MasterUsername {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of the database made with the cluster: 1 to 63 letters, digits and underscores, a letter first.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DatabaseName(String);

impl DatabaseName {
    /// Reads a database name.
    ///
    /// # Errors
    /// [`RuleBroken`] for other characters and for databases that PostgreSQL has already.
    pub fn parse(text: &str) -> Result<Self, RuleBroken> {
        if ["template0", "template1", "rdsadmin"].contains(&text.to_ascii_lowercase().as_str()) {
            return Err(broken(format!(
                "Database name {text} cannot be used as it is a reserved word for this engine"
            )));
        }
        if !is_name(text) {
            return Err(broken(
                "DatabaseName must begin with a letter and contain only alphanumeric characters and underscores.",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The tags cannot be put on a resource.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidTags {
    #[error("The specified tag key is not valid: it must have between 1 and 128 characters.")]
    Key,
    #[error("The specified tag value is not valid: it must have at most 256 characters.")]
    Value,
    #[error("The tag key must not start with 'aws:', which is reserved.")]
    Reserved,
    #[error("A resource can have at most 50 tags.")]
    TooMany,
}

/// Checks the tags that a resource would have: at most 50, keys of 1 to 128 characters, values of up to 256, `aws:` kept.
///
/// # Errors
/// [`InvalidTags`] names the first rule that is broken.
pub fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), InvalidTags> {
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(InvalidTags::Key);
        }
        if value.chars().count() > 256 {
            return Err(InvalidTags::Value);
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(InvalidTags::Reserved);
        }
    }
    if tags.len() > 50 { Err(InvalidTags::TooMany) } else { Ok(()) }
}

/// The parameter group that a cluster has unless told otherwise: `default.aurora-postgresql16`.
pub fn default_parameter_group(engine: &str, version: &str) -> String {
    let major = version.split('.').next().unwrap_or_default();
    format!("default.{engine}{major}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_8_to_41_printable_characters() {
        assert!(check_master_password("correct-horse!").is_ok());
        assert_eq!(
            check_master_password("short").unwrap_err().to_string(),
            "The parameter MasterUserPassword is not a valid password because it is shorter than 8 characters."
        );
        for bad in ["pass word1", "password/", "password@", "pass\"word", "pässword12", &"x".repeat(42)] {
            let text = check_master_password(bad).unwrap_err().to_string();
            assert!(!text.contains(bad), "{text}");
        }
    }

    #[test]
    fn user_and_database_names_are_plain_words_that_nobody_else_uses() {
        assert!(MasterUsername::parse("dba_1").is_ok());
        for bad in ["", " ", "1a", "a-b", "rdsadmin", "PG_x", "a\"b", "é"] {
            assert!(MasterUsername::parse(bad).is_err(), "{bad}");
        }
        assert!(DatabaseName::parse("orders").is_ok());
        assert!(DatabaseName::parse("postgres").is_ok());
        for bad in ["", "template1", "a b", "a;b", &"a".repeat(64)] {
            assert!(DatabaseName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tags_are_limited() {
        let tags = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(check_tags(&tags("a", "")), Ok(()));
        assert_eq!(check_tags(&tags("", "x")), Err(InvalidTags::Key));
        assert_eq!(check_tags(&tags("AWS:x", "x")), Err(InvalidTags::Reserved));
        assert_eq!(check_tags(&tags("a", &"v".repeat(257))), Err(InvalidTags::Value));
        let many = (0..51).map(|i| (i.to_string(), String::new())).collect();
        assert_eq!(check_tags(&many), Err(InvalidTags::TooMany));
    }
}

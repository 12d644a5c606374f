//! Names of aliases (spec/kms.md §7, §8).

/// What every alias begins with.
const PREFIX: &str = "alias/";

/// Why a name cannot be a user's alias.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadAlias {
    #[error(
        "Alias must start with the prefix \"alias/\". Please see \
         https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    )]
    NoPrefix,
    #[error("{0} contains invalid characters for an alias")]
    Illegal(String),
    /// `alias/aws/…` belongs to the services. AWS answers without a text.
    #[error("the alias is reserved for a service")]
    Reserved,
}

/// Checks the name of an alias that a user makes, moves or removes.
///
/// # Errors
/// [`BadAlias`]
pub fn check_alias(name: &str) -> Result<(), BadAlias> {
    let rest = name.strip_prefix(PREFIX).ok_or(BadAlias::NoPrefix)?;
    if rest.starts_with("aws/") {
        return Err(BadAlias::Reserved);
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-');
    if rest.is_empty() || !rest.bytes().all(legal) { Err(BadAlias::Illegal(name.into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_alias_has_the_prefix_legal_characters_and_no_service_name() {
        assert_eq!(check_alias("alias/team/orders-1_a"), Ok(()));
        assert_eq!(check_alias("orders"), Err(BadAlias::NoPrefix));
        assert_eq!(check_alias("Alias/orders"), Err(BadAlias::NoPrefix));
        assert_eq!(check_alias("alias/aws/rds"), Err(BadAlias::Reserved));
        assert_eq!(check_alias("alias/awsome"), Ok(()));
        for bad in ["alias/", "alias/a:b", "alias/ä"] {
            assert_eq!(check_alias(bad), Err(BadAlias::Illegal(bad.into())));
        }
    }
}

//! Names in requests: identifiers, and ARNs where AWS takes either.

use clusters::Identifier;
use front::Call;
use ids::Arn;
use wire::Fault;

use crate::faults;

/// The kinds of resources that ARNs name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Cluster,
    Instance,
    Snapshot,
}

impl Kind {
    /// The part of an ARN before the name.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Instance => "db",
            Self::Snapshot => "cluster-snapshot",
        }
    }

    /// The ARN of a resource of the caller's account and the call's region; `*` for any.
    pub fn arn(self, call: &Call, name: &str) -> String {
        let resource = format!("{}:{name}", self.prefix());
        Arn::aws("rds", call.region.as_str(), call.account().as_str(), resource).to_string()
    }

    /// This kind's refusal of a name that nothing has.
    pub fn not_found(self, name: &str) -> Fault {
        match self {
            Self::Cluster => faults::cluster_not_found(name),
            Self::Instance => faults::instance_not_found(name),
            Self::Snapshot => faults::snapshot_not_found(name),
        }
    }
}

/// A name for a new resource.
///
/// # Errors
/// InvalidParameterValue, naming the parameter.
pub fn new_identifier(parameter: &str, text: &str, longest: usize) -> Result<Identifier, Fault> {
    Identifier::parse(text, longest).map_err(|_| faults::invalid_identifier(parameter))
}

/// The name of an existing resource, given as identifier or as ARN, in lower case.
///
/// # Errors
/// Not found, for ARNs of another account, region or kind.
pub fn existing(kind: Kind, call: &Call, text: &str) -> Result<String, Fault> {
    if !text.starts_with("arn:") {
        return Ok(text.to_ascii_lowercase());
    }
    let named = text.parse::<Arn>().ok().and_then(|arn| {
        let here = arn.service == "rds"
            && arn.region == call.region.as_str()
            && arn.account == call.account().as_str();
        let (prefix, name) = arn.resource.split_once(':')?;
        (here && prefix == kind.prefix()).then(|| name.to_ascii_lowercase())
    });
    named.ok_or_else(|| kind.not_found(text))
}

/// The kind and name in an ARN that may be of any kind (tags).
///
/// # Errors
/// InvalidParameterValue unless it is the ARN of a cluster, instance or cluster snapshot here.
pub fn any_kind(call: &Call, text: &str) -> Result<(Kind, String), Fault> {
    let invalid = || faults::value(format!("Invalid resource name: {text}"));
    let arn: Arn = text.parse().map_err(|_| invalid())?;
    let (prefix, _) = arn.resource.split_once(':').ok_or_else(invalid)?;
    let kinds = [Kind::Cluster, Kind::Instance, Kind::Snapshot];
    let kind = kinds.into_iter().find(|kind| kind.prefix() == prefix).ok_or_else(invalid)?;
    if arn.service != "rds" || arn.region != call.region.as_str() {
        return Err(invalid());
    }
    Ok((kind, existing(kind, call, text)?))
}

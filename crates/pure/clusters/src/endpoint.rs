//! Names of endpoints (spec/rds.md §3): `<cluster>.cluster-<label>.<region>.<domain>`.

use ids::{AccountId, Region};

use crate::Identifier;

/// Length of the label that all endpoints of one account and region share.
pub const LABEL_LENGTH: usize = 12;

/// Makes the names of the endpoints of one cluster.
#[derive(Clone, Debug)]
pub struct EndpointNames<'a> {
    pub label: &'a str,
    pub region: &'a Region,
    /// `rds.amazonaws.com` on AWS; the operator's own here.
    pub domain: &'a str,
}

impl EndpointNames<'_> {
    /// The label of an account and region: lower-case letters and digits, always the same.
    pub fn label_of(account: &AccountId, region: &Region) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        // FNV-1a: a name has to be stable and short, not secret.
        let bytes = account.as_str().bytes().chain(region.as_str().bytes());
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        (0..LABEL_LENGTH).map(|i| char::from(ALPHABET[(hash >> (5 * i)) as usize % 32])).collect()
    }

    /// Where the writer is reached.
    pub fn writer(&self, cluster: &Identifier) -> String {
        self.name(cluster, "cluster-")
    }

    /// Where the readers are reached.
    pub fn reader(&self, cluster: &Identifier) -> String {
        self.name(cluster, "cluster-ro-")
    }

    /// Where one instance is reached.
    pub fn instance(&self, instance: &Identifier) -> String {
        self.name(instance, "")
    }

    fn name(&self, first: &Identifier, kind: &str) -> String {
        let Self { label, region, domain } = self;
        format!("{first}.{kind}{label}.{region}.{domain}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_pattern_of_aurora() {
        let region = "us-west-2".parse().unwrap();
        let label = EndpointNames::label_of(&"111122223333".parse().unwrap(), &region);
        assert_eq!(label.len(), LABEL_LENGTH);
        let names = EndpointNames { label: "abcdefghijkl", region: &region, domain: "db.example.org" };
        let cluster = Identifier::parse("orders", 63).unwrap();
        assert_eq!(names.writer(&cluster), "orders.cluster-abcdefghijkl.us-west-2.db.example.org");
        assert_eq!(names.reader(&cluster), "orders.cluster-ro-abcdefghijkl.us-west-2.db.example.org");
        assert_eq!(names.instance(&cluster), "orders.abcdefghijkl.us-west-2.db.example.org");
    }
}

//! Which regions a server answers for.

use std::collections::BTreeSet;

use crate::account::Region;

/// The regions of AWS's partition `aws`. Source: `partitions.json` of the botocore package, without `aws-global`.
const COMMERCIAL: [&str; 34] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// A set of regions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Regions(BTreeSet<Region>);

impl Regions {
    /// Every region of AWS's partition `aws`.
    pub fn commercial() -> Self {
        COMMERCIAL.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// Whether a region is among them.
    pub fn serve(&self, region: &Region) -> bool {
        self.0.contains(region)
    }

    /// The regions, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Region> {
        self.0.iter()
    }
}

impl FromIterator<Region> for Regions {
    fn from_iter<I: IntoIterator<Item = Region>>(regions: I) -> Self {
        Self(regions.into_iter().collect())
    }
}

impl Extend<Region> for Regions {
    fn extend<I: IntoIterator<Item = Region>>(&mut self, regions: I) {
        self.0.extend(regions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_of_aws_are_names_of_regions_and_others_come_beside_them() {
        let mut regions = Regions::commercial();
        assert_eq!(regions.iter().count(), COMMERCIAL.len());
        let other: Region = "cellar-1".parse().unwrap();
        assert!(!regions.serve(&other) && regions.serve(&"eu-central-1".parse().unwrap()));
        regions.extend([other.clone()]);
        assert!(regions.serve(&other));
    }
}

//! Grants as lists tell them (spec/kms.md §11).

use std::{collections::BTreeSet, sync::Arc};

use ids::Timestamp;
use kms::{Constraints, Grant, root_of};
use serde::Serialize;
use wire::Fault;

use crate::page::{Limits, Wanted};

/// The answer of ListGrants and ListRetirableGrants.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GrantList {
    grants: Vec<Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key_id: String,
    grant_id: String,
    /// Empty for a grant without one.
    name: String,
    creation_date: Timestamp,
    grantee_principal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    grantee_service_principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_principal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retiring_service_principal: Option<String>,
    issuing_account: String,
    operations: BTreeSet<String>,
    #[serde(skip_serializing_if = "Constraints::is_empty")]
    constraints: Constraints,
}

impl GrantList {
    /// A page of grants, in order of their ids.
    ///
    /// # Errors
    /// As [`Wanted::page`].
    pub fn page(wanted: &Wanted, mut grants: Vec<Arc<Grant>>) -> Result<Self, Fault> {
        grants.sort_by(|left, right| left.id.cmp(&right.id));
        let page = wanted.page(Limits::SHORT, grants, |grant| grant.id.clone())?;
        Ok(Self {
            grants: page.items.iter().map(|grant| entry(grant)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

fn entry(grant: &Grant) -> Entry {
    Entry {
        key_id: grant.key.to_string(),
        grant_id: grant.id.clone(),
        name: grant.name.clone().unwrap_or_default(),
        creation_date: grant.created,
        grantee_principal: grant.grantee.clone(),
        grantee_service_principal: grant.to_service.then(|| grant.grantee.clone()),
        retiring_principal: grant.retiring.clone(),
        retiring_service_principal: grant.retiring.clone().filter(|_| grant.retired_by_service),
        issuing_account: root_of(&grant.issuing_account),
        operations: grant.operations.clone(),
        constraints: grant.constraints.clone(),
    }
}

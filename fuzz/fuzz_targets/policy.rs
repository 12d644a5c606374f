//! Policy documents of every kind: parsing, and decisions by whatever parses.
#![no_main]

use std::sync::Arc;

use iam::{Context, Document, Granted, Kind, Policies, Principal, Request, decide};
use libfuzzer_sys::fuzz_target;

const ACCOUNT: &str = "111122223333";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let identity: Vec<_> = Document::parse(text, Kind::Identity).into_iter().map(Arc::new).collect();
    let key = Document::parse(text, Kind::Key).ok();
    let _ = Document::parse(text, Kind::Trust);
    if identity.is_empty() && key.is_none() {
        return;
    }
    let principal = Principal::User {
        account: ACCOUNT.into(),
        arn: format!("arn:aws:iam::{ACCOUNT}:user/dba"),
        id: "AIDAEXAMPLEEXAMPLE001".into(),
    };
    let mut context = Context::default();
    context.set("aws:CurrentTime", ["2026-01-05T10:11:12Z"]);
    context.set("aws:SourceIp", ["192.0.2.10"]);
    context.set("aws:username", ["dba"]);
    context.set("kms:EncryptionContextKeys", ["aws:rds:db-id", "aws:ebs:id"]);
    context.set("kms:GrantIsForAWSResource", ["true"]);
    context.set("kms:RotationPeriodInDays", ["365"]);
    let resource = format!("arn:aws:kms:us-west-2:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab");
    let request = Request {
        principal: &principal,
        action: "kms:Decrypt",
        resource: &resource,
        resource_account: Some(ACCOUNT),
        context: &context,
    };
    let (resource, granted) = (key.as_ref(), Granted::ToCaller);
    let policies = Policies { identity: &identity, resource, granted, ..Policies::default() };
    let with_grant = decide(&request, &policies);
    let without = decide(&request, &Policies { granted: Granted::No, ..policies });
    assert!(with_grant.is_allowed() || !without.is_allowed(), "a grant took something away");
    let limited = decide(&request, &Policies { session: Some(&identity), ..policies });
    assert!(with_grant.is_allowed() || !limited.is_allowed(), "a session policy gave something");
    let bounded = decide(&request, &Policies { boundary: identity.first().map(|one| &**one), ..policies });
    assert!(with_grant.is_allowed() || !bounded.is_allowed(), "a boundary gave something");
    let denials: Vec<_> = identity.iter().map(|document| Arc::new(document.denials())).collect();
    let denied = Policies { identity: &denials, ..Policies::default() };
    assert!(!decide(&request, &denied).is_allowed(), "denials allowed something");
});

//! `strongroom explain`: why a call was allowed or denied, from its record in the trail. The server may run.
#![allow(clippy::print_stdout, reason = "the explanation is the command's output")]

use std::fmt::Write as _;

use clap::Args;
use trail::{Authorization, DecidedBy, Record};

use super::{Failure, HomeOption, why::shown};

/// Tell why a call was allowed or denied: which statements decided, or what was missing.
#[derive(Args, Debug)]
pub struct Explain {
    /// The id of the event, as LookupEvents tells it, or of the request, as the client was told.
    event: String,
    #[command(flatten)]
    home: HomeOption,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub fn run(self) -> Result<(), Failure> {
        let home = self.home.home();
        super::read_config(&home)?;
        let mut found: Option<Record> = None;
        audit::read_all(&home.trail(), |record| {
            // The owner's copy of a foreign call has the request's id too, and tells less.
            let named = record.event_id == self.event || record.request_id.as_ref() == Some(&self.event);
            let copy = record.user_identity.kind.as_deref() == Some("AWSAccount");
            if named && (!copy || found.is_none()) {
                found = Some(record);
            }
        })?;
        let nothing = || Failure::usage(format!("the trail has no event or request {}", self.event));
        let record = found.ok_or_else(nothing)?;
        if self.json {
            println!("{:#}", serde_json::to_value(&record)?);
        } else {
            print!("{}", as_text(&record));
        }
        Ok(())
    }
}

fn as_text(record: &Record) -> String {
    let mut text = String::new();
    let identity = &record.user_identity;
    let who = identity.arn.as_ref().or(identity.invoked_by.as_ref()).map_or("somebody", String::as_str);
    let via = identity.invoked_by.as_ref().filter(|_| identity.arn.is_some());
    let via = via.map(|service| format!(" via {}", shown(service))).unwrap_or_default();
    let (service, at) = (&record.event_source, record.event_time.iso8601_seconds());
    let _ = writeln!(text, "{} {} by {}{via}, {at}", shown(service), shown(&record.event_name), shown(who));
    match (&record.error_code, &record.error_message) {
        (None, _) => text.push_str("The call succeeded.\n"),
        (Some(code), None) => _ = writeln!(text, "The call failed: {}", shown(code)),
        (Some(code), Some(message)) => {
            let _ = writeln!(text, "The call failed: {}: {}", shown(code), shown(message));
        }
    }
    if record.authorization.is_empty() {
        text.push_str("\nNo policy was asked: everybody may make this call, or it ended before that.\n");
    }
    for asked in &record.authorization {
        text.push_str(&question(asked, identity.kind.as_deref()));
    }
    text
}

fn question(asked: &Authorization, kind: Option<&str>) -> String {
    let mut text = format!("\n{} on {}\n", shown(&asked.action), shown(&asked.resource));
    if !asked.allowed {
        let reason = asked.reason.as_deref().unwrap_or("for a reason that is not recorded");
        let _ = writeln!(text, "  denied {}", shown(reason));
        listed(&mut text, "denied by", &asked.by);
        for miss in &asked.near_misses {
            let _ = writeln!(text, "  would be allowed by {}, but for", named(&miss.statement));
            for why in &miss.why {
                let _ = writeln!(text, "    {}", shown(why));
            }
        }
        if asked.by.is_empty() && asked.near_misses.is_empty() {
            text.push_str("  no statement of any policy allows this action to this caller\n");
        }
        return text;
    }
    text.push_str("  allowed\n");
    if asked.granted {
        text.push_str("  a grant on the key covers it\n");
    }
    listed(&mut text, "allowed by", &asked.by);
    if asked.by.is_empty() && !asked.granted && kind == Some("Root") {
        text.push_str("  the root user of an account may do everything in it\n");
    }
    text
}

fn listed(text: &mut String, verb: &str, statements: &[DecidedBy]) {
    for statement in statements {
        let _ = writeln!(text, "  {verb} {}", named(statement));
    }
}

/// `statement Look of inline policy p of user dba (identity-based policy)`
fn named(by: &DecidedBy) -> String {
    format!("statement {} of {} ({})", shown(&by.statement), shown(&by.policy), shown(&by.kind))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(changes: Value) -> Record {
        let mut record = json!({
            "eventVersion": "1.11",
            "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/dba"},
            "eventTime": "2026-01-05T10:00:00Z", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt",
            "awsRegion": "us-west-2", "sourceIPAddress": "192.0.2.10", "requestParameters": null,
            "responseElements": null, "eventID": "e", "readOnly": true, "eventType": "AwsApiCall",
            "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management"
        });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_denial_tells_what_was_missing() {
        let text = as_text(&record(json!({
            "errorCode": "AccessDenied", "errorMessage": "no\u{1b}[31m",
            "authorization": [{
                "action": "kms:Decrypt", "resource": "arn:k", "allowed": false,
                "reason": "because no identity-based policy allows the kms:Decrypt action",
                "nearMisses": [{
                    "kind": "identity-based policy", "policy": "inline policy p of user dba", "statement": "#2",
                    "why": ["StringEquals kms:viaservice (the request has no such key)"],
                }],
            }],
        })));
        assert_eq!(
            text,
            "\
kms.amazonaws.com Decrypt by arn:aws:iam::111122223333:user/dba, 2026-01-05T10:00:00Z
The call failed: AccessDenied: no\u{fffd}[31m

kms:Decrypt on arn:k
  denied because no identity-based policy allows the kms:Decrypt action
  would be allowed by statement #2 of inline policy p of user dba (identity-based policy), but for
    StringEquals kms:viaservice (the request has no such key)
"
        );
    }

    #[test]
    fn what_was_allowed_tells_by_whom() {
        let by = json!([{"kind": "resource-based policy", "policy": "key policy", "statement": "Use"}]);
        let asked = json!({"action": "kms:Decrypt", "resource": "arn:k", "allowed": true});
        let told = |changes: Value, kind: &str| {
            let mut asked = asked.clone();
            asked.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            as_text(&record(json!({"authorization": [asked], "userIdentity": {"type": kind}})))
        };
        let text = told(json!({"by": by}), "IAMUser");
        assert!(
            text.ends_with("  allowed\n  allowed by statement Use of key policy (resource-based policy)\n"),
            "{text}"
        );
        assert!(told(json!({"granted": true}), "IAMUser").ends_with("  a grant on the key covers it\n"));
        assert!(told(json!({}), "Root").ends_with("  the root user of an account may do everything in it\n"));
        let text = as_text(&record(json!({})));
        assert!(text.contains("No policy was asked"), "{text}");
    }
}

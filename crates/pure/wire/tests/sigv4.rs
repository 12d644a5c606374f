//! Signatures against the published vectors of AWS and against the rules of spec/policy.md §10.

use ids::Timestamp;
use wire::{
    Audience, ServiceId,
    sigv4::{Request, Signature, SigningKey, check_time, sign},
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

/// AWS General Reference, "Examples of signed requests": IAM ListUsers.
#[test]
fn the_published_example_verifies() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    let headers = headers(&[
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("host", "iam.amazonaws.com"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", authorization),
    ]);
    let request = Request {
        method: "GET",
        path: "/",
        query: "Action=ListUsers&Version=2010-05-08",
        headers: &headers,
        body: b"",
    };
    let signature = Signature::parse(&request, Audience::Query).unwrap();
    let key = SigningKey::derive(SECRET, &signature.date, &signature.region, &signature.service);
    signature.verify(&request, &key, Audience::Query).unwrap();
    signature.check_scope(ServiceId::Iam).unwrap();
    let signed = Timestamp::parse("2015-08-30T12:36:00Z").unwrap();
    check_time(&signature, signed, Audience::Query).unwrap();
    assert!(
        check_time(&signature, signed.plus(std::time::Duration::from_secs(901)), Audience::Query).is_err()
    );
    assert!(
        check_time(&signature, signed.minus(std::time::Duration::from_secs(901)), Audience::Query).is_err()
    );
}

fn signed(body: &[u8], extra: &[(&str, &str)]) -> Vec<(String, String)> {
    let now = Timestamp::parse("2026-01-01T00:00:00Z").unwrap();
    let mut all = headers(&[("host", "localhost:4566"), ("x-amz-date", "20260101T000000Z")]);
    all.extend(headers(extra));
    let request = Request { method: "POST", path: "/", query: "", headers: &all, body };
    let authorization = sign(&request, "AKIA1", SECRET, "us-west-2", "kms", now);
    all.push(("authorization".into(), authorization));
    all
}

fn accepted(headers: &[(String, String)], method: &str, path: &str, query: &str, body: &[u8]) -> bool {
    let request = Request { method, path, query, headers, body };
    let Ok(signature) = Signature::parse(&request, Audience::Json) else { return false };
    let key = SigningKey::derive(SECRET, &signature.date, &signature.region, &signature.service);
    signature.verify(&request, &key, Audience::Json).is_ok()
}

#[test]
fn anything_changed_after_signing_is_refused() {
    let body = b"{}";
    let good = signed(body, &[("x-amz-target", "TrentService.ListKeys")]);
    assert!(accepted(&good, "POST", "/", "", body));
    assert!(!accepted(&good, "PUT", "/", "", body));
    assert!(!accepted(&good, "POST", "/x", "", body));
    assert!(!accepted(&good, "POST", "/", "a=1", body));
    assert!(!accepted(&good, "POST", "/", "", b"{ }"));
    for index in 0..good.len() - 1 {
        let mut changed = good.clone();
        changed[index].1.push('x');
        assert!(!accepted(&changed, "POST", "/", "", body), "{}", changed[index].0);
    }
    let mut added = good.clone();
    added.push(("x-amz-security-token".into(), "t".into()));
    assert!(!accepted(&added, "POST", "/", "", body), "an unsigned x-amz header");
    let mut doubled = good.clone();
    doubled.push(("x-amz-target".into(), "TrentService.DisableKey".into()));
    assert!(!accepted(&doubled, "POST", "/", "", body), "a doubled header");
    let mut twice = good;
    let again = twice.last().unwrap().clone();
    twice.push(again);
    assert!(!accepted(&twice, "POST", "/", "", body), "two authorizations");
}

#[test]
fn a_wrong_body_hash_is_refused() {
    let good = signed(b"{}", &[("x-amz-content-sha256", "UNSIGNED-PAYLOAD")]);
    assert!(!accepted(&good, "POST", "/", "", b"{}"));
}

#[test]
fn malformed_authorizations_are_incomplete() {
    for text in [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/kms/aws4_request",
        "AWS4-HMAC-SHA256 Credential=a/20260101/r/kms/aws4_request, SignedHeaders=host, Signature=zz",
        "AWS4-HMAC-SHA256 Credential=a/kms/aws4_request, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=a, Credential=b, SignedHeaders=host, Signature=00",
    ] {
        let headers = headers(&[("host", "h"), ("x-amz-date", "20260101T000000Z"), ("authorization", text)]);
        let request = Request { method: "POST", path: "/", query: "", headers: &headers, body: b"" };
        let fault = Signature::parse(&request, Audience::Json).unwrap_err();
        assert_eq!(fault.code, "IncompleteSignatureException", "{text}");
    }
    let request = Request { method: "POST", path: "/", query: "", headers: &[], body: b"" };
    assert_eq!(Signature::parse(&request, Audience::Query).unwrap_err().code, "MissingAuthenticationToken");
}

proptest::proptest! {
    #[test]
    fn no_header_or_query_makes_it_panic(authorization in ".*", query in ".*", date in ".*") {
        let headers = headers(&[("authorization", authorization.as_str()), ("x-amz-date", date.as_str())]);
        let request = Request { method: "POST", path: "/", query: &query, headers: &headers, body: b"" };
        let _ = Signature::parse(&request, Audience::Json);
        let presigned = format!("{query}&X-Amz-Signature={date}");
        let request = Request { method: "GET", path: "/", query: &presigned, headers: &[], body: b"" };
        let _ = Signature::parse(&request, Audience::Query);
    }
}

//! The published test suite of AWS Signature Version 4 (`aws-sig-v4-test-suite`, 2015-08-30): each request is proven by
//! the suite's signature, and by no other.

use wire::{
    Audience,
    sigv4::{Request, Signature, SigningKey},
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SLASH: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
const QUERY: &str = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11";
const POST: &str = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";

/// Name in the suite, method, path, query, further headers in the order of the suite, body, signature.
type Vector<'a> = (&'a str, &'a str, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[test]
fn every_request_of_the_suite_is_proven_by_its_signature() {
    let unreserved_path = format!("/{UNRESERVED}");
    let unreserved_query = format!("{UNRESERVED}={UNRESERVED}");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let vectors: &[Vector<'_>] = &[
        ("get-vanilla", "GET", "/", "", &[], "", SLASH),
        ("get-slash", "GET", "//", "", &[], "", SLASH),
        ("get-slash-dot-slash", "GET", "/./", "", &[], "", SLASH),
        ("get-relative", "GET", "/example/..", "", &[], "", SLASH),
        ("get-relative-relative", "GET", "/example1/example2/../..", "", &[], "", SLASH),
        (
            "get-slashes",
            "GET",
            "//example//",
            "",
            &[],
            "",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "get-slash-pointless-dot",
            "GET",
            "/./example",
            "",
            &[],
            "",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
        ),
        (
            "get-space",
            "GET",
            "/example space/",
            "",
            &[],
            "",
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
        ),
        (
            "get-utf8",
            "GET",
            "/ሴ",
            "",
            &[],
            "",
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
        ),
        (
            "get-unreserved",
            "GET",
            &unreserved_path,
            "",
            &[],
            "",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-vanilla-empty-query-key",
            "GET",
            "/",
            "Param1=value1",
            &[],
            "",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/",
            "Param2=value2&Param1=value1",
            &[],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-unreserved",
            "GET",
            "/",
            &unreserved_query,
            &[],
            "",
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
        ),
        (
            "get-vanilla-utf8-query",
            "GET",
            "/",
            "ሴ=bar",
            &[],
            "",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "get-header-key-duplicate",
            "GET",
            "/",
            "",
            &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
            "",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "get-header-value-order",
            "GET",
            "/",
            "",
            &[
                ("my-header1", "value4"),
                ("my-header1", "value1"),
                ("my-header1", "value3"),
                ("my-header1", "value2"),
            ],
            "",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "get-header-value-trim",
            "GET",
            "/",
            "",
            &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
            "",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        ("post-vanilla", "POST", "/", "", &[], "", POST),
        ("post-vanilla-query", "POST", "/", "Param1=value1", &[], "", QUERY),
        (
            "post-header-key-sort",
            "POST",
            "/",
            "",
            &[("my-header1", "value1")],
            "",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "post-header-value-case",
            "POST",
            "/",
            "",
            &[("my-header1", "VALUE1")],
            "",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "post-x-www-form-urlencoded",
            "POST",
            "/",
            "",
            &[form],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ];
    for (name, method, path, query, further, body, expected) in vectors {
        let proven = |signature: &str, body: &str| {
            let mut names: Vec<&str> =
                further.iter().map(|(name, _)| *name).chain(["host", "x-amz-date"]).collect();
            names.sort_unstable();
            names.dedup();
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={}, \
                 Signature={signature}",
                names.join(";")
            );
            let own = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
            let last = [("authorization", authorization.as_str())];
            let all = own.iter().chain(*further).chain(&last);
            let headers: Vec<_> =
                all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let request = Request { method, path, query, headers: &headers, body: body.as_bytes() };
            let signature = Signature::parse(&request, Audience::Query).unwrap();
            let key = SigningKey::derive(SECRET, &signature.date, &signature.region, &signature.service);
            signature.verify(&request, &key, Audience::Query).is_ok()
        };
        assert!(proven(expected, body), "{name}");
        assert!(!proven(expected, "another body"), "{name} with another body");
        let wrong = format!("{}{}", if expected.starts_with('0') { '1' } else { '0' }, &expected[1..]);
        assert!(!proven(&wrong, body), "{name} with another signature");
    }
}

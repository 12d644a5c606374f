//! Regions: what is in one is not seen from another, and what related multi-Region keys do for each other.

use serde_json::{Value, json};

use crate::world::{OWNER, REGION, World, code, expect, refusal, root, text};

const THERE: &str = "eu-west-1";
const MRK: &str = "mrk-";

fn id(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn keys_aliases_and_the_key_of_rds_are_those_of_one_region() {
    let world = World::new().await;
    let root = root(OWNER);
    let here = world.key().await;
    world.call(&root, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": here})).await.unwrap();
    for (input, told) in [
        (here.as_str(), format!("Invalid arn {REGION}")),
        (id(&here), format!("Key '{}' does not exist", here.replace(REGION, THERE))),
        ("alias/a", format!("Alias arn:aws:kms:{THERE}:{OWNER}:alias/a is not found.")),
    ] {
        let answer = world.call_in(THERE, &root, "DescribeKey", json!({"KeyId": input})).await;
        assert_eq!(refusal(answer), expect("NotFoundException", told));
    }
    let made = world.done_in(THERE, "CreateKey", json!({})).await;
    let there = text(&made["KeyMetadata"], "Arn").to_owned();
    world.done_in(THERE, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": there})).await;
    let managed = json!({"KeyId": "alias/aws/rds"});
    let (rds_here, rds_there) = (
        world.done_in(REGION, "DescribeKey", managed.clone()).await,
        world.done_in(THERE, "DescribeKey", managed).await,
    );
    assert_ne!(rds_here["KeyMetadata"]["KeyId"], rds_there["KeyMetadata"]["KeyId"]);
    for (region, own, rds) in [(REGION, &here, &rds_here), (THERE, &there, &rds_there)] {
        let listed = world.done_in(region, "ListKeys", json!({})).await;
        let arns: Vec<_> = listed["Keys"].as_array().unwrap().iter().map(|key| text(key, "KeyArn")).collect();
        assert!(arns.len() == 2 && arns.contains(&own.as_str()), "{arns:?}");
        assert!(arns.contains(&text(&rds["KeyMetadata"], "Arn")), "{arns:?}");
        let aliases = world.done_in(region, "ListAliases", json!({})).await;
        assert_eq!(aliases["Aliases"][0]["TargetKeyId"], id(own));
    }
    let sealed = world.done_in(REGION, "Encrypt", json!({"KeyId": here, "Plaintext": "eA=="})).await;
    let open = json!({"CiphertextBlob": sealed["CiphertextBlob"]});
    let refused = refusal(world.call_in(THERE, &root, "Decrypt", open).await);
    assert_eq!(refused.0, "AccessDeniedException");
    assert!(refused.1.contains("does not exist in this Region"), "{}", refused.1);
}

#[tokio::test]
async fn a_multi_region_key_tells_where_it_and_its_replicas_are() {
    let world = World::new().await;
    let made = world.done_in(REGION, "CreateKey", json!({"MultiRegion": true})).await["KeyMetadata"].clone();
    let primary = text(&made, "Arn").to_owned();
    assert!(id(&primary).starts_with(MRK) && id(&primary).len() == 36);
    assert_eq!((text(&made, "KeyState"), &made["MultiRegion"]), ("Enabled", &json!(true)));
    let place = |arn: &str| json!({"Arn": arn, "Region": arn.split(':').nth(3).unwrap()});
    let alone = json!({
        "MultiRegionKeyType": "PRIMARY", "PrimaryKey": place(&primary), "ReplicaKeys": [],
    });
    assert_eq!(made["MultiRegionConfiguration"], alone);

    let replicas: Vec<_> = [THERE, "ap-south-1"].map(|region| primary.replace(REGION, region)).into();
    for replica in &replicas {
        let region = replica.split(':').nth(3).unwrap();
        let input = json!({"KeyId": primary, "ReplicaRegion": region, "Description": "theirs"});
        let answer = world.done_in(REGION, "ReplicateKey", input).await;
        let told = &answer["ReplicaKeyMetadata"];
        assert_eq!((text(told, "Arn"), text(told, "KeyState")), (replica.as_str(), "Creating"));
        assert_eq!((&told["Enabled"], &told["Description"]), (&json!(false), &json!("theirs")));
        assert_eq!(answer["ReplicaTags"], json!([]));
        assert!(text(&answer, "ReplicaPolicy").contains("key-default-1"));
        let use_it = json!({"KeyId": replica, "Plaintext": "eA=="});
        let refused = expect("KMSInvalidStateException", format!("{replica} is creating."));
        assert_eq!(refusal(world.call_in(region, &root(OWNER), "Encrypt", use_it).await), refused);
    }
    world.due().await;
    let world = world.restarted().await;
    // In order of their regions.
    let known = json!([place(&replicas[1]), place(&replicas[0])]);
    for (key, kind) in [(&primary, "PRIMARY"), (&replicas[0], "REPLICA"), (&replicas[1], "REPLICA")] {
        let region = key.split(':').nth(3).unwrap();
        let told = world.done_in(region, "DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone();
        assert_eq!((text(&told, "KeyState"), text(&told, "Arn")), ("Enabled", key.as_str()));
        let configuration = json!({
            "MultiRegionKeyType": kind, "PrimaryKey": place(&primary), "ReplicaKeys": known,
        });
        assert_eq!(told["MultiRegionConfiguration"], configuration);
        assert_eq!(told["CurrentKeyMaterialId"], made["CurrentKeyMaterialId"], "one material");
    }
    let single = world.done_in(REGION, "CreateKey", json!({})).await;
    assert_eq!(single["KeyMetadata"]["MultiRegion"], false);
    assert!(single["KeyMetadata"].get("MultiRegionConfiguration").is_none());
}

#[tokio::test]
async fn what_one_related_key_seals_any_other_opens() {
    let world = World::new().await;
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    let replica = world.replica(&primary, THERE).await;
    let other = world.done_in(THERE, "CreateKey", json!({})).await;
    let context = json!({"team": "a"});
    for (from, sealing, to, opening) in
        [(REGION, &primary, THERE, &replica), (THERE, &replica, REGION, &primary)]
    {
        let input = json!({"KeyId": sealing, "KeySpec": "AES_256", "EncryptionContext": context});
        let sealed = world.done_in(from, "GenerateDataKey", input).await;
        let open = json!({"CiphertextBlob": sealed["CiphertextBlob"], "EncryptionContext": context});
        let mut named = open.clone();
        named["KeyId"] = json!(opening);
        for open in [&open, &named] {
            let opened = world.done_in(to, "Decrypt", open.clone()).await;
            assert_eq!(
                (&opened["Plaintext"], text(&opened, "KeyId")),
                (&sealed["Plaintext"], opening.as_str())
            );
            assert_eq!(opened["KeyMaterialId"], sealed["KeyMaterialId"]);
        }
        let mut wrong = open.clone();
        wrong["EncryptionContext"] = json!({});
        let refused = world.call_in(to, &root(OWNER), "Decrypt", wrong).await.unwrap_err();
        assert_eq!(refused.code, "InvalidCiphertextException");
        if to == THERE {
            let mut elsewhere = open;
            elsewhere["KeyId"] = other["KeyMetadata"]["Arn"].clone();
            let refused = world.call_in(to, &root(OWNER), "Decrypt", elsewhere).await;
            assert_eq!(code(refused), "IncorrectKeyException");
        }
    }
    // Sealed here, opened and sealed again there, opened here.
    let sealed = world.done_in(REGION, "Encrypt", json!({"KeyId": primary, "Plaintext": "eA=="})).await;
    let again = json!({"CiphertextBlob": sealed["CiphertextBlob"], "DestinationKeyId": replica});
    let again = world.done_in(THERE, "ReEncrypt", again).await;
    assert_eq!((text(&again, "SourceKeyId"), text(&again, "KeyId")), (replica.as_str(), replica.as_str()));
    let opened = world.done_in(REGION, "Decrypt", json!({"CiphertextBlob": again["CiphertextBlob"]})).await;
    assert_eq!(opened["Plaintext"], "eA==");
    // Where no related key is, there is nothing to open it with.
    let open = json!({"CiphertextBlob": sealed["CiphertextBlob"]});
    let refused = world.call_in("ap-south-1", &root(OWNER), "Decrypt", open).await;
    assert_eq!(code(refused), "AccessDeniedException");
}

#[tokio::test]
async fn macs_signatures_and_shared_secrets_are_the_same_in_every_region() {
    let world = World::new().await;
    let make = |spec: &str, usage: &str| json!({"MultiRegion": true, "KeySpec": spec, "KeyUsage": usage});
    let both = async |input: Value| {
        let primary = world.key_with(input).await;
        let replica = world.replica(&primary, THERE).await;
        (primary, replica)
    };
    let (primary, replica) = both(make("HMAC_256", "GENERATE_VERIFY_MAC")).await;
    let input = |key: &str| json!({"KeyId": key, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256"});
    let made = world.done_in(REGION, "GenerateMac", input(&primary)).await;
    assert_eq!(made["Mac"], world.done_in(THERE, "GenerateMac", input(&replica)).await["Mac"]);
    let mut verify = input(&replica);
    verify["Mac"] = made["Mac"].clone();
    assert_eq!(world.done_in(THERE, "VerifyMac", verify).await["MacValid"], true);

    let (primary, replica) = both(make("ECC_NIST_P256", "SIGN_VERIFY")).await;
    let input = |key: &str| json!({"KeyId": key, "Message": "eA==", "SigningAlgorithm": "ECDSA_SHA_256"});
    let mut verify = input(&primary);
    verify["Signature"] = world.done_in(THERE, "Sign", input(&replica)).await["Signature"].clone();
    assert_eq!(world.done_in(REGION, "Verify", verify).await["SignatureValid"], true);
    let public = async |region: &str, key: &str| {
        world.done_in(region, "GetPublicKey", json!({"KeyId": key})).await["PublicKey"].clone()
    };
    assert_eq!(public(REGION, &primary).await, public(THERE, &replica).await);

    let (primary, replica) = both(make("RSA_2048", "ENCRYPT_DECRYPT")).await;
    let oaep = "RSAES_OAEP_SHA_256";
    let seal = json!({"KeyId": primary, "Plaintext": "eA==", "EncryptionAlgorithm": oaep});
    let sealed = world.done_in(REGION, "Encrypt", seal).await;
    let open =
        json!({"KeyId": replica, "CiphertextBlob": sealed["CiphertextBlob"], "EncryptionAlgorithm": oaep});
    assert_eq!(world.done_in(THERE, "Decrypt", open).await["Plaintext"], "eA==");
}

#[tokio::test]
async fn policy_description_tags_aliases_grants_and_state_are_each_keys_own() {
    let world = World::new().await;
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    world
        .done_in(REGION, "TagResource", json!({"KeyId": primary, "Tags": [{"TagKey": "a", "TagValue": "1"}]}))
        .await;
    world.done_in(REGION, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": primary})).await;
    let grant = json!({"KeyId": primary, "GranteePrincipal": root(OWNER).arn(), "Operations": ["Decrypt"]});
    let token = world.done_in(REGION, "CreateGrant", grant).await["GrantToken"].clone();
    let replica = world.replica(&primary, THERE).await;
    let of = json!({"KeyId": replica});
    assert_eq!(world.done_in(THERE, "ListResourceTags", of.clone()).await["Tags"], json!([]));
    assert_eq!(world.done_in(THERE, "ListAliases", of.clone()).await["Aliases"], json!([]));
    assert_eq!(world.done_in(THERE, "ListGrants", of.clone()).await["Grants"], json!([]));
    let retire = world.call_in(THERE, &root(OWNER), "RetireGrant", json!({"GrantToken": token})).await;
    assert_eq!(code(retire), "InvalidGrantTokenException");
    let with = json!({"KeyId": replica, "GrantTokens": [token]});
    let refused = world.call_in(THERE, &root(OWNER), "DescribeKey", with).await;
    assert_eq!(code(refused), "InvalidGrantTokenException");
    world.done_in(REGION, "RetireGrant", json!({"GrantToken": token})).await;
    world.done_in(THERE, "CreateAlias", json!({"AliasName": "alias/a", "TargetKeyId": replica})).await;
    world.done_in(THERE, "UpdateKeyDescription", json!({"KeyId": replica, "Description": "d"})).await;
    world.done_in(THERE, "DisableKey", of.clone()).await;
    let told = world.done_in(REGION, "DescribeKey", json!({"KeyId": primary})).await["KeyMetadata"].clone();
    assert_eq!((text(&told, "KeyState"), text(&told, "Description")), ("Enabled", ""));
    let by_alias = json!({"KeyId": "alias/a", "Plaintext": "eA=="});
    world.done_in(REGION, "Encrypt", by_alias.clone()).await;
    assert_eq!(code(world.call_in(THERE, &root(OWNER), "Encrypt", by_alias).await), "DisabledException");
    let refused = world.call_in(THERE, &root(OWNER), "DescribeKey", json!({"KeyId": primary})).await;
    assert_eq!(refusal(refused), expect("NotFoundException", format!("Invalid arn {REGION}")));
    assert_eq!(
        world.done_in(THERE, "DescribeKey", json!({"KeyId": id(&primary)})).await["KeyMetadata"]["Arn"],
        replica
    );
}

#[tokio::test]
async fn a_key_of_one_region_has_no_replicas_and_a_replica_none_of_its_own() {
    let world = World::new().await;
    let root = root(OWNER);
    let single = world.key().await;
    let primary = world.key_with(json!({"MultiRegion": true})).await;
    let replica = world.replica(&primary, THERE).await;
    let not = |key: &str| {
        expect("UnsupportedOperationException", format!("{key} is not a multi-region primary key."))
    };
    for (region, key) in [(REGION, &single), (THERE, &replica)] {
        let to = json!({"KeyId": key, "ReplicaRegion": "ap-south-1"});
        assert_eq!(refusal(world.call_in(region, &root, "ReplicateKey", to).await), not(key));
        let to = json!({"KeyId": key, "PrimaryRegion": "ap-south-1"});
        assert_eq!(refusal(world.call_in(region, &root, "UpdatePrimaryRegion", to).await), not(key));
    }
    for region in [REGION, THERE] {
        let again =
            world.call(&root, "ReplicateKey", json!({"KeyId": primary, "ReplicaRegion": region})).await;
        assert_eq!(code(again), "AlreadyExistsException", "{region}");
    }
    for (region, refused) in
        [("no-where-1", "UnsupportedOperationException"), ("nowhere", "ValidationException")]
    {
        let to = json!({"KeyId": primary, "ReplicaRegion": region});
        assert_eq!(code(world.call(&root, "ReplicateKey", to).await), refused);
    }
    let nobody = json!({"KeyId": primary, "PrimaryRegion": "ap-south-1"});
    let gone = format!("Key '{}' does not exist", primary.replace(REGION, "ap-south-1"));
    assert_eq!(
        refusal(world.call(&root, "UpdatePrimaryRegion", nobody).await),
        expect("NotFoundException", gone)
    );
    let same = json!({"KeyId": primary, "PrimaryRegion": REGION});
    assert_eq!(code(world.call(&root, "UpdatePrimaryRegion", same).await), "UnsupportedOperationException");
}

// The AWS SDK for JavaScript against the server that the environment names: what a client does with keys, from making one
// to losing it. Ends with 0 if every answer is as it should be.

import assert from "node:assert/strict";
import {
  CreateGrantCommand, CreateKeyCommand, DecryptCommand, DisableKeyCommand, DisabledException, EncryptCommand,
  GenerateDataKeyCommand, GenerateMacCommand, InvalidCiphertextException, KMSClient, KMSInvalidSignatureException,
  NotFoundException, RetireGrantCommand, SignCommand, VerifyCommand, VerifyMacCommand, DescribeKeyCommand, paginateListKeys,
} from "@aws-sdk/client-kms";

const client = new KMSClient({ maxAttempts: 1 });
const send = (Command, input) => client.send(new Command(input));
const make = async (input) => (await send(CreateKeyCommand, input)).KeyMetadata;
const bytes = (text) => new TextEncoder().encode(text);

const key = await make({ Description: "of the JavaScript SDK" });
assert(key.CreationDate instanceof Date && key.Enabled);
const EncryptionContext = { table: "orders" };
const sealed = await send(EncryptCommand, { KeyId: key.KeyId, Plaintext: bytes("secret"), EncryptionContext });
const opened = await send(DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob, EncryptionContext });
assert.equal(new TextDecoder().decode(opened.Plaintext), "secret");
assert.equal(opened.KeyId, key.Arn);
await assert.rejects(send(DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob }), InvalidCiphertextException);

const data = await send(GenerateDataKeyCommand, { KeyId: key.Arn, KeySpec: "AES_256", EncryptionContext });
const again = await send(DecryptCommand, { CiphertextBlob: data.CiphertextBlob, EncryptionContext });
assert.deepEqual(again.Plaintext, data.Plaintext);

const signer = await make({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" });
const signing = { KeyId: signer.KeyId, SigningAlgorithm: "ECDSA_SHA_256" };
const { Signature } = await send(SignCommand, { ...signing, Message: bytes("signed") });
assert((await send(VerifyCommand, { ...signing, Message: bytes("signed"), Signature })).SignatureValid);
await assert.rejects(send(VerifyCommand, { ...signing, Message: bytes("other"), Signature }), KMSInvalidSignatureException);

const mac = await make({ KeySpec: "HMAC_256", KeyUsage: "GENERATE_VERIFY_MAC" });
const macking = { KeyId: mac.KeyId, MacAlgorithm: "HMAC_SHA_256", Message: bytes("counted") };
const { Mac } = await send(GenerateMacCommand, macking);
assert((await send(VerifyMacCommand, { ...macking, Mac })).MacValid);

const grantee = key.Arn.replace(/^arn:aws:kms:[^:]*:(\d+):.*/, "arn:aws:iam::$1:root");
const grant = await send(CreateGrantCommand, { KeyId: key.KeyId, GranteePrincipal: grantee, Operations: ["Decrypt"] });
await send(RetireGrantCommand, { GrantToken: grant.GrantToken });

const listed = [];
for await (const page of paginateListKeys({ client, pageSize: 1 }, {})) listed.push(...page.Keys.map((entry) => entry.KeyId));
for (const made of [key, signer, mac]) assert(listed.includes(made.KeyId));

await assert.rejects(send(DescribeKeyCommand, { KeyId: "1234abcd-12ab-34cd-56ef-1234567890ab" }), NotFoundException);
await send(DisableKeyCommand, { KeyId: key.KeyId });
await assert.rejects(send(DecryptCommand, { CiphertextBlob: sealed.CiphertextBlob, EncryptionContext }), DisabledException);

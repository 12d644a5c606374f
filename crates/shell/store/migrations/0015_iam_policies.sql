-- Names for accounts, beside their ids: one an account, and no two accounts have the same.
CREATE TABLE iam_account_aliases (
    account TEXT NOT NULL PRIMARY KEY REFERENCES iam_accounts (id),
    alias   TEXT NOT NULL UNIQUE
);

-- Managed policies have versions: what was their one document becomes `v1`. Users have groups, which are rows of
-- `iam_entities` as well (AGPA…, kind `group`).
UPDATE iam_entities
SET body = json_set(
    json_remove(body, '$.policy'),
    '$.versions', json_array(json_object(
        'number', 1,
        'created', json_extract(body, '$.created'),
        'policy', json_extract(body, '$.policy'))),
    '$.default', 1,
    '$.latest', 1,
    '$.updated', json_extract(body, '$.created'))
WHERE kind = 'policy';

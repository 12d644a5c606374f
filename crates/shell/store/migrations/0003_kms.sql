-- Keys: what is told of one is a JSON document; its materials are sealed under the root key.
CREATE TABLE kms_keys (
    arn  TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
);

-- `sealed`: the material, sealed for the place kms/material/<arn>/<id>.
CREATE TABLE kms_materials (
    arn    TEXT NOT NULL REFERENCES kms_keys (arn),
    id     TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (arn, id)
);

-- Instants are milliseconds since 1970.
CREATE TABLE kms_aliases (
    account TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    name    TEXT   NOT NULL,
    arn     TEXT   NOT NULL REFERENCES kms_keys (arn),
    created BIGINT NOT NULL,
    updated BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE TABLE kms_grants (
    arn  TEXT NOT NULL REFERENCES kms_keys (arn),
    id   TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (arn, id)
);

-- External key stores: what is told of one is a JSON document. `name`: <account>/<region>/<id>. `sealed`: the secret that
-- requests to its proxy are signed with, sealed for the place kms/key-store/<name>.
CREATE TABLE kms_key_stores (
    name   TEXT NOT NULL PRIMARY KEY,
    body   TEXT NOT NULL,
    sealed BLOB NOT NULL
);
